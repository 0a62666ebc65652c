"""Addresses and mail: one address is one person, and a mail goes there, says what we say, and leads to us."""

import functools
import json
import re
import tracemalloc
import unicodedata
from html.parser import HTMLParser

import pytest

from app import ROUTES, create_app
from conftest import PASSWORD, Browser, make_settings
from delivery.outbox import deliver_one
from models import Letter, User
from rules import accounts, addresses, drafts, invites, keys, projects, registration
from settings import in_force

pytestmark = pytest.mark.long

VICTIM = "kim@example.org"
HOSTILE = [
    '<a href="https://evil.example">x</a>',
    '"><img src=https://evil.example/x.png>',
    "https://evil.example/x",
    "www.evil.example evil.example/x mailto:eve@evil.example",
    "evil.example?a=b&c=d",
    "eve@evil.example",
    "\u202emoc.live//:sptth",
    "&#104;ttps://evil.example",
    "{{ 7*7 }} %s ${x}",
    "[x](https://evil.example)",
    "Tea\u2028Garden\u2029x",
]
LOOKS_LIKE_A_LINK = re.compile(r"[a-z]+://[^\s\"<>]+|www\.\S+|\S+@\S+|\S+\.\w{2,}(?=[/?\s]|$)")
GLYPHS = {
    "k": "кκ\u212aｋ𝐤𝑘𝒌𝓀𝓴𝔨𝕜𝖐𝗄𝗸𝘬𝙠𝚔ⓚķǩ",
    "i": "іιıİｉ𝐢𝑖𝒊𝓲𝔦𝕚𝖎𝗂𝗶𝘪𝙞𝚒ⓘíìîïⅰ",
    "m": "мｍ𝐦𝑚𝒎𝓂𝓶𝔪𝕞𝖒𝗆𝗺𝘮𝙢𝚖ⓜḿⅿ",
    "e": "еｅ𝐞𝑒𝒆ℯ𝓮𝔢𝕖𝖊ⓔéèêëė",
    "x": "хχｘ𝐱ⓧⅹ×",
    "a": "аαɑａ𝐚ⓐáàâäåª",
    "p": "рρｐ𝐩ⓟ",
    "l": "ӏ𝟏ｌ𝐥ⓛⅼł",
    "o": "оοｏ𝐨ⓞºóöø",
    "r": "гｒ𝐫ⓡŕ",
    "g": "ɡｇ𝐠ⓖğ",
    "@": "＠﹫",
    ".": "．。｡․",
}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u202e\u2066\u180e\u0301\u0307\u3000\u00a0\t\x00\x7f"
REWRITTEN = [
    '"kim"@example.org', "kim(x)@example.org", "(x)kim@example.org", "<kim@example.org>", "Kim <kim@example.org>",
    "kim@example.org.", "kim.@example.org", ".kim@example.org", "kim+x@example.org", "k.im@example.org",
    "kim@example.org@evil.example", "kim%example.org@evil.example", "@evil.example:kim@example.org",
    "evil.example!kim@example.org", "kim@[example.org]", "kim@example..org", "kim@@example.org", "kim@ex-ample.org",
    "kim@sub.example.org", "kim@example.org.evil.example", "kim@example.com", "kim@xn--example-.org",
    "kim @example.org", "kim@ example.org", "kim@example.org,eve@evil.example", "kim@example.org eve@evil.example",
    "kim@example.org\r\n", "kim@example.org\nBcc: eve@evil.example", "\tkim@example.org", "kim@example.org\u3000",
    "=?utf-8?q?kim?=@example.org", "kim\\@example.org", "kim@example.org%00",
    "kim'--@example.org", "k_m@example.org", "k%m@example.org", "%@example.org", "kim@example.org#",
]  # fmt: skip


def confusable():
    """What a person, a library or a database could take for the victim's address."""
    for place, letter in enumerate(VICTIM):
        for glyph in GLYPHS[letter]:
            yield VICTIM[:place] + glyph + VICTIM[place + 1 :]
    for number, each in enumerate(INVISIBLE):
        place = number % len(VICTIM)
        yield VICTIM[:place] + each + VICTIM[place:]
    yield unicodedata.normalize("NFD", "kím@example.org")
    yield from REWRITTEN


