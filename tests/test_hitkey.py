"""HitKey's dialect: accounts, sessions, and invites that are viewed and accepted."""

import pytest
import time_machine

import clock
from app import create_app
from conftest import PASSWORD, make_settings
from database import session
from models import AccessToken, Project, Session, User
from rules import accounts, changing, invites, resets, sessions, tokens
from rules.refusals import InvalidCredentials, NotSignedIn
from settings import in_force


@pytest.fixture
def register(client):
    def post(token, email="anne@example.org", password=PASSWORD, **more):
        body = {"invite_token": token, "email": email, "password": password, **more}
        return client.post("/auth/register/with-invite", json=body)

    return post


@pytest.fixture
def login(client):
    def post(name="alice", password=PASSWORD):
        return client.post("/auth/login", json={"email": name, "password": password})

    return post


def test_registering_makes_the_account_accepts_and_signs_in(client, register, make_invite):
    answer = register(make_invite(redirect_url="https://app.example.org/"), "Anne@Example.org")
    assert answer.status_code == 200
    assert list(answer.json) == ["type", "token", "refresh_token", "expires_in", "user", "project_slug", "redirect_url"]
    assert (answer.json["type"], answer.json["expires_in"]) == ("bearer", 3600)
    assert answer.json["token"].startswith("hitkey_")
    assert list(answer.json["user"]) == ["id", "email", "displayName"]
    assert answer.json["redirect_url"] == "https://app.example.org/"
    me = client.get("/auth/me", headers={"Authorization": f"Bearer {answer.json['token']}"}).json
    assert me["email"] == "anne@example.org"
    assert me["displayName"] == "anne"
    assert me["emailVerified"] is False


def test_registering_joins_the_project(house, register, make_invite):
    with house.writing():
        session().add(Project(id="p", name="Garden", slug="garden", created_at=clock.now()))
    assert register(make_invite(project="garden")).json["project_slug"] == "garden"


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"password": "short"}, 422, "INVALID"),
        ({"password": "password1"}, 422, "INVALID"),
        ({"password": None}, 422, "INVALID"),
        ({"email": "nonsense"}, 422, "INVALID"),
        ({"email": None}, 422, "INVALID"),
        ({"invite_token": None}, 422, "INVALID"),
        ({"invite_token": "0" * 64}, 404, "INVITE_NOT_FOUND"),
        ({"username": "a b"}, 400, "USERNAME_INVALID"),
        ({"username": "alice"}, 409, "USERNAME_TAKEN"),
        ({"email": "alice@example.org"}, 400, "EMAIL_ALREADY_IN_USE"),
        ({"displayName": "<b>"}, 422, "INVALID"),
        ({"email_verified": True}, 422, "INVALID"),
        ({"makes_admin": False}, 422, "INVALID"),
    ],
)
def test_a_refused_registration_costs_nothing(client, house, alice, make_invite, changed, status, code):
    token = make_invite()
    body = {"invite_token": token, "email": "anne@example.org", "password": PASSWORD, **changed}
    answer = client.post("/auth/register/with-invite", json=body)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    if status == 422:
        assert [set(each) for each in answer.json["errors"]] == [{"message", "rule", "field"}]
    with house.reading() as unit:
        assert invites.find(token).uses == 0
        assert unit.session.query(User).count() == 1


def test_an_invite_is_viewed_without_telling_secrets(client, make_invite):
    token = make_invite(name="Anne", email="anne@example.org", note="nosy")
    answer = client.get(f"/invites/{token}")
    assert set(answer.json) == {"id", "email", "role", "project", "invitedBy", "expiresAt", "is_expired"}
    assert (answer.json["email"], answer.json["project"], answer.json["is_expired"]) == (
        "anne@example.org",
        None,
        False,
    )
    assert answer.json["invitedBy"] == {"displayName": "127.0.0.1:8080"}
    assert client.get(f"/invites/{make_invite(ttl='never')}").json["expiresAt"] is None


