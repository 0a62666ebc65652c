"""What programs and people with names met: each input failed once, and is named after what went wrong."""

import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import database
import test_upgrade
from app import ROUTES, create_app
from commands import terminal
from conftest import PASSWORD, Browser, make_settings
from delivery import mail
from delivery.outbox import deliver_one
from dialects import agentbot, hitkey
from models import User
from rules import accounts, drafts, fields, invites, listing
from rules.refusals import Invalid
from settings import ConfigError, in_force
from upkeep import upgrade

# Names

NAMES = [
    *("O'Brien", "'t Hooft", "James'", "Sinéad O' Connor", "Ng’ang’a", "Smith, John", "Martin Luther King, Jr."),
    *("Anne & Bob", "Alice' and Bob", "dj_alice", "Gal·la", "Anne (Bob's)", "c/o Anne", "Dr. J.R.R. Tolkien"),
    *("Anne‑Marie", "Anne‐Marie", "Jean\u00a0Paul", "山田\u3000太郎", "M. A./B. Sc. Anne", "Johannes Paul Ⅱ"),
    *("ジョン・スミス", "マリー・キュリー", "צ׳רלי", "צה״ל", "علی\u200cرضا", "क्\u200dषमा", "二〇", "葛\U000e0100城"),
]
NAMELESS = {
    "<b>Anne</b>": "< (U+003C), > (U+003E);",
    "Anne; Bob": "; (U+003B)",
    "Anne 😀": "😀 (U+1F600)",
    "{{7}}": "{ (U+007B), } (U+007D)",
    "a`b": "` (U+0060)",
    "a\u202eb": ": U+202E",
    "a\nb": ": U+000A",
    "a\tb": ": U+0009",
    "a\u200e": ": U+200E",
    "\u200cab": ": U+200C",
    "ab\u200d": ": U+200D",
    "a\u200c b": ": U+200C",
    "a\u200c\u200cb": ": U+200C",
    "a.\u200db": "have U+200D;",
    "\u3164": ": U+3164",
    "https://evil.example": ": (U+003A)",
    "evil.example/a": "“evil.example/”",
    "www.evil.example": "“www.”",
    "//evil": "“//”",
    "' OR 1": "“'”",
    "x' OR 'a' LIKE 'a": "“' OR '”",
    "admin'--": "“--”",
    "Robert') OR ('a": "“Robert')”",
    "' OR '1'='1": "= (U+003D)",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_people_are_called_is_taken(name):
    assert fields.name(name) == name
    assert fields.text(name, "note", 100) == name


@pytest.mark.parametrize("name", NAMELESS)
def test_a_character_that_is_refused_is_named(name):
    with pytest.raises(Invalid) as refused:
        fields.name(name)
    assert NAMELESS[name] in str(refused.value)
    assert all(each.isprintable() for each in str(refused.value))


def test_a_name_of_a_hundred_letters_is_read_and_one_more_is_not():
    assert fields.name("ジ" * 100)
    with pytest.raises(Invalid, match="longer than 100"):
        fields.name("ジ" * 101)


@pytest.mark.parametrize("name", ["Müller, Hans", "علی\u200cرضا", "Jean\u00a0Paul", "Gal·la & Anne (dj_alice)"])
def test_a_name_is_taken_in_every_dialect(client, key, alice, stored, name):
    by_key = {"Authorization": f"Bearer {key}"}
    made = client.post("/api/invite", json={"name": name}, headers=alice.bearer)
    assert made.status_code == 201
    assert client.get("/invites_api", query_string={"name": name}, headers=by_key).status_code == 201
    assert client.post("/invites_api", data={"name": name}, headers=by_key).status_code == 201
    assert client.post("/invites_api", json={"name": name}, headers=by_key).status_code == 201
    assert [each.name for each in stored()] == [name] * 4
    account = {"email": "anne@example.org", "password": PASSWORD, "displayName": name}
    joined = client.post("/auth/register/with-invite", json={"invite_token": made.json["token"], **account})
    assert joined.json["user"]["displayName"] == name
    project = client.post("/projects/", json={"name": name}, headers=alice.bearer)
    assert project.json["name"] == name


def test_a_name_on_the_page_of_an_invitation_keeps_its_own_direction(client, make_invite):
    token = make_invite(name="علی\u200cرضا (Ali)")
    page = client.get(f"/invite?{token}").text
    assert "<bdi>علی\u200cرضا (Ali)</bdi>" in page


def test_a_list_of_guests_with_a_comma_in_a_name_is_read(invite_api, tmp_path):
    for separator in ",;":
        guests = tmp_path / "guests.csv"
        guests.write_text(f'name{separator}email\n"Müller, Hans"{separator}hans@example.org\nعلی\u200cرضا{separator}\n')
        done = invite_api("invite", "create", "--from", str(guests))
        assert (done.returncode, done.stdout.count("\n")) == (0, 2), done.stderr
    listed = [each["name"] for each in json.loads(invite_api("invite", "list", "--json").stdout)]
    assert sorted(listed) == ["Müller, Hans"] * 2 + ["علی\u200cرضا"] * 2
    assert "علی\u200cرضا" in invite_api("invite", "list").stdout


def test_a_refused_letter_in_a_list_of_guests_is_named(invite_api, tmp_path):
    guests = tmp_path / "guests.csv"
    guests.write_text("name\nAnne*\n")
    done = invite_api("invite", "create", "--from", str(guests))
    assert done.returncode == 1
    assert "* (U+002A)" in done.stderr


def test_a_joiner_is_printed_where_it_joins_and_escaped_where_it_does_not():
    assert terminal.safe("علی\u200cرضا") == "علی\u200cرضا"
    assert terminal.safe("Jean\u00a0Paul") == "Jean\u00a0Paul"
    assert terminal.safe("a\u200c\u200cb\x1b") == "a\\u200c\\u200cb\\x1b"
    assert json.loads(terminal.as_line({"name": "علی\u200cرضا\x1b"})) == {"name": "علی\u200cرضا\x1b"}


def test_texts_that_are_no_names_have_joiners_and_other_signs(house, make_invite, stored):
    """A family of one glyph is several, joined."""
    make_invite(note="für 👨\u200d👩\u200d👧, Jean\u00a0Paul")
    assert stored()[0].note == "für 👨\u200d👩\u200d👧, Jean\u00a0Paul"


def test_the_name_of_a_site_may_have_a_space_at_which_no_line_is_broken(tmp_path):
    assert make_settings(tmp_path, SITE_NAME="Café\u00a0Noir").site_name == "Café\u00a0Noir"
    with pytest.raises(ConfigError, match=r"cannot be seen: U\+202E"):
        make_settings(tmp_path, SITE_NAME="a\u202eb")


def test_a_mail_has_names_as_they_are_written_and_no_address_in_them():
    shown = mail.harmless("Müller, Hans (Gal·la) علی\u200cرضا / dj_alice")
    assert shown == "Müller, Hans (Gal·la) علی\u200cرضا / dj_alice"
    assert mail.harmless("evil.example/a 👨\u200d👩") == "evil example/a"


def test_an_invitation_with_such_names_arrives(tmp_path, mailbox, smtp, house, client, alice):
    """In the header, the text and the page that a mail consists of."""
    place = "Gal·la, علی\u200cرضا & Söhne"
    with house.writing() as unit:
        unit.session.query(User).update({"display_name": "Müller, Hans"})
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp)):
        slug = client.post("/projects/", json={"name": place}, headers=alice.bearer).json["slug"]
        client.post(f"/projects/{slug}/invites", json={"email": "anne@example.org"}, headers=alice.bearer)
        assert deliver_one(house)
    (letter,) = mailbox.mails
    assert (letter["Subject"], letter["To"]) == (f"Your invitation to {place}", "anne@example.org")
    text, page = (letter.get_body((each,)).get_content() for each in ("plain", "html"))
    assert f"Müller, Hans invites you to {place}." in text
    assert f"<bdi>Müller, Hans</bdi> invites you to <bdi>{place.replace('&', '&amp;')}</bdi>." in page


