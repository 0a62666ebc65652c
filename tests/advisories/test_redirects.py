"""Where somebody is sent after accepting: only where the operator permits, whatever a URL looks like."""

import re

import pytest

from app import create_app
from conftest import PASSWORD, Browser, led, make_settings
from database import session
from models import Invite
from rules import fields, invitations
from rules.refusals import Invalid
from settings import in_force

pytestmark = [pytest.mark.any_database, pytest.mark.long]

PERMITTED = "https://app.example.org"
EVIL = "evil.example"

SCHEMES = [
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "javascript://app.example.org/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>", "vbscript:x", "file:///etc/passwd", "ftp://app.example.org/",
    "blob:https://app.example.org/x", "about:blank", "mailto:eve@evil.example", "intent://app.example.org#Intent;end",
    "ws://app.example.org/", "http://app.example.org/", "HTTP://APP.EXAMPLE.ORG", "view-source:https://app.example.org",
    "x-app://app.example.org", "tel:110", "://app.example.org", "https", "https:", "https:/", "https://", "https:///",
]  # fmt: skip
RELATIVE = [
    "", " ", "/", "//", "///", "/start", "start", "./start", "../start", "?next=1", "#x", f"//{EVIL}", f"///{EVIL}",
    f"////{EVIL}", f"/\\{EVIL}", f"\\\\{EVIL}", f"\\/{EVIL}", f"/%5c{EVIL}", f"/%2f{EVIL}", f"/.{EVIL}", f"/;@{EVIL}",
    f"//{EVIL}/{PERMITTED}", EVIL, f"www.{EVIL}", "app.example.org", "app.example.org/start", "//app.example.org",
]  # fmt: skip
DRESSED = [
    f"https:{EVIL}", f"https:/{EVIL}", f"https:///{EVIL}", f"https:\\\\{EVIL}", f"https:/\\{EVIL}", f"https:\\/{EVIL}",
    f"https://{EVIL}", f"https://{EVIL}/app.example.org", f"https://{EVIL}?app.example.org", f"https://{EVIL}#app.example.org",
    f"https://{EVIL}:443", f"https://app.example.org.{EVIL}", f"https://app.example.org{EVIL}", f"https://app-example.org.{EVIL}",
    f"https://{EVIL}%2eapp.example.org", f"https://{EVIL}%00.app.example.org", f"https://{EVIL}%23.app.example.org",
    f"https://{EVIL}%2f.app.example.org", f"https://{EVIL}\\.app.example.org", f"https://{EVIL}\t.app.example.org",
    f"https://{EVIL}\x00.app.example.org", f"https://{EVIL} .app.example.org", f"https://{EVIL}。app.example.org",
    f"https://app.example.org@{EVIL}", f"https://app.example.org:443@{EVIL}", f"https://app.example.org%40{EVIL}",
    f"https://app.example.org&@{EVIL}", f"https://app.example.org;@{EVIL}", f"https://app.example.org\\@{EVIL}",
    f"https://a:b@{EVIL}", "https://user@app.example.org", "https://user:pass@app.example.org", "https://@app.example.org",
    "https://:@app.example.org", f"https://{EVIL}@app.example.org", "https://app.example.org:8443", "https://app.example.org:444/",
    "https://app.example.org:0", "https://app.example.org:99999", "https://app.example.org:443:443", "https://app.example.org:",
    "https://app.example.org:x", "https://app.example.org:-1", "https://app.example.org:４４３", "https://APP.EXAMPLE.ORG.",
    "https://app.example.org./", "https://.app.example.org", "https://app..example.org", "https://-app.example.org",
    "https://example.org", "https://sub.app.example.org", "https://xapp.example.org", "https://app.example.orgx",
    "https://app_example.org", "https://аpp.example.org", "https://app。example。org", "https://app.example.org/\r\nX: y",
    "https://app.example.org/\n", "https://app.example.org/\x00", "https://app.example.org/ x", " https://app.example.org",
    "\thttps://app.example.org", "https://app.example.org\t", "\ufeffhttps://app.example.org", "https://app.example.org/\u202e",
    'https://app.example.org/"onclick=x', "https://app.example.org/<script>", "https://app.example.org/`x`",
    "https://app.example.org/\\evil", "https://[::1]", "https://[app.example.org]", "https://[::ffff:1.2.3.4]", "https://1.2.3.4",
    "https://2130706433", "https://0x7f.1", "https://127.1", "http://localhost.evil.example", "http://localhost@evil.example",
    "http://127.0.0.1.evil.example", "http://127.0.0.2", "http://0.0.0.0", "http://[::]", "http://localhost:80@evil.example",
    "http://①②⑦.0.0.1", "https://app.example.org/" + "x" * 2000,
]  # fmt: skip