def test_the_inviter_is_named_by_the_account_that_made_the_invite(client, alice):
    token = client.post("/api/invite", headers=alice.bearer, json={"name": "Bob"}).json["token"]
    assert client.get(f"/invites/{token}").json["invitedBy"] == {"displayName": "alice"}


def test_a_dead_invite_is_404_when_viewed_and_400_when_accepted(client, house, alice, make_invite, use):
    used, revoked = make_invite(), make_invite()
    use(used)
    with house.writing():
        changing.revoke(invites.find(revoked))
    cases = {used: "INVITE_USED", revoked: "INVITE_EXPIRED", "0" * 64: "INVITE_NOT_FOUND", "x": "INVITE_NOT_FOUND"}
    for token, code in cases.items():
        viewed = client.get(f"/invites/{token}")
        accepted = client.post(f"/invites/{token}/accept", headers=alice.bearer)
        assert (viewed.status_code, viewed.json["code"]) == (404, code)
        assert (accepted.status_code, accepted.json["code"]) == (404 if code == "INVITE_NOT_FOUND" else 400, code)


def test_accepting_says_where_to_go_and_happens_once(client, alice, make_invite):
    token = make_invite(uses="2", redirect_url="https://app.example.org/x")
    first = client.post(f"/invites/{token}/accept", headers=alice.bearer)
    assert (first.status_code, first.json) == (200, {"project_slug": None, "redirect_url": "https://app.example.org/x"})
    again = client.post(f"/invites/{token}/accept", headers=alice.bearer)
    assert (again.status_code, again.json["code"]) == (400, "ALREADY_MEMBER")


def test_who_used_the_last_use_is_told_so_and_not_that_it_is_used_up(client, alice, make_invite):
    token = make_invite()
    for status, code in ((200, None), (400, "ALREADY_MEMBER")):
        answer = client.post(f"/invites/{token}/accept", headers=alice.bearer)
        assert (answer.status_code, answer.json.get("code")) == (status, code)


def test_accepting_needs_a_session(client, make_invite):
    answer = client.post(f"/invites/{make_invite()}/accept")
    assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["alice", "ALICE", "alice@example.org", " Alice@Example.Org "])
def test_signing_in_by_user_name_or_address(client, alice, login, name):
    answer = login(name)
    assert answer.status_code == 200
    assert list(answer.json) == ["type", "token", "refresh_token", "expires_in", "user"]
    assert (
        client.get("/auth/me", headers={"Authorization": f"Bearer {answer.json['token']}"}).json["username"] == "alice"
    )


def test_an_unknown_name_and_a_wrong_password_are_told_alike(alice, login):
    answers = [
        login("nobody"),
        login("alice", "wrong"),
        login("alice", "x" * 5000),
        login("alice", "\ud83d"),
    ]
    assert {each.status_code for each in answers[:3]} == {401}
    assert len({each.data for each in answers[:3]}) == 1
    assert "Set-Cookie" not in login().headers


def test_without_a_name_and_a_password_both_are_said_to_be_missing(login):
    answer = login("", "")
    assert (answer.status_code, [each["field"] for each in answer.json["errors"]]) == (422, ["email", "password"])


def test_ninety_nine_wrong_passwords_are_forgiven_by_the_right_one(house, alice, login):
    for _ in range(2):
        with house.writing():
            for _ in range(99):
                accounts.begin_login("alice", "wrong")
        assert login().status_code == 200


def test_a_try_is_counted_before_the_password_is_compared(house, alice):
    with house.writing():
        attempts = [accounts.begin_login("alice", "wrong") for _ in range(150)]
    assert sum(each.password_hash is not None for each in attempts) == 100


def test_what_is_answered_to_one_caller_is_kept_for_no_other(client, alice):
    for headers in (alice.bearer, {}):
        answer = client.get("/auth/me", headers=headers)
        assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("no-store", "Authorization, Cookie")


