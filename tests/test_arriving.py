"""What a guest meets on the way in and right after: the link in a chat, the language, who invites, where it goes on."""

import re
from itertools import count
from urllib.parse import urlsplit

import pytest

import clock
from app import create_app
from conftest import MAILS, PASSWORD, Browser, led, make_settings, seen
from gated import OURS, PHOTOS, Visitor
from models import Letter
from rules import accounts, drafts, gate, invites, projects, resets
from settings import HOME, ConfigError, in_force


@pytest.fixture
def start(tmp_path, house):
    """A browser at a service over the same database with other settings."""

    def begin(**settings):
        chosen = make_settings(tmp_path / "instance", **settings)
        return Browser(create_app(chosen).test_client())

    return begin


@pytest.fixture
def photos(house, root):
    """A project with an app behind the gate, which belongs to root."""
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Photos"))
        gate.set_origins("photos", [PHOTOS])


def meta(page) -> dict[str, str]:
    return dict(re.findall('<meta (?:property|name)="((?:og|twitter):[^"]*)" content="([^"]*)"', page.text))


# The link in a chat


@pytest.mark.parametrize("state", ["active", "used", "unknown"])
def test_a_chat_shows_of_a_link_where_it_invites_to_and_nothing_of_the_guest(start, make_invite, use, state):
    browser = start(PUBLIC_URL="https://join.example.org/in", SITE_NAME="Garden Club")
    token = "0" * 64 if state == "unknown" else make_invite(name="Anne", email="anne@example.org")
    if state == "used":
        use(token)
    page = browser.client.get(f"/invite?{token}")
    told = meta(page)
    assert told["og:title"] == "You're invited to Garden Club"
    assert told["og:image"] == "https://join.example.org/in/static/preview.png"
    with browser.client.get("/static/preview.png") as picture:
        assert (picture.status_code, picture.mimetype, picture.data[:4]) == (200, "image/png", b"\x89PNG")
    for secret in ("Anne", "anne@example.org", token):
        assert secret not in "".join(told.values())
        assert secret not in re.search("<title>(.*?)</title>", page.text, re.S)[1]


def test_browsers_find_a_picture_and_a_description_of_the_place(start):
    client = start(SITE_NAME="Garden Club", ACCENT="#aa3300", PUBLIC_URL="https://join.example.org/in").client
    with client.get("/favicon.ico") as icon:
        assert (icon.status_code, icon.data[:4]) == (200, b"\0\0\1\0")
        assert "max-age" in icon.headers["Cache-Control"]
    described = client.get("/manifest")
    assert described.mimetype == "application/manifest+json"
    assert (described.json["name"], described.json["start_url"]) == ("Garden Club", "/in/")
    for each in described.json["icons"]:
        with client.get(each["src"].removeprefix("/in")) as picture:
            assert (picture.status_code, picture.mimetype) == (200, each["type"])
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "manifest-src 'self'" in policy


def test_a_link_whose_question_mark_was_encoded_works(client, make_invite):
    token, html = make_invite(), {"Accept": "text/html"}
    for path in ("invite", "register", "welcome"):
        for mark in ("%3F", "%3f", "%253F"):
            for query in (token, f"t={token}"):
                answer = client.get(f"/{path}{mark}{query.replace('=', '%3D')}", headers=html)
                assert (answer.status_code, answer.location) == (303, f"/{path}?{query}")
    assert client.get("/password/reset%3Fabc.d-e_f", headers=html).location == "/password/reset?abc.d-e_f"
    for other in ("invite%3F", "invite%3F//evil.example", "nothing%3Fabc", f"invites%3F{token}", "invite%3Fa%0d%0ab"):
        assert client.get(f"/{other}", headers=html).status_code == 404


def test_a_plus_sign_that_became_a_space_is_named(client, key):
    refused = client.get(f"/invites_api?key={key}&email=anne+x@example.org")
    assert (refused.status_code, "%2B" in refused.json["error"]) == (400, True)
    assert "%2B" not in client.get(f"/invites_api?key={key}&email=anne%20x@example.org").json["error"]
    assert client.get(f"/invites_api?key={key}&email=anne%2Bx@example.org").status_code == 201


# The language


def test_a_reader_chooses_a_language_and_keeps_it(client, make_invite):
    token, english = make_invite(), {"Accept-Language": "en"}
    page = client.get(f"/invite?{token}", headers=english)
    (link,) = re.findall('<a href="([^"]*)" lang="de" hreflang="de"', page.text)
    chosen = client.get(link, headers=english)
    assert (chosen.status_code, chosen.location) == (303, f"/invite?{token}")
    (cookie,) = chosen.headers.getlist("Set-Cookie")
    assert all(each in cookie for each in ("invite-language=de", "Path=/", "HttpOnly", "SameSite=Lax"))
    page = client.get(chosen.location, headers=english)
    assert '<html lang="de"' in page.text
    assert 'lang="en" hreflang="en"' in page.text
    assert page.headers["Vary"] == "Authorization, Cookie, Accept-Language"
    assert "Gültig bis" in seen(page)
    assert "(in 7 Tagen)" in seen(page).replace("\xa0", " ")
    refused = client.post("/register", data={"token": token, "user": "", "password": "short"}, headers=english)
    assert "Muss mindestens 8 Zeichen haben." in refused.text