CORPUS = SCHEMES + RELATIVE + DRESSED


@pytest.fixture
def permitted(tmp_path):
    with in_force(make_settings(tmp_path / "instance", REDIRECT_ORIGINS=PERMITTED)) as settings:
        yield settings


def test_the_corpus_is_large_and_says_nothing_twice():
    assert len(set(CORPUS)) == len(CORPUS) >= 120


@pytest.mark.parametrize("url", CORPUS)
def test_a_url_that_leads_elsewhere_is_refused_when_it_is_given_and_when_it_is_used(permitted, url):
    """CVE-2021-23401: what a browser takes for another host was taken for a path of ours."""
    with pytest.raises(Invalid):
        fields.redirect_url(url)
    assert invitations.redirect(url) is None


@pytest.mark.parametrize("url", ["", "/x", "/x?a=b&c=%20#d", ":443/x", "?x", "#x"])
def test_what_is_permitted_passes_unchanged(permitted, url):
    assert fields.redirect_url(PERMITTED + url) == PERMITTED + url
    assert invitations.redirect(PERMITTED + url) == PERMITTED + url


def test_a_bad_url_in_the_table_is_never_shown_or_answered(client, house, alice, make_invite):
    token = make_invite(uses="9")
    with house.writing():
        session().query(Invite).update({"redirect_url": "javascript:alert(1)"})
    assert client.post(f"/invites/{token}/accept", headers=alice.bearer).json["redirect_url"] is None
    form = {"token": token, "user": "bob", "password": "correct horse battery"}
    page = client.post("/register", data=form)
    assert page.status_code == 200
    assert "javascript:" not in page.text


@pytest.fixture
def strict(tmp_path, house):
    return create_app(make_settings(tmp_path / "instance", REDIRECT_ORIGINS=PERMITTED)).test_client()


@pytest.mark.long
def test_no_door_takes_a_url_that_leads_elsewhere(strict, house, key, alice, rows):
    """CVE-2026-25779: one of several ways in did not check where it sent people."""
    strict.post("/projects/", headers=alice.bearer, json={"name": "Tea"})
    bearer = {"Authorization": f"Bearer {key}"}
    for url in filter(None, CORPUS):
        asked = {"redirect_url": url, "email": "dora@example.org"}
        assert strict.post("/invites_api", headers=bearer, json=asked).status_code == 400, url
        assert strict.post("/invites_api", headers=bearer, data=asked).status_code == 400, url
        assert strict.get("/invites_api", headers=bearer, query_string=asked).status_code == 400, url
        assert strict.post("/projects/tea/invites", headers=alice.bearer, json=asked).status_code == 422, url
    assert rows("invites") == {"invites": []}


@pytest.mark.long
@pytest.mark.parametrize("field", ["then", "token", "next", "redirect", "redirect_url", "url", "return_to", "continue"])
def test_signing_in_leads_to_a_page_of_ours_whatever_it_is_told(strict, alice, field):
    """CVE-2023-49438: after signing in one was sent wherever the link said, if it began with a slash."""
    browser = Browser(strict)
    csrf = browser.csrf()
    for url in CORPUS[:: 1 if field == "then" else 8]:
        form = browser.client.get("/login", query_string={field: url})
        assert set(re.findall('name="(?:then|token)" value="([^"]*)"', form.text)) <= {""}
        assert browser.post("/logout", csrf=csrf, **{field: url}).location == "/"
    for url in CORPUS[::12]:
        signed_in = Browser(strict.application.test_client())
        there = signed_in.post("/login", user="alice", password=PASSWORD, **{field: url})
        assert led(there) == "/"