def test_logging_out_ends_the_session_at_once(client, alice):
    pair = alice.pair
    assert client.post("/auth/logout", headers=alice.bearer).json == {"message": "Signed out."}
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    assert client.post("/auth/token/refresh", json={"refresh_token": pair.refresh}).status_code == 401


def _reset_token(user):
    return resets.link(user).partition("?")[2]


def test_who_is_enabled_again_signs_in_again(client, house, alice):
    with house.writing():
        accounts.disable(accounts.named("alice"))
    with house.writing():
        accounts.enable(accounts.named("alice"))
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401


def test_who_is_disabled_takes_the_open_invites_along(client, house, alice):
    token = client.post("/api/invite", headers=alice.bearer, json={"name": "Bob"}).json["token"]
    with house.writing():
        assert accounts.disable(accounts.named("alice")) == 1
        accounts.enable(accounts.named("alice"))
        assert invites.find(token).state(clock.now()) == "revoked"


def test_a_password_that_is_replaced_while_it_is_compared_signs_nobody_in(house, alice):
    with house.writing():
        attempt = accounts.begin_login("alice", PASSWORD)
    checked = accounts.check_password(attempt)
    assert checked.verified
    with house.writing():
        accounts.named("alice").password_hash = "another one"
    with pytest.raises(InvalidCredentials), house.writing():
        accounts.finish_login(checked)


def test_who_goes_takes_the_open_invites_along_and_leaves_the_history(client, house, alice, make_invite, use):
    mine = [client.post("/api/invite", headers=alice.bearer, json={"name": "Bob"}).json["token"] for _ in range(3)]
    use(mine[0])
    others = make_invite()
    with house.writing():
        assert accounts.remove(accounts.named("alice")) == 2
    with house.reading():
        states = [invites.find(each).state(clock.now()) for each in (*mine, others)]
        assert states == ["used", "revoked", "revoked", "active"]
        assert invites.find(mine[0]).made_by == "alice"
        assert [each.user.called for each in invites.find(mine[0]).redemptions] == ["bob"]


def test_an_address_that_was_given_up_can_be_taken_again(house, alice, register, make_invite):
    with house.writing():
        accounts.remove(accounts.named("alice"))
    assert register(make_invite(), "alice@example.org").status_code == 200


def test_a_refresh_token_is_replaced_and_a_lost_reply_harms_nobody(client, alice):
    def refresh(token):
        return client.post("/auth/token/refresh", json={"refresh_token": token})

    first, again = refresh(alice.pair.refresh), refresh(alice.pair.refresh)
    assert list(first.json) == ["type", "token", "refresh_token", "expires_in"]
    assert first.json["refresh_token"] == again.json["refresh_token"] != alice.pair.refresh
    for each in (first, again):
        bearer = {"Authorization": f"Bearer {each.json['token']}"}
        assert client.get("/auth/me", headers=bearer).status_code == 200
    assert refresh(first.json["refresh_token"]).status_code == 200


@pytest.mark.parametrize("late", [True, False])
def test_a_refresh_token_that_comes_again_later_ends_the_session(client, alice, late):
    def refresh(token):
        return client.post("/auth/token/refresh", json={"refresh_token": token})

    successor = refresh(alice.pair.refresh).json["refresh_token"]
    if not late:
        successor = refresh(successor).json["refresh_token"]
    with time_machine.travel(clock.now() + (11 * clock.SECOND if late else clock.SECOND), tick=False):
        replayed = refresh(alice.pair.refresh)
        assert (replayed.status_code, replayed.json["code"]) == (401, "UNAUTHORIZED")
        assert refresh(successor).status_code == 401
        assert client.get("/auth/me", headers=alice.bearer).status_code == 401


@pytest.mark.parametrize("token", ["", ".", "x", "0" * 64, "a.b", None, 7])
def test_a_refresh_token_of_nobody_is_refused(client, token):
    assert client.post("/auth/token/refresh", json={"refresh_token": token}).status_code in (401, 422)