@pytest.mark.parametrize("code", ["tlh", "de.po", "..", "DE"])
def test_a_language_that_is_not_there_is_chosen_by_nothing(client, code):
    answer = client.get(f"/language/{code}?/")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (404, False)
    client.set_cookie("invite-language", code)
    assert '<html lang="en"' in client.get("/").text


@pytest.mark.parametrize(
    "path", ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a%0d%0ab: c" + "x" * 2000, "\r\n"]
)
def test_choosing_a_language_leads_nowhere_else(client, path):
    assert client.get("/language/de", query_string=path).location == "/"


def test_what_a_form_shows_is_read_in_another_language_at_its_page(make_invite, start):
    browser = start(REGISTRATION="open", SMTP_URL=MAILS)
    token = make_invite()
    sent = {
        "/register": ({"token": token, "user": ""}, f"/register?{token}"),
        "/login": ({"user": "x", "then": "/account"}, "/login?then=/account"),
        "/code": ({"code": "x"}, "/code"),
        "/register/start": ({"email": ""}, "/register"),
        "/password/forgot": ({"email": ""}, "/password/forgot"),
        "/verify/send": ({"email": ""}, "/verify"),
    }
    for path, (typed, wanted) in sent.items():
        page = browser.post(path, **typed)
        (link,) = re.findall('<a href="/language/de[?]([^"]*)"', page.text)
        assert link == wanted
        assert browser.client.get(wanted).status_code == 200


def test_what_is_said_once_leads_to_no_other_language(start, house, root, digits):
    browser = start(REGISTRATION="open", SMTP_URL=MAILS)
    browser.post("/register/start", email="nora@example.org")
    proved = browser.post("/verify", email="nora@example.org", code=digits())
    assert "is confirmed. One more step" in seen(proved)
    refused = browser.post("/register/password", email="nora@example.org", ticket="x.y", password="short")
    assert refused.status_code == 422
    browser.sign_in("root")
    with house.reading():
        person = accounts.named("root").id
    reset = browser.post(f"/admin/people/{person}/reset")
    assert "/password/reset?" in reset.text
    for page in (proved, refused, reset):
        assert "hreflang" not in page.text


def test_every_page_of_ours_offers_the_languages_but_none_at_an_app(client, browser, photos):
    for path in ("/", "/login", "/logout", "/invite", "/password/forgot", "/nothing"):
        assert 'hreflang="de"' in client.get(path, headers={"Accept": "text/html"}).text
    browser.sign_in("root")
    for path in ("/account", "/account/delete", "/admin", "/admin/invites/new"):
        assert 'hreflang="de"' in browser.client.get(path).text
    at_app = client.get("/.invite/photos/done?x", headers={"X-Forwarded-Host": "photos.example.org"})
    assert "hreflang" not in at_app.text


# Who invites, and where it goes on


def test_who_invites_is_named_also_where_it_was_a_program(client, start, make_invite, house, alice):
    with house.writing():
        by_alice = invites.token(invites.create(drafts.read({}), accounts.as_inviter(accounts.named("alice"))))
    client = start(SITE_NAME="Garden Club").client
    assert "alice invites you." in seen(client.get(f"/invite?{by_alice}"))
    assert "The people of Garden Club invite you." in seen(client.get(f"/invite?{make_invite()}"))


def buttons(page) -> list[tuple[str, str]]:
    """The links that look like buttons, and what they say."""
    return re.findall('<a class="button" href="([^"]*)"[^>]*>(.*?)</a>', page.text)


def test_after_joining_there_is_a_next_step(start, make_invite, photos, house):
    def joined(browser, token="", **given):
        name = f"guest{next(numbers)}"
        page = browser.follow(
            browser.post("/register", token=token or make_invite(**given), user=name, password=PASSWORD)
        )
        assert "You've joined" in seen(page)
        return [link for link, _ in buttons(page)]

    numbers = count()
    home = {"HOME_URL": "https://app.example.org/start"}
    assert joined(start()) == ["/account"]
    assert joined(start(**home)) == ["https://app.example.org/start"]
    assert joined(start(**home), project="photos") == [f"{PHOTOS}/"]
    assert joined(start(**home), project="photos", redirect_url="https://x.example.org/") == ["https://x.example.org/"]
    with house.writing():
        admins = invites.token(invites.create(drafts.Draft(makes_admin=True, ttl=clock.HOUR), drafts.SHELL))
    assert joined(start(**home), admins) == ["/admin"]