# Searching

STORED = [
    *("Özge", "Ирина", "Νίκος", "Straße", "İstanbul", "ışık", "José", "علی\u200cرضا", "O’Brien", "Anne\u2011Marie"),
    "Bob",
]
FINDS = {
    **{"özge": "Özge", "ÖZGE": "Özge", "o\u0308zge": "Özge", "ИРИНА": "Ирина", "ирин": "Ирина", "ΝΊΚΟΣ": "Νίκος"},
    **{"νίκος": "Νίκος", "νίκοσ": "Νίκος", "STRASSE": "Straße", "straße": "Straße", "STRAẞE": "Straße"},
    **{"istanbul": "İstanbul", "ISTANBUL": "İstanbul", "İSTANBUL": "İstanbul", "IŞIK": "ışık", "ışık": "ışık"},
    **{"josé": "José", "JOSE\u0301": "José", "علیرضا": "علی\u200cرضا", "o'brien": "O’Brien", "O’BRIEN": "O’Brien"},
    **{"anne-marie": "Anne\u2011Marie", "BOB": "Bob", "bob": "Bob", "ö": "Özge"},
}
NOT_THERE = ["ozge", "ирэна", "%", "_", "bób", "50%"]


def sought(text):
    """The names of the invites that a search finds."""
    return [each.name for each in listing.page(listing.read({"q": text}), 50)]


