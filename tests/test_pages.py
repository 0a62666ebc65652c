import html
import re

import pytest
import time_machine

import clock
from app import create_app
from conftest import make_settings, seen
from database import session
from models import Project, User
from rules import changing, invites
from settings import ConfigError

PASSWORD = "correct horse battery"


@pytest.fixture
def register(client):
    """Post the form as a program for mod_invites_register_web does."""

    def post(token, user="anne", password=PASSWORD, query="", **more):
        return client.post(f"/register{query}", data={"user": user, "password": password, "token": token, **more})

    return post


@pytest.fixture
def users(house):
    def look():
        with house.reading() as unit:
            return unit.session.query(User).all()

    return look


@pytest.mark.parametrize("query", ["{}", "{}=", "t={}", "token={}", "token={}&name=Eve"])
def test_a_link_opens_in_every_form_and_shows_who_it_is_for(client, make_invite, query):
    page = client.get(f"/invite?{query.format(make_invite(name='Anne', email='anne@example.org'))}")
    assert page.status_code == 200
    assert "Anne, you're invited" in seen(page)
    assert "anne@example.org" in page.text
    assert "Eve" not in seen(page)


def test_the_story_of_an_invite(client, make_invite, register, users):
    token = make_invite()
    assert "Create account" in client.get(f"/invite?{token}").text
    done = register(token, user="Anne")
    assert done.status_code == 200
    assert "Welcome, anne" in seen(done)
    again = client.get(f"/invite?{token}")
    assert (again.status_code, "has been used" in again.text) == (410, True)
    assert [each.username for each in users()] == ["anne"]


def test_an_old_program_that_rewrites_the_link_and_posts_there_makes_an_account(client, key, register):
    location = client.get(f"/invites_api?key={key}").location
    token = location.partition("?")[2]
    url = location.replace("/invite", "/register").removeprefix("http://127.0.0.1:8080")
    assert client.post(url, data={"user": "anne", "password": PASSWORD, "token": token}).status_code == 200


def test_the_token_may_stand_in_the_url_of_the_post_alone(register, make_invite):
    assert register("", query=f"?{make_invite()}").status_code == 200


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"user": ""}, "A user name has"),
        ({"user": "anne b"}, "A user name has"),
        ({"user": "<b>x"}, "A user name has"),
        ({"user": "taken"}, "This user name is taken"),
        ({"password": ""}, "Must have at least 8"),
        ({"password": "password1"}, "too easy to guess"),
    ],
)
def test_a_refused_form_comes_back_with_what_was_typed_and_costs_nothing(
    client, make_invite, register, users, typed, said
):
    register(make_invite(), user="taken")
    token = make_invite()
    page = register(token, **{"user": "anne", "password": PASSWORD, **typed})
    assert page.status_code == 422
    assert said in page.text
    kept = typed.get("user", "anne").replace("<", "&lt;").replace(">", "&gt;")
    assert not kept or f'value="{kept}"' in page.text
    assert PASSWORD not in page.text
    assert len(users()) == 1
    assert register(token).status_code == 200


def test_a_dead_token_leads_to_the_page_that_says_so(client, register, make_invite):
    token = make_invite()
    register(token)
    for answer in (register(token, user="other"), client.get(f"/register?t={token}"), client.get(f"/register?{token}")):
        assert (answer.status_code, answer.location) == (303, f"/invite?{token}")
    nonsense = register("</title>nonsense")
    assert (nonsense.status_code, nonsense.location) == (303, "/invite")


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("used", 410, "has been used"),
        ("revoked", 404, "has been revoked"),
        ("expired", 404, "has expired"),
        ("unknown", 404, "Invitation not found"),
        ("short", 404, "Invitation not found"),
        ("missing", 404, "No invitation in this link"),
    ],
)
def test_every_dead_link_says_why_and_offers_the_code_field(client, house, make_invite, register, kind, status, said):
    token = {"unknown": "0" * 64, "short": "abc", "missing": ""}.get(kind) or make_invite(ttl="1h")
    if kind == "missing":
        token = ""
    if kind == "used":
        register(token)
    if kind == "revoked":
        with house.writing():
            changing.revoke(invites.find(token))
    with time_machine.travel(clock.now() + (clock.DAY if kind == "expired" else clock.SECOND)):
        page = client.get(f"/invite?{token}")
    assert page.status_code == status
    assert said in page.text
    assert 'action="/code"' in page.text


@pytest.mark.parametrize(
    "pasted", ["{}", "http://127.0.0.1:8080/invite?{}", " https://other.example/x?token={}&name=a "]
)
def test_a_pasted_link_or_token_leads_to_its_invitation(client, make_invite, pasted):
    token = make_invite()
    answer = client.post("/code", data={"code": pasted.format(token)})
    assert (answer.status_code, answer.location) == (303, f"/invite?{token}")


@pytest.mark.parametrize("pasted", ["", "hello", "https://example.org/", "<script>", "\0"])
def test_what_is_no_invitation_is_said_beside_the_field(client, pasted):
    answer = client.post("/code", data={"code": pasted})
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text
    assert not pasted.strip("\0") or f'value="{html.escape(pasted)}"' in answer.text
    assert "<script>" not in answer.text