def test_who_joins_by_a_program_may_sign_in_then(client, make_invite):
    page = client.post("/register", data={"token": make_invite(), "user": "anne", "password": PASSWORD})
    assert buttons(page) == [("/login", "Sign in")]


DEAD_ENDS = ("/", f"/invite?{'0' * 64}", "/invite", "/nowhere")


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("help@example.org", '<a href="mailto:help@example.org" rel="noreferrer">help@example.org</a>'),
        ("https://example.org/help", '<a href="https://example.org/help" rel="noreferrer">example.org</a>'),
    ],
)
def test_who_cannot_go_on_reads_who_helps(tmp_path, house, contact, link):
    helped = create_app(make_settings(tmp_path, CONTACT=contact)).test_client()
    pages = [helped.get(path, headers={"Accept": "text/html"}).text for path in DEAD_ENDS]
    assert [link in each for each in pages] == [True] * len(DEAD_ENDS)
    plain = create_app(make_settings(tmp_path)).test_client()
    assert "Need help?" not in plain.get("/", headers={"Accept": "text/html"}).text


@pytest.mark.parametrize("wrong", ["help", "help@example.org?cc=x", "javascript:alert(1)", "a b@example.org"])
def test_the_contact_is_an_address_or_a_page(tmp_path, wrong):
    with pytest.raises(ConfigError, match="CONTACT"):
        make_settings(tmp_path, CONTACT=wrong)


def test_the_page_where_people_go_on_is_a_url(tmp_path):
    for wrong in ("app.example.org", "javascript:alert(1)", "https://app.example.org/a b", "https://a:b@x.org/"):
        with pytest.raises(ConfigError, match="HOME_URL"):
            make_settings(tmp_path, HOME_URL=wrong)


@pytest.mark.parametrize("path", ["/invites/", "/admin/", "/admin/keys/"])
def test_an_address_with_a_slash_at_its_end_leads_back_there(browser, client, root, path):
    asked = client.get(path)
    assert asked.location == f"/login?then={path}"
    page = client.get(asked.location)
    assert f'name="then" value="{path}"' in page.text
    assert led(browser.post("/login", user="root", password=PASSWORD, then=path)) == path
    assert browser.client.get(path).status_code == 200


def test_who_is_signed_in_gets_no_form_to_sign_in(browser, make_invite, root):
    token = make_invite()
    browser.sign_in("alice")
    for path, wanted in {
        "/login": "/",
        "/login?then=/account": "/account",
        "/login?then=//evil.example": "/",
        "/login?then=/invites/": "/invites/",
        "/login?then=/invites//": "/",
        "/login?then=/invites//evil.example": "/",
        f"/login?t={token}": f"/invite?{token}",
        f"/register?t={token}": f"/invite?{token}",
        "/register": "/",
    }.items():
        answer = browser.client.get(path)
        assert (answer.status_code, answer.location) == (303, wanted)


def test_an_admin_signs_in_to_the_administration_unless_they_wanted_something_else(browser, root, make_invite):
    assert led(browser.sign_in("root")) == "/admin"
    assert browser.client.get("/login").location == "/admin"
    assert led(browser.post("/login", user="root", password=PASSWORD, then="/account")) == "/account"
    token = make_invite()
    assert led(browser.sign_in("root", token=token)) == f"/invite?{token}"
    assert led(browser.sign_in("alice")) == "/"


def test_who_is_no_admin_is_offered_to_come_back_as_one(browser, root):
    browser.sign_in("alice")
    refused = browser.client.get("/admin/keys")
    assert (refused.status_code, "Sign out and use another account" in seen(refused)) == (403, True)
    (then,) = re.findall('name="then" value="([^"]*)"', refused.text)
    left = browser.post("/logout", then=then)
    assert left.location == "/login?then=/admin/keys"
    assert led(browser.post("/login", user="root", password=PASSWORD, then=then)) == "/admin/keys"


# The way back to an app


def reset_link(house, settings, name):
    """The link for a new password that would be mailed now."""
    with in_force(settings), house.reading() as unit:
        letter = unit.session.query(Letter).filter_by(kind="reset").one()
        slug = letter.project.slug if letter.project else None
        return resets.mailed_link(accounts.named(name), resets.MAILED_TTL, slug)