CONFUSABLE = list(dict.fromkeys(confusable()))


@pytest.fixture
def open_to_all(tmp_path):
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open")) as chosen:
        yield create_app(chosen).test_client()


@pytest.fixture
def kim(house):
    with house.writing():
        user = accounts.create(accounts.Names("kim", VICTIM), accounts.passwords.hash(PASSWORD))
        addresses.prove(user, VICTIM)


@pytest.mark.long
def test_nobody_is_taken_for_somebody_else_by_an_address_that_looks_alike(house, kim, open_to_all, make_invite):
    """GHSA-7rqj-j65f-68wh, CVE-2024-27295: checked before it was normalised; a loose collation found the victim."""
    assert len(CONFUSABLE) >= 200
    client, token = open_to_all, make_invite(email=VICTIM)
    for address in CONFUSABLE:
        for path in ("/auth/password/forgot", "/auth/register/start"):
            client.post(path, json={"email": address})
        body = {"invite_token": token, "email": address, "password": PASSWORD}
        assert client.post("/auth/register/with-invite", json=body).status_code in (400, 422), address
        with house.writing():
            assert accounts.begin_login(address, PASSWORD).user_id is None, address
    with house.reading() as unit:
        mailed = {letter.recipient for letter in unit.session.query(Letter)}
        assert VICTIM not in mailed
        assert all(each.isascii() and each == each.lower() for each in mailed)
        assert [user.email for user in unit.session.query(User)] == [VICTIM]
    assert mailed  # of those that are other people's


@pytest.mark.parametrize("written", [VICTIM, "KIM@EXAMPLE.ORG", " Kim@Example.Org "])
def test_a_mail_goes_to_the_address_that_is_stored(house, kim, open_to_all, written):
    """CVE-2024-27295: the mail went to the address that was typed and not to the one that was found."""
    open_to_all.post("/auth/password/forgot", json={"email": written})
    with house.reading() as unit:
        assert [letter.recipient for letter in unit.session.query(Letter)] == [VICTIM]


EVE = "eve@evil.example"
BOTH = [
    json.dumps({"email": [VICTIM, EVE]}),
    json.dumps({"email": [VICTIM]}),
    json.dumps({"email": {"0": VICTIM, "1": EVE}}),
    *(json.dumps({"email": f"{VICTIM}{between}{EVE}"}) for between in (",", ";", " ", ", ", "\n", "\r\n", "%0a")),
    json.dumps({"email": f"{VICTIM}\r\nBcc: {EVE}"}),
    json.dumps({"email": f"<{VICTIM}>,<{EVE}>"}),
    json.dumps({"email[]": [VICTIM, EVE]}),
    f'{{"email": "{VICTIM}", "email": "{EVE}"}}',
    f'[{{"email": "{VICTIM}"}}, {{"email": "{EVE}"}}]',
]  # fmt: skip
TAKE_AN_ADDRESS = {
    "/auth/password/forgot": {},
    "/auth/register/start": {},
    "/auth/register/resend": {},
    "/auth/register/verify": {"code": "123456"},
    "/auth/register/password": {"password": PASSWORD},
    "/auth/register/with-invite": {"invite_token": "0" * 64, "password": PASSWORD},
    "/api/admin/invites": {},
    "/projects/tea/invites": {},
}
FORMS = ["/password/forgot", "/register/start", "/verify/send", "/verify"]


@pytest.mark.parametrize("path", TAKE_AN_ADDRESS)
def test_two_addresses_are_none(open_to_all, kim, root, rows, path):
    """CVE-2023-7028: a list of addresses asked for a new password, and the attacker's was mailed the link too."""
    open_to_all.post("/projects/", headers=root.bearer, json={"name": "Tea"})
    headers = root.bearer if path.startswith(("/api", "/projects")) else {}
    before = rows("outbox", "invites", "users", "codes")
    more = "".join(f'"{name}": "{value}", ' for name, value in TAKE_AN_ADDRESS[path].items())
    for both in BOTH:
        body = f"{{{more}{both[1:]}" if both.startswith("{") else both
        answer = open_to_all.post(path, headers=headers, data=body, content_type="application/json")
        assert answer.status_code in (400, 422), body
    assert rows("outbox", "invites", "users", "codes") == before