def test_a_page_links_under_the_path_of_the_public_url(tmp_path, house, make_invite):
    client = create_app(make_settings(tmp_path / "instance", PUBLIC_URL="https://example.org/in")).test_client()
    token = make_invite()
    page = client.get(f"/invite?{token}").text
    links = set(re.findall(r'(?:href|action|src)="([^"]*)"', re.sub(r"[?]v=[0-9a-f]+", "", page)))
    assert {each for each in links if not each.startswith(("#", "data:"))} == {
        "/in/",
        f"/in/language/de?/invite?{token}",
        "/in/manifest",
        "/in/static/apple-touch-icon.png",
        "/in/decline",
        f"/in/qr?{token}",
        "/in/register",
        f"/in/login?t={token}",
        "/in/static/script.js",
        "/in/style.css",
    }


def test_the_page_after_joining_leads_on_but_never_jumps(client, register, make_invite):
    page = register(make_invite(redirect_url="https://app.example.org/start"))
    assert page.status_code == 200
    assert 'href="https://app.example.org/start"' in page.text
    assert "Continue to app.example.org" in page.text
    assert "Location" not in page.headers


def test_an_invite_to_a_project_names_it(client, house, make_invite):
    with house.writing():
        session().add(Project(id="p", name="Tea & <Cake>", slug="tea", created_at=clock.now()))
    page = client.get(f"/invite?{make_invite(project='tea')}")
    assert "You're invited to Tea & <Cake>" in seen(page)
    assert "<Cake>" not in page.text


def test_the_operators_note_is_not_shown(client, make_invite):
    assert "nosy neighbour" not in client.get(f"/invite?{make_invite(note='nosy neighbour')}").text


@pytest.mark.parametrize("path", ["/", "/invite", "/invite?abc", "/register", "/nothing", "/health", "/invites_api"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client.get(path, headers={"Accept": "text/html"}).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Robots-Tag"] == "noindex, nofollow"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in headers


def test_a_page_is_kept_for_no_other_reader(client):
    assert client.get("/").headers["Vary"] == "Authorization, Cookie, Accept-Language"


def test_a_page_and_what_it_loads_weigh_at_most_30_kb(client, make_invite):
    page = client.get(f"/invite?{make_invite(name='x' * 100)}").text
    weights = {}
    for path in re.findall(r'(?:href|src)="(/(?:style|static|manifest)[^"]*)"', page):
        with client.get(path) as loaded:
            weights[re.sub(r".*/|[?].*", "", path)] = len(loaded.data)
    assert weights.keys() == {"style.css", "script.js", "manifest", "apple-touch-icon.png"}
    assert len(page.encode()) + sum(weights.values()) < 30_000


def test_an_address_that_is_not_there_is_told_in_the_callers_language(client):
    page = client.get("/nothing", headers={"Accept": "text/html"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    api = client.get("/nothing")
    assert (api.status_code, api.json["code"]) == (404, "NOT_FOUND")


def test_ten_registrations_a_minute_from_one_address_are_enough(tmp_path, house):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    statuses = [client.post("/register", data={"token": "0" * 64}).status_code for _ in range(11)]
    assert statuses == [303] * 10 + [429]
    page = client.post("/register")
    assert "Too many requests" in page.text
    assert int(page.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("spoof", [{"headers": {"Cookie": "invite-session=x{}"}}, {"query_string": "key={}"}])
def test_what_a_caller_makes_up_does_not_get_round_the_limit(tmp_path, house, spoof):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()

    def post(number):
        shown = {name: fill(value, number) for name, value in spoof.items()}
        return client.post("/register", data={"token": "0" * 64}, **shown).status_code

    def fill(value, number):
        if isinstance(value, dict):
            return {name: each.format(number) for name, each in value.items()}
        return value.format(number)

    assert [post(number) for number in range(11)] == [303] * 10 + [429]


def test_the_link_is_a_picture_for_a_phone_while_it_can_be_used(client, make_invite, register):
    token = make_invite()
    picture = client.get(f"/qr?{token}")
    assert (picture.status_code, picture.mimetype) == (200, "image/svg+xml")
    register(token)
    assert client.get(f"/qr?{token}").status_code == 410


def test_the_style_is_in_the_colour_of_the_place_and_kept_by_browsers(tmp_path, house):
    client = create_app(make_settings(tmp_path / "instance", ACCENT="#AA3300")).test_client()
    page = client.get("/").text
    style = client.get(re.search(r'href="(/style.css[^"]*)"', page)[1])
    assert style.text.startswith(":root{--tint:#aa3300}")
    assert "immutable" in style.headers["Cache-Control"]
    other = create_app(make_settings(tmp_path / "instance")).test_client()
    assert re.findall("v=[0-9a-f]+", other.get("/").text)[0] not in page
    with pytest.raises(ConfigError, match="#rrggbb"):
        make_settings(tmp_path, ACCENT="red}body{display:none")