def test_who_forgot_the_password_on_the_way_to_an_app_is_led_to_it_afterwards(tmp_path, house, photos, alice):
    settings = make_settings(tmp_path / "instance", SMTP_URL=MAILS)
    visitor = Visitor(create_app(settings), {PHOTOS: "photos"})
    page = visitor.open(f"{PHOTOS}/albums")
    (link,) = re.findall('href="(/password/forgot[^"]*)"', page.text)
    page = visitor.open(f"{OURS}{link.replace('&amp;', '&')}")
    page = visitor.send(page, "/password/forgot", email="alice@example.org")
    (back,) = re.findall('href="(/login[^"]*)"', page.text)
    assert "Sign in to open" in visitor.open(f"{OURS}{back.replace('&amp;', '&')}").text
    mailed = reset_link(house, settings, "alice")
    assert urlsplit(mailed).query.endswith("&then=/pass/photos")
    another = Visitor(create_app(settings), {PHOTOS: "photos"})  # the mail is read on a phone
    page = another.send(another.open(mailed), "/password/reset", password="three wet umbrellas")
    assert "Sign in to open" in page.text
    page = another.send(page, "/login", user="alice", password="three wet umbrellas")
    assert urlsplit(another.hops[-1]).path == "/pass/photos"
    assert (f"{PHOTOS}/", "Open <bdi>Photos</bdi>") in buttons(page)
    assert "expired" not in page.text


def test_an_app_that_has_gone_meanwhile_is_forgotten_by_all_who_come_for_it(tmp_path, house, photos, alice, digits):
    settings = make_settings(tmp_path / "instance", SMTP_URL=MAILS, REGISTRATION="open")
    visitor = Visitor(create_app(settings), {PHOTOS: "photos"})
    (link,) = re.findall('href="(/register[^"]*)"', visitor.open(f"{PHOTOS}/").text)
    page = visitor.open(f"{OURS}{link.replace('&amp;', '&')}")
    page = visitor.send(page, "/register/start", email="nora@example.org")
    page = visitor.send(page, "/verify", code=digits())
    with house.writing():
        gate.set_origins("photos", [])
    page = visitor.send(page, "/register/password", password=PASSWORD)
    assert (page.status_code, urlsplit(visitor.hops[-1]).path) == (200, "/")
    assert "Your account is ready" in seen(page)
    for path in ("/login", "/password/forgot"):
        visitor.jar(OURS).clear()
        page = visitor.open(f"{OURS}{path}?then=/pass/photos")
        assert (page.status_code, 'name="then"' in page.text) == (200, False)


# Too often


@pytest.fixture
def limited(start, alice):
    """A browser whose calls are counted, in which alice is signed in."""
    browser = start(LIMITS="on", SMTP_URL=MAILS, REGISTRATION="open")
    browser.sign_in("alice")
    browser.post("/verify/send")
    return browser


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("/account/password", {"current_password": "not that one", "password": "x"}),
        ("/account/delete", {"current_password": "not that one"}),
        ("/verify", {"code": "12"}),
    ],
)
def test_a_form_that_is_sent_too_often_is_there_again_and_says_when(limited, path, typed):
    csrf = limited.csrf()
    answers = [limited.post(path, csrf=csrf, **typed) for _ in range(11)]
    assert answers[-1].status_code == 429
    assert re.search("Try again in (1 minute|[0-9]+ seconds)[.]", seen(answers[-1]))
    assert f'action="{path}"' in answers[-1].text
    assert "not that one" not in answers[-1].text


def test_a_link_for_a_new_password_that_is_used_too_often_keeps_its_form(start, house, alice):
    browser = start(LIMITS="on")
    with house.reading():
        token = resets.link(accounts.named("alice")).partition("?")[2]
    answers = [browser.post("/password/reset", csrf="", token=token, password="x") for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert f'value="{token}"' in answers[-1].text
    assert "Try again in" in seen(answers[-1])


# Their names


def titles() -> dict[str, list[str]]:
    found = {}
    for path in [*(HOME / "templates").glob("*.html"), *(HOME / "templates" / "gate").glob("*.html")]:
        if written := re.search(r"\{% block title %\}(.*?)\{% endblock %\}", path.read_text(), re.S):
            found[path.name] = re.findall(r'_\("([^"]*)"\)', written[1]) or [written[1]]
    return found


def test_each_page_has_a_title_of_its_own():
    all_ = [text for name, texts in titles().items() if name not in ("base.html", "docs.html") for text in texts]
    assert len(all_) > 15
    assert {each for each in all_ if all_.count(each) > 1} == set()


def test_what_goes_wrong_is_called_by_its_status(client, browser):
    missing = client.get("/nothing", headers={"Accept": "text/html"})
    assert (missing.status_code, "<h1>Page not found</h1>" in missing.text) == (404, True)
    browser.sign_in("alice")
    assert "<h1>Not allowed</h1>" in browser.client.get("/admin").text
    assert "<h1>Please try again</h1>" in browser.post("/logout", csrf="x").text