@pytest.mark.parametrize("path", FORMS)
def test_two_addresses_in_a_form_are_none(open_to_all, kim, rows, path):
    """CVE-2023-7028: likewise with ``email[]`` and with a field that is there twice."""
    browser = Browser(open_to_all)
    both = [{"email": [VICTIM, EVE]}, {"email[]": [VICTIM, EVE]}, {"email": f"{VICTIM},{EVE}"}, {"email[0]": VICTIM}]
    before = rows("outbox", "users", "codes")
    for fields in both:
        assert browser.post(path, **fields, code="123456").status_code in (400, 422), fields
    assert rows("outbox", "users", "codes") == before


LOADS = re.compile(
    r"url|src|image|import|expression|binding|behavior|[@/\\\\](?!1\.5 )", re.IGNORECASE
)  # but font:16px/1.5


class Led(HTMLParser):
    """Where a page leads and what it loads, and what its reader sees."""

    def __init__(self, page):
        super().__init__()
        self.targets, self.seen, self.tags = [], "", set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.targets += [value for name, value in attributes if name in ("href", "src", "action", "background")]
        self.targets += [value for name, value in attributes if name == "style" and LOADS.search(value)]

    def handle_data(self, data):
        self.seen += data + " "


@pytest.fixture
def mailing(tmp_path, smtp):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp, REGISTRATION="open")) as chosen:
        yield chosen


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize("kind", ["invite", "code", "known", "reset"])
@pytest.mark.parametrize("words", HOSTILE)
def test_a_mail_has_our_link_in_it_and_nobody_elses(house, mailing, alice, mailbox, kind, words):
    """CVE-2022-31127, CVE-2024-27092: a name with a link in it was mailed to strangers in our name."""
    with house.writing():
        user = accounts.named("alice")
        user.display_name, user.email_verified_at = words, user.created_at
        if kind == "invite":
            project = projects.create(user, projects.ProjectDraft(words))
            draft = drafts.read({"email": "dora@example.org", "project": project.slug})
            projects.invite(projects.of_manager(project.slug, user), draft)
        elif kind == "reset":
            registration.send_reset("alice@example.org")
        else:
            registration.start("alice@example.org" if kind == "known" else "dora@example.org")
    assert deliver_one(house)
    (letter,) = mailbox.mails
    html = Led(letter.get_body(("html",)).get_content())
    plain = letter.get_body(("plain",)).get_content()
    ours = re.findall(r"http://127\.0\.0\.1:8080/\S+", plain)
    assert len(ours) == {"code": 0, "invite": 2}.get(kind, 1)  # the second link is for who wants no more of these mails
    assert (html.targets, html.tags & {"img", "script", "style", "link", "form", "iframe"}) == (ours, set())
    for part in (plain, html.seen, letter["Subject"]):
        rest = functools.reduce(lambda left, link: left.replace(link, ""), ours, part)
        assert [each for each in LOOKS_LIKE_A_LINK.findall(rest) if "127.0.0.1" not in each] == []
    assert str(letter["To"]) in ("dora@example.org", "alice@example.org")
    assert letter.get_all("To") == [letter["To"]]
    assert (letter["Cc"], letter["Bcc"]) == (None, None)


# What says to a visitor at which address the gate has no app: a text, and no link.
NO_APP = re.compile(r"(?:has an app at (?:<bdi>)?|project gate SLUG )https://evil\.example(?![\w:/])")
NOT_OURS = r"evil\.example|:31337\b"  # what random tokens and numbers of the metrics cannot have in them
FORWARDED = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/evil.example",
    "X-Forwarded-Port": "31337",
    "X-Original-URL": "//evil.example/",
    "X-Rewrite-URL": "//evil.example/",
    "X-Host": "evil.example",
    "Forwarded": 'for="evil.example";host=evil.example;proto=https',
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
}