@pytest.mark.parametrize("kind", ["name", "note"])
def test_a_search_is_in_capitals_or_not_in_any_script(house, make_invite, kind):
    for each in STORED:
        make_invite(**{"name": each, kind: each})
    with house.reading():
        assert {text: sought(text) for text in FINDS} == {text: [name] for text, name in FINDS.items()}
        assert {text: sought(text) for text in NOT_THERE} == {text: [] for text in NOT_THERE}


def test_a_name_in_another_script_hides_no_address(house, make_invite):
    make_invite(name="Ирина", email="irina@example.org", note="100%")
    with house.reading():
        assert sought("IRINA@") == sought("100%") == sought("ирина") == ["Ирина"]
        assert sought("ирина\u00a0irina") == sought("1000") == []


@pytest.mark.parametrize(("name", "text"), [("Νίκος", "ΝΊΚΟΣ"), ("Straße", "strasse"), ("Ирина", "ирина")])
def test_people_and_inviters_are_found_in_any_script(house, name, text):
    with house.writing():
        user = accounts.create(accounts.Names("someone", display_name=name))
        invites.create(drafts.read({"note": "x"}), accounts.as_inviter(user))
    with house.reading():
        assert [each.display_name for each in accounts.search(text, None, 5)] == [name]
        assert [each.username for each in accounts.search("SOMEONE", None, 5)] == ["someone"]
        assert [each.made_by for each in listing.page(listing.read({"inviter": text}), 5)] == [name]
    with house.writing():
        accounts.remove(accounts.named("someone"))
    with house.reading() as unit:
        assert unit.session.query(User.folded).one() == (None,)


@pytest.mark.parametrize("text", ["%", "_", "a_ice", "al%e"])
def test_a_sign_in_a_search_for_people_stands_for_itself(house, alice, text):
    with house.reading():
        assert accounts.search(text, None, 5) == []


def test_every_way_to_search_finds_the_same(client, root, invite_api, make_invite):
    make_invite(name="Νίκος")
    for query in ("q=ΝΊΚΟΣ", "limit=5&q=ΝΊΚΟΣ"):
        (found,) = client.get(f"/api/admin/invites?{query}", headers=root.bearer).json["invites"]
        assert found["name"] == "Νίκος"
    Browser(client).sign_in("root")
    assert "<bdi>Νίκος</bdi>" in client.get("/admin?q=ΝΊΚΟΣ").text
    assert "<bdi>Νίκος</bdi>" not in client.get("/admin?q=ΝΊΚΟΥ").text
    assert "Νίκος" in invite_api("invite", "list", "--text", "νίκοσ").stdout