def test_sessions_and_tokens_that_are_over_are_not_kept_for_ever(house, alice):
    with time_machine.travel(clock.now() + 40 * clock.DAY, tick=False), house.writing() as unit:
        sessions.start(accounts.named("alice"))
    with house.reading() as unit:
        assert (unit.session.query(Session).count(), unit.session.query(AccessToken).count()) == (1, 1)


def test_no_token_of_a_session_is_in_the_database(house, settings, alice, at_rest):
    house.close()
    stored = at_rest()
    assert b"alice@example.org" in stored
    for secret in (alice.pair.access, alice.pair.refresh, PASSWORD):
        assert secret.encode() not in stored


def test_a_verified_address_in_the_settings_makes_an_admin_and_an_unverified_one_does_not(tmp_path, house, alice):
    client = create_app(make_settings(tmp_path / "instance", ADMIN_EMAILS="Alice@example.org")).test_client()
    assert client.get("/api/admin/invites", headers=alice.bearer).status_code == 403
    with house.writing():
        accounts.named("alice").email_verified_at = clock.now()
    assert client.get("/api/admin/invites", headers=alice.bearer).status_code == 200


@pytest.mark.parametrize("stray", ["é", "=", "~", " ", "\0", "éé", "~é", "~éé", "é~~é"])
def test_signed_text_with_something_put_in_is_nobodys(settings, stray):
    """Base64 is read past what is no part of it, here by one reader and there by another."""
    signed = tokens.sign("cookie", ["alice", 1])
    for at in range(len(signed) + 1):
        assert tokens.unsign("cookie", signed[:at] + stray + signed[at:]) is None


def test_what_was_signed_under_a_former_secret_is_still_recognised(settings, tmp_path):
    signed = tokens.sign("cookie", "x")
    with in_force(make_settings(tmp_path, SECRET_KEY="n" * 32, SECRET_KEY_FALLBACKS=settings.secrets[0].decode())):
        assert tokens.unsign("cookie", signed) == "x"
        assert tokens.sign("cookie", "x") != signed


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer \t", "bearer", "Bearer a b", "Token x", "Bearer " + "x" * 5000, "\x7f"]
)
def test_a_malformed_header_is_401_even_beside_a_good_cookie(client, browser, header):
    browser.sign_in("alice")
    assert browser.client.get("/auth/me").status_code == 200
    assert browser.client.get("/auth/me", headers={"Authorization": header}).status_code == 401


def test_a_call_that_writes_by_cookie_must_come_from_a_script_of_ours(browser):
    browser.sign_in("alice")
    ours = {"Sec-Fetch-Site": "same-origin"}
    body = {"json": {"name": "Bob"}}
    for headers, sent, status in (
        ({}, body, 403),
        ({"Origin": "https://evil.example"}, body, 403),
        ({"Sec-Fetch-Site": "cross-site"}, body, 403),
        ({"Sec-Fetch-Site": "same-site"}, body, 403),
        (ours, {"data": {"name": "Bob"}}, 403),
        ({"Origin": "http://127.0.0.1:8080"}, body, 201),
        (ours, body, 201),
    ):
        answer = browser.client.post("/api/invite", headers=headers, **sent)
        assert (answer.status_code, headers) == (status, headers)
    assert browser.client.get("/auth/me").status_code == 200


def test_a_session_of_nobody_is_refused(house):
    with house.writing():
        for token in ("", "x", "hitkey_x"):
            with pytest.raises(NotSignedIn):
                sessions.of_access_token(token)
            with pytest.raises(NotSignedIn):
                sessions.of_cookie(token)


def test_everything_wrong_with_a_registration_is_said_at_once(register):
    answer = register("0" * 64, "nonsense", "short", displayName="<b>")
    assert [each["field"] for each in answer.json["errors"]] == ["email", "password", "displayName"]
    nothing = register(None, None, None)
    assert [each["field"] for each in nothing.json["errors"]] == ["invite_token", "email", "password"]