@pytest.mark.long
@pytest.mark.parametrize("proxies", ["", "127.0.0.0/8"])
def test_links_lead_to_us_whatever_host_a_request_names(tmp_path, house, smtp, mailbox, root, proxies):
    """GHSA-93m4-mfpg-c3xf: the link in a mail led to the host that a header of the request had named."""
    given = {"PUBLIC_URL": "https://join.example.org/in", "SMTP_URL": smtp, "TRUSTED_PROXIES": proxies}
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open", **given)) as mailing:
        client = create_app(mailing).test_client(use_cookies=False)
        with house.writing():
            projects.create(accounts.named("root"), projects.ProjectDraft("Tea"))
            token = invites.token(invites.create(drafts.read({"email": "root@example.org"}), drafts.SHELL))
            key = keys.create("x")
            cookie = f"{mailing.cookie_name}={accounts.sessions.start_in_browser(accounts.named('root'))}"
            facts = {"<token>": token, "<slug>": "tea", "<invite_id>": invites.find(token).id, "<key_id>": key[:8]}
            facts["<user_id>"] = accounts.named("root").id
        answers = [client.post("/auth/password/forgot", headers=FORWARDED, json={"email": "root@example.org"})]
        for headers in ({"Cookie": cookie}, root.bearer, {"Authorization": f"Bearer {key}"}, {}):
            for row in (row for rows in ROUTES.values() for row in rows):
                path = row.path
                for name, fact in facts.items():
                    path = path.replace(name, fact)
                path += f"?{token}" if path in ("/invite", "/qr", "/welcome") else ""
                body = {"json": {"email": "dora@example.org", "name": "Dora"}} if "POST" in row.methods else {}
                for method in row.methods.split():
                    answers.append(client.open(path, method=method, headers={**FORWARDED, **headers}, **body))
        while deliver_one(house):
            pass
        said = [NO_APP.sub("", f"{each.headers}{each.get_data().decode(errors='replace')}") for each in answers]
        links = [each for each in said if "join.example.org/in" in each]
        assert len(links) > 20
        found = zip(answers, said, strict=True)
        assert [each.request.path for each, text in found if re.search(NOT_OURS, text)] == []
        mails = "".join(each.as_string() for each in mailbox.mails)
        assert set(re.findall(r"https?://[^/\s]+/", mails)) == {"https://join.example.org/"}
        assert "evil.example" not in mails


MANY = [f"guest{number}@example.org" for number in range(10_000)]
MASSES = {
    "a list": json.dumps({"email": MANY}),
    "a list of another name": json.dumps({"emails": MANY, "name": "x"}),
    "a text": json.dumps({"email": ",".join(MANY)}),
    "one that fits": json.dumps({"email": MANY[:2000]}),
    "objects that fit": json.dumps({"email": "x", "invites": [{"email": each} for each in MANY[:1200]]}),
    "many members": json.dumps({f"email{number}": MANY[number] for number in range(1200)}),
}


@pytest.mark.long
@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("path", ["/api/admin/invites", "/projects/tea/invites", "/invites_api", "/api/invite"])
def test_ten_thousand_addresses_at_once_make_nothing_and_cost_nothing(client, house, root, key, rows, path, mass):
    """CVE-2018-21258: one call that invited masses of addresses kept the server busy for everybody."""
    client.post("/projects/", headers=root.bearer, json={"name": "Tea"})
    headers = {"Authorization": f"Bearer {key}"} if path == "/invites_api" else root.bearer
    before = rows("invites", "outbox")
    tracemalloc.start()
    answer = client.post(path, headers=headers, data=MASSES[mass], content_type="application/json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    fits_and_is_ignored = (path, mass) in ((("/invites_api"), "many members"),)
    assert (answer.status_code in (400, 413, 422)) is not fits_and_is_ignored
    assert peak < 8_000_000
    grown = rows("invites", "outbox")
    assert (len(grown["invites"]) - len(before["invites"]), grown["outbox"]) == (fits_and_is_ignored, [])


@pytest.mark.parametrize("count", ["501", "10000", "1e4", "-1", "9999999999", "5 00"])
def test_an_admins_form_makes_so_many_at_once_and_no_more(browser, house, root, rows, count):
    """CVE-2018-21258: likewise for the form that makes many."""
    browser.sign_in("root")
    form = {"count": count, "once": "once-upon-a-time"}
    assert browser.post("/admin/invites", **form).status_code == 422
    assert rows("invites") == {"invites": []}
