"""Where somebody is sent after accepting: only where the operator permits, whatever a URL looks like."""

import pytest

import config
from conftest import make_settings
from database import session
from models import Invite
from rules import fields, invites
from rules.refusals import Invalid

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
    with config.using(make_settings(tmp_path / "instance", REDIRECT_ORIGINS=PERMITTED)) as settings:
        yield settings


def test_the_corpus_is_large_and_says_nothing_twice():
    assert len(set(CORPUS)) == len(CORPUS) >= 120


@pytest.mark.parametrize("url", CORPUS)
def test_a_url_that_leads_elsewhere_is_refused_when_it_is_given_and_when_it_is_used(permitted, url):
    with pytest.raises(Invalid):
        fields.redirect_url(url)
    assert invites.redirect(url) is None


@pytest.mark.parametrize("url", ["", "/x", "/x?a=b&c=%20#d", ":443/x", "?x", "#x"])
def test_what_is_permitted_passes_unchanged(permitted, url):
    assert fields.redirect_url(PERMITTED + url) == PERMITTED + url
    assert invites.redirect(PERMITTED + url) == PERMITTED + url


def test_a_bad_url_in_the_table_is_never_shown_or_answered(client, house, alice, make_invite):
    token = make_invite(uses="9")
    with house.writing():
        session().query(Invite).update({"redirect_url": "javascript:alert(1)"})
    assert client.post(f"/invites/{token}/accept", headers=alice.bearer).json["redirect_url"] is None
    form = {"token": token, "user": "bob", "password": "correct horse battery"}
    page = client.post("/register", data=form)
    assert page.status_code == 200
    assert "javascript:" not in page.text