@pytest.mark.sqlite
def test_names_of_a_release_that_did_not_fold_them_are_found(tmp_path):
    """Its database has 李小龙 and José in it, and is upgraded."""
    settings = make_settings(tmp_path / "instance")
    opens = test_upgrade.load("0.1.0", settings)
    house = database.open_database(settings)
    with in_force(make_settings(tmp_path / "instance", SECRET_KEY=opens["secret"])), house.reading():
        assert sought("JOSÉ") == ["José"]
        assert sought("李小") == ["李小龙"]
        assert sought("anne") == ["Anne"]
    house.close()


@pytest.mark.own_postgresql
def test_names_in_a_postgresql_are_found_once_it_is_upgraded(tmp_path, url):
    settings = make_settings(tmp_path / "instance", DATABASE_URL=url)
    house = database.open_database(settings)
    with in_force(settings), house.writing() as unit:
        for each in ("Νίκος", "O’Brien\\' OR", "Bob"):
            unit.session.add(invites.prepare(drafts.Draft(note=each), drafts.SHELL))
    house.close()
    with database.exclusive(settings) as opened:
        for table, column in (("users", "folded"), ("invites", "folded"), ("invites", "made_by_folded")):
            opened.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        opened.execute("UPDATE schema_version SET version = 1")
        assert list(upgrade.migrate(opened, upgrade.steps(1, to=2))) == ["0002_search_in_any_script"]
        opened.execute(f"UPDATE schema_version SET version = {database.schema.VERSION}")
    house = database.open_database(settings)
    with in_force(settings), house.reading():
        for text, note in (("ΝΊΚΟΣ", "Νίκος"), ("o'brien\\' or", "O’Brien\\' OR"), ("BOB", "Bob")):
            assert [each.note for each in listing.page(listing.read({"q": text}), 5)] == [note]
    house.close()


def test_what_is_all_ascii_takes_no_room_for_searches(make_invite, stored):
    make_invite(name="Bob", email="bob@example.org", note="a note")
    assert [(each.folded, each.made_by_folded) for each in stored()] == [(None, None)]


# Front ends at other origins

FRONT = "https://app.example.org"
CALLED = [(dialect, row) for dialect in (hitkey, agentbot) for row in ROUTES[dialect]]
SIGN_IN_FROM_ELSEWHERE = """
const [api, token, done] = arguments;
const ask = (path, options) => fetch(api + path, options).then((answer) => answer.json());
const json = { "Content-Type": "application/json" };
const sent = (body) => ({ method: "POST", headers: json, body: JSON.stringify(body) });
(async () => {
  const session = await ask("/auth/login", sent({ email: "charlie", password: "correct horse battery" }));
  const shown = { headers: { Authorization: `Bearer ${session.token}` } };
  const accepted = await ask(`/invites/${token}/accept`, { method: "POST", ...shown });
  const refused = await fetch(`${api}/auth/me`, { credentials: "include" }).then(() => "read", () => "not read");
  return [(await ask("/auth/me", shown)).username, accepted, refused];
})().then(done, (error) => done(String(error)));
"""


@pytest.fixture
def front_end(tmp_path, house):
    """A client of a service that lists the front end."""
    listed = f"{FRONT}, http://127.0.0.1:5173"
    return create_app(make_settings(tmp_path / "instance", CORS_ORIGINS=listed)).test_client()


def cors(answer):
    """What an answer says of other origins."""
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


def filled(row):
    """A row's path with something in it."""
    return re.sub("<.*?>", "5b0e0c6e", row.path)


