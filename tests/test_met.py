"""What operators, guests and programs met: each input failed once, and is named after what went wrong."""

import pytest

from conftest import PASSWORD, make_settings
from rules import fields, tokens
from rules.refusals import Invalid
from settings import ConfigError, in_force
from web import limits

TOKEN = "5d0b4c1f" * 8
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


# Guests


@pytest.mark.parametrize("around", ["{}.", "{})", "{}>", "{}%20", "<{}>", "{},", "{}=", "token={}.", "t={}%3E", "{}_"])
def test_a_mail_program_takes_punctuation_for_a_part_of_a_link(around):
    assert tokens.in_query(around.format(TOKEN)) == TOKEN


@pytest.mark.parametrize("query", [f"{TOKEN}{TOKEN}", f"{TOKEN}0", f"{TOKEN}.{TOKEN}", f"{TOKEN[1:]}.", f"x{TOKEN}"])
def test_what_is_more_than_punctuation_makes_another_token(query):
    assert tokens.in_query(query) != TOKEN


@pytest.mark.parametrize("around", ["{}.", "<http://127.0.0.1:8080/invite?{}>", "http://x/invite?token={})", "({})"])
def test_a_link_is_pasted_with_the_end_of_its_sentence(around):
    assert tokens.in_text(around.format(TOKEN)) == TOKEN
    assert tokens.in_text("3F9A0C27BE51.") == "3f9a0c27be51"


def test_punctuation_without_end_is_read_through_once():
    """With a pattern whose time grew with the square one such link kept everyone waiting: it is read in the loop."""
    text = f"x{'[' * 500_000}x"
    assert tokens.in_query(text) == tokens.in_text(text) == text


def test_a_form_leads_on_by_its_path_under_a_sub_path_too(tmp_path, client, make_invite):
    with in_force(make_settings(tmp_path / "instance", PUBLIC_URL="https://example.org/invites")) as chosen:
        from app import create_app

        below = create_app(chosen).test_client()
        assert below.get("/register").location == "/invites/invite"
    assert client.get("/register").location == "/invite"


# Programs


@pytest.mark.parametrize("body", ['{"email": "anne@example.org"}', '{"name":"Alice & Bob"}', '["x"]'])
def test_json_that_says_it_is_a_form_makes_no_invite_for_anybody(client, key, stored, body):
    refused = client.post("/invites_api", data=body, headers={"Authorization": f"Bearer {key}", **FORM})
    assert refused.status_code == 415
    assert "application/json" in refused.json["error"]
    assert stored() == []


def test_a_program_in_a_browser_can_read_the_link_it_made(client, key):
    made = client.get("/invites_api", headers={"Authorization": f"Bearer {key}", "Origin": "https://example.org"})
    assert made.headers["Access-Control-Expose-Headers"] == "Location, Idempotency-Replayed"


def test_a_program_in_a_browser_can_read_the_page_it_is_led_to(client, make_invite):
    assert client.get(f"/invite?{make_invite()}").headers["Access-Control-Allow-Origin"] == "*"
    assert client.get(f"/invite?{TOKEN}").headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in client.get("/login").headers


TRUSTED = make_settings.__globals__["load_settings"]({"INVITE_API_TRUSTED_PROXIES": "192.0.2.0/24"}).trusted_proxies


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.7", "203.0.113.7"),
    ],
)
def test_a_proxy_says_the_port_of_its_client(hop, client):
    assert limits.client_address("192.0.2.1", [hop], TRUSTED) == client
    assert limits.client_address("192.0.2.1", [hop, "192.0.2.9:80"], TRUSTED) == client


def test_an_http_origin_that_is_listed_may_be_led_to(tmp_path):
    given = {"REDIRECT_ORIGINS": "http://nas.lan:3000", "PUBLIC_URL": "http://home.lan"}
    with in_force(make_settings(tmp_path, **given)):
        for url in ("http://nas.lan:3000/start", "http://home.lan/x"):
            assert fields.redirect_url(url) == url
        with pytest.raises(Invalid, match="https"):
            fields.redirect_url("http://other.lan/")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_agentbots_handlers_do_not_ask_for_the_type_of_json(client, make_invite, kind):
    checked = client.post("/api/invites/verify", data=f'{{"token": "{make_invite()}"}}', content_type=kind)
    assert checked.json == {"valid": True, "plan": "solo"}


def test_a_body_of_another_type_is_looked_over_as_well(client, alice):
    sent = {"data": '{"name": "Anne", "is_admin": true}', "headers": {**alice.bearer, **FORM}}
    assert client.post("/api/invite", **sent).status_code == 400


def test_json_of_another_type_does_nothing_by_cookie(browser, stored):
    browser.sign_in("alice")
    sent = {"data": '{"name": "Anne"}', "content_type": "text/plain", "headers": {"Origin": "http://127.0.0.1:8080"}}
    assert browser.client.post("/api/invite", **sent).status_code == 403
    assert stored() == []


@pytest.mark.parametrize("kind", ["text/plain", "text/plain;charset=UTF-8", ""])
def test_prosodys_registration_is_taken_as_text(client, make_invite, kind):
    token = make_invite()
    form = f"user=anne&password={PASSWORD.replace(' ', '+')}&token={token}"
    assert client.post(f"/register?{token}", data=form, content_type=kind).status_code == 200
    assert client.get(f"/invite?{token}").status_code == 410


def test_hitkeys_front_end_looks_through_the_addresses_of_an_account(client, charlie):
    me = client.get("/auth/me", headers=charlie.bearer).json
    assert me["emails"] == [
        {"id": me["id"], "email": "charlie@example.org", "isDefault": True, "isVerified": True},
    ]
    assert (me["name"], me["totpEnabled"], me["surname"], me["updatedAt"]) == ("charlie", False, None, me["createdAt"])


def test_the_link_that_agentbots_admin_page_copies_leads_to_the_invitation(client, make_invite):
    token = make_invite()
    led = client.get(f"/join?code={token}")
    assert (led.status_code, led.location) == (303, f"/invite?token={token}")
    assert client.get(led.location).status_code == 200


# Operators


@pytest.mark.sqlite
def test_a_backup_into_a_folder_that_is_not_there_makes_no_file(invite_api, tmp_path):
    assert invite_api("list").returncode == 0
    refused = invite_api("db", "backup", "nodir/")
    assert refused.returncode == 1
    assert "no such folder" in refused.stderr
    assert not (tmp_path / "nodir").exists()


@pytest.mark.parametrize(
    ("url", "reason"),
    [("https://einladung.müller.example", "xn--mller-kva"), ("http://invite_api:8080", "_ in invite_api")],
)
def test_a_host_that_stands_in_no_link_is_refused_with_the_reason(tmp_path, url, reason):
    with pytest.raises(ConfigError, match=reason):
        make_settings(tmp_path, PUBLIC_URL=url)


def test_a_key_is_deleted_by_what_create_printed(invite_api):
    key = invite_api("create", "x").stdout.strip()
    assert invite_api("delete", key).returncode == 0
    assert invite_api("list").stdout == ""


@pytest.mark.parametrize("words", [("create", "example.com", "My key"), ("list", "example.com"), ("delete", "a", "b")])
def test_prosodyctls_host_is_named_as_what_is_too_much(invite_api, words):
    refused = invite_api(*words)
    assert refused.returncode == 2
    assert "HOST" in refused.stderr