@pytest.mark.any_database
@pytest.mark.parametrize(("dialect", "row"), [pytest.param(*each, id=each[1].endpoint) for each in CALLED])
def test_a_listed_front_end_may_call_every_route_and_read_its_errors(front_end, client, dialect, row):
    asked = {"Origin": FRONT, "Access-Control-Request-Method": row.methods.split()[0]}
    told = front_end.options(filled(row), headers=asked)
    assert told.status_code == 204
    assert told.headers["Access-Control-Allow-Origin"] == FRONT
    assert set(row.methods.split()) <= set(told.headers["Access-Control-Allow-Methods"].split(", "))
    assert told.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type, Idempotency-Key"
    answered = front_end.open(filled(row), method=row.methods.split()[0], headers={"Origin": FRONT})
    assert answered.headers["Access-Control-Allow-Origin"] == FRONT
    for each in (told, answered):
        assert "Origin" in each.headers["Vary"].split(", ")
        assert "Access-Control-Allow-Credentials" not in each.headers
    for origin in ("https://evil.example", "http://app.example.org", f"{FRONT}.evil.example", "null", f"{FRONT}:8443"):
        strange = front_end.options(filled(row), headers={**asked, "Origin": origin})
        assert (strange.status_code, cors(strange)) == (405, {})
        strange = front_end.open(filled(row), method=row.methods.split()[0], headers={"Origin": origin})
        assert cors(strange) == {}
        assert "Origin" in strange.headers["Vary"].split(", ")
    off = client.options(filled(row), headers=asked)
    assert (off.status_code, cors(off), off.headers["Vary"]) == (405, {}, "Authorization, Cookie")


def test_what_is_refused_before_a_route_is_found_may_be_read_too(front_end):
    wrong = front_end.open("/auth/login", method="PUT", headers={"Origin": FRONT})
    assert (wrong.status_code, wrong.headers["Access-Control-Allow-Origin"]) == (405, FRONT)
    big = front_end.post("/auth/login", data=b"x" * 70_000, headers={"Origin": FRONT})
    assert (big.status_code, big.headers["Access-Control-Allow-Origin"]) == (413, FRONT)


@pytest.mark.parametrize("path", ["/login", "/admin", "/invite", "/health", "/openapi.json", "/style.css"])
def test_pages_are_not_for_front_ends(front_end, client, path):
    asked = front_end.get(path, headers={"Origin": FRONT})
    assert cors(asked) == cors(client.get(path))
    assert front_end.options(path, headers={"Origin": FRONT}).status_code == 405


def test_a_cookie_that_a_front_end_sends_counts_nothing(front_end, alice):
    Browser(front_end).sign_in("alice")
    assert front_end.get("/auth/me").status_code == 200
    assert front_end.get("/auth/me", headers={"Origin": FRONT}).status_code == 401
    assert front_end.post("/api/invite", json={"name": "Anne"}, headers={"Origin": FRONT}).status_code == 401
    assert front_end.get("/auth/me", headers={"Origin": FRONT, **alice.bearer}).status_code == 200


@pytest.mark.parametrize("wrong", ["*", "app.example.org", f"{FRONT}/app", "null", "https://*.example.org"])
def test_only_whole_origins_are_listed(tmp_path, wrong):
    with pytest.raises(ConfigError, match="CORS_ORIGINS"):
        make_settings(tmp_path, CORS_ORIGINS=wrong)


@pytest.mark.long
def test_a_front_end_at_another_origin_signs_in_and_accepts(window, serve, charlie, make_invite):
    """In a browser, which asks before it calls; a page at an origin that is not listed reads nothing."""
    token = make_invite()
    with elsewhere() as listed, elsewhere() as strange:
        served = serve(CORS_ORIGINS=listed)
        window.driver.get(strange)
        ask = window.driver.execute_async_script
        assert ask(SIGN_IN_FROM_ELSEWHERE, served.url, token) == "TypeError: Failed to fetch"
        window.driver.get(listed)
        name, accepted, refused = ask(SIGN_IN_FROM_ELSEWHERE, served.url, token)
    assert (name, accepted) == ("charlie", {"project_slug": None, "redirect_url": None})
    assert refused == "not read"


@contextmanager
def elsewhere():
    """A page at an origin of its own."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
