"""Registering in three steps, proving an address, and a forgotten password."""

import re
import threading

import pytest
import time_machine

import clock
from app import create_app
from conftest import PASSWORD, make_settings
from models import Code, Letter, User
from rules import accounts, registration, resets, tokens
from rules.refusals import InvalidCode, NoCode, TooManyAttempts
from settings import in_force


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open")) as chosen:
        yield chosen


@pytest.fixture
def post(client):
    def send(step, headers=None, **body):
        return client.post(f"/auth/{step}", json=body, headers=headers)

    return send


@pytest.fixture
def mailed(house):
    """The code that was mailed last to an address, as its letter would have it."""

    def look(email, purpose="register"):
        with house.reading() as unit:
            return tokens.mail_code(unit.session.query(Code).filter_by(email=email, purpose=purpose).one().nonce)

    return look


@pytest.fixture
def letters(house):
    def look():
        with house.reading() as unit:
            return [(each.kind, each.recipient) for each in unit.session.query(Letter).order_by(Letter.created_at)]

    return look


def other_than(digits):
    return f"{(int(digits) + 1) % 1_000_000:06d}"


def test_three_steps_make_an_account_with_a_proven_address(client, post, mailed):
    assert post("register/start", email="New@Example.org").json["message"]
    digits = mailed("new@example.org")
    assert re.fullmatch(r"\d{6}", digits)
    verified = post("register/verify", email="new@example.org", code=digits)
    assert (verified.status_code, "registration_token" in verified.json) == (200, True)
    done = post("register/password", email="new@example.org", password=PASSWORD)
    assert done.status_code == 200
    assert set(done.json) == {"message", "type", "token", "refresh_token", "expires_in", "user"}
    me = client.get("/auth/me", headers={"Authorization": f"Bearer {done.json['token']}"}).json
    assert (me["email"], me["emailVerified"], me["displayName"]) == ("new@example.org", True, "new")
    again = post("register/password", email="new@example.org", password=PASSWORD)
    assert (again.status_code, again.json["code"]) == (400, "NO_CODE")


@pytest.mark.parametrize("step", ["start", "resend", "verify", "password"])
def test_by_default_one_registers_with_an_invite_only(tmp_path, house, step):
    client = create_app(make_settings(tmp_path / "instance")).test_client()
    answer = client.post(f"/auth/register/{step}", json={"email": "new@example.org", "password": PASSWORD, "code": "1"})
    assert (answer.status_code, answer.json["code"]) == (403, "REGISTRATION_CLOSED")


def test_a_taken_address_gets_the_same_answers_and_another_mail(post, house, charlie, letters, mailed):
    answers = [post("register/start", email=email) for email in ("charlie@example.org", "new@example.org")]
    assert answers[0].data == answers[1].data
    assert letters() == [("known", "charlie@example.org"), ("code", "new@example.org")]
    for email in ("charlie@example.org", "new@example.org"):
        wrong = post("register/verify", email=email, code=other_than(mailed(email)))
        assert (wrong.status_code, wrong.json["code"]) == (400, "INVALID_CODE")


def test_an_unproven_address_is_taken_by_who_proves_it(client, post, house, alice, mailed):
    post("register/start", email="alice@example.org")
    post("register/verify", email="alice@example.org", code=mailed("alice@example.org"))
    assert post("register/password", email="alice@example.org", password=PASSWORD).status_code == 200
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    with house.reading():
        assert accounts.named("alice").email is None


def test_a_code_is_good_for_ten_minutes(post, mailed):
    post("register/start", email="new@example.org")
    with time_machine.travel(clock.now() + 10 * clock.MINUTE + clock.SECOND):
        late = post("register/verify", email="new@example.org", code=mailed("new@example.org"))
    assert (late.status_code, late.json["code"]) == (400, "CODE_EXPIRED")


def test_three_wrong_tries_are_all_there_are(post, mailed):
    post("register/start", email="new@example.org")
    digits = mailed("new@example.org")
    codes = [
        post("register/verify", email="new@example.org", code=each).json["code"] for each in [other_than(digits)] * 4
    ]
    assert codes == ["INVALID_CODE"] * 3 + ["TOO_MANY_ATTEMPTS"]
    assert post("register/verify", email="new@example.org", code=digits).json["code"] == "TOO_MANY_ATTEMPTS"
    assert post("register/verify", email="nobody@example.org", code=digits).json["code"] == "NO_CODE"


@pytest.mark.parametrize("code", [None, 123456, "", "１２３４５６", "12345", "0" * 1000])
def test_what_is_no_code_is_refused(post, code):
    post("register/start", email="new@example.org")
    assert post("register/verify", email="new@example.org", code=code).status_code in (400, 422)


def test_a_code_that_was_right_for_one_is_not_right_for_the_next(house, mailed):
    with house.writing():
        registration.start("anne@example.org")
    with house.writing():
        tries = [registration.count_try("anne@example.org", None) for _ in range(2)]
    digits = mailed("anne@example.org")
    with house.writing():
        registration.check(*tries[0], digits, "192.0.2.1")
    with pytest.raises(NoCode), house.writing():
        registration.check(*tries[1], digits, "192.0.2.2")


@pytest.mark.parametrize("right", [False, True])
def test_of_64_tries_at_once_three_are_looked_at_and_one_succeeds(house, settings, right, post, mailed):
    """CVE-2026-33624: a code accepted twice at once."""
    post("register/start", email="new@example.org")
    digits = mailed("new@example.org") if right else other_than(mailed("new@example.org"))
    outcomes, ready = [], threading.Barrier(64)

    def attempt():
        with in_force(settings):
            ready.wait()
            try:
                with house.writing():
                    counted = registration.count_try("new@example.org", None)
                with house.writing():
                    registration.check(*counted, digits, "here")
                outcomes.append("right")
            except Exception as error:
                outcomes.append(type(error))

    threads = [threading.Thread(target=attempt) for _ in range(64)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(outcomes) == 64
    if right:
        assert outcomes.count("right") == 1
    else:
        assert outcomes.count(InvalidCode) == 3
        assert outcomes.count(TooManyAttempts) == 61


def test_a_guess_that_is_compared_before_it_is_counted_would_be_caught(house, settings, post, mailed):
    """The control of the test above: 64 readings of the count before any writing of it."""
    post("register/start", email="new@example.org")
    looked_at = 0
    for _ in range(64):
        with house.reading() as unit:
            looked_at += unit.session.query(Code).one().attempts < registration.ATTEMPTS
    assert looked_at == 64


def test_there_is_a_minute_between_mails_and_five_a_day(post, letters):
    begun = clock.now()
    with time_machine.travel(begun, tick=False):
        assert post("register/start", email="new@example.org").status_code == 200
        soon = post("register/resend", email="new@example.org")
    assert (soon.status_code, soon.headers["Retry-After"]) == (429, "60")
    statuses = []
    for minutes in range(1, 7):
        with time_machine.travel(begun + minutes * (clock.MINUTE + clock.SECOND), tick=False):
            statuses.append(post("register/resend", email="new@example.org").status_code)
    assert statuses == [200] * 4 + [429] * 2
    assert len(letters()) == 5


def test_the_password_is_chosen_where_the_code_was_entered_or_with_the_ticket(client, post, mailed):
    post("register/start", email="new@example.org")
    ticket = post("register/verify", email="new@example.org", code=mailed("new@example.org")).json["registration_token"]
    elsewhere = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
    body = {"email": "new@example.org", "password": PASSWORD}
    for more, status in (({}, 400), ({"registration_token": "x"}, 400), ({"registration_token": ticket}, 200)):
        assert client.post("/auth/register/password", json=body | more, **elsewhere).status_code == status


def test_the_password_is_chosen_within_ten_minutes(post, mailed):
    post("register/start", email="new@example.org")
    post("register/verify", email="new@example.org", code=mailed("new@example.org"))
    with time_machine.travel(clock.now() + 10 * clock.MINUTE + clock.SECOND):
        late = post("register/password", email="new@example.org", password=PASSWORD)
    assert (late.status_code, late.json["code"]) == (400, "NO_CODE")


def test_an_unfinished_registration_is_told_so_at_the_door(post):
    post("register/start", email="new@example.org")
    unfinished = post("login", email="new@example.org", password=PASSWORD)
    assert (unfinished.status_code, unfinished.json["code"]) == (401, "EMAIL_NOT_VERIFIED")
    assert post("login", email="nobody@example.org", password=PASSWORD).json["code"] == "INVALID_CREDENTIALS"


def test_with_a_session_the_same_calls_prove_the_accounts_own_address(client, post, house, alice, letters, mailed):
    assert post("register/resend", headers=alice.bearer).status_code == 200
    assert letters() == [("code", "alice@example.org")]
    digits = mailed("alice@example.org", "verify")
    stranger = post("register/verify", email="alice@example.org", code=digits)
    assert stranger.json["code"] == "NO_CODE"
    assert post("register/verify", headers=alice.bearer, email="alice@example.org", code=digits).status_code == 200
    assert client.get("/auth/me", headers=alice.bearer).json["emailVerified"] is True
    again = post("register/resend", headers=alice.bearer)
    assert (again.status_code, again.json["code"]) == (400, "EMAIL_ALREADY_VERIFIED")


def test_a_session_proves_nobody_elses_address(post, alice, charlie, mailed):
    post("register/resend", headers=alice.bearer)
    digits = mailed("alice@example.org", "verify")
    stolen = post("register/verify", headers=charlie.bearer, email="alice@example.org", code=digits)
    assert (stolen.status_code, stolen.json["code"]) == (400, "NO_CODE")
    assert post(
        "register/verify", headers={"Authorization": "Bearer x"}, email="a@b.example", code="1"
    ).status_code in (400, 401)


def test_a_forgotten_password_is_set_anew_by_mail_which_proves_the_address(client, post, house, alice, letters):
    known, unknown = (post("password/forgot", email=email) for email in ("alice@example.org", "nobody@example.org"))
    assert known.data == unknown.data
    assert letters() == [("reset", "alice@example.org")]
    with house.reading():
        link = resets.mailed_link(accounts.named("alice"), resets.MAILED_TTL)
    token = link.partition("?")[2]
    weak = post("password/reset", token=token, password="short")
    assert weak.status_code == 422
    assert post("password/reset", token=token, password="another horse battery").status_code == 200
    used = post("password/reset", token=token, password="a third horse battery")
    assert (used.status_code, used.json["code"]) == (400, "INVALID_TOKEN")
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    signed_in = post("login", email="alice", password="another horse battery").json
    bearer = {"Authorization": f"Bearer {signed_in['token']}"}
    assert client.get("/auth/me", headers=bearer).json["emailVerified"] is True


def test_a_link_for_a_new_password_is_good_for_a_quarter_of_an_hour(post, house, alice):
    with house.reading():
        link = resets.mailed_link(accounts.named("alice"), resets.MAILED_TTL)
    with time_machine.travel(clock.now() + 15 * clock.MINUTE + clock.SECOND):
        late = post("password/reset", token=link.partition("?")[2], password=PASSWORD)
    assert (late.status_code, late.json["code"]) == (400, "TOKEN_EXPIRED")


def test_a_reset_link_from_the_shell_proves_no_address(post, house, alice):
    with house.reading():
        link = resets.link(accounts.named("alice"))
    assert post("password/reset", token=link.partition("?")[2], password="another horse battery").status_code == 200
    with house.reading():
        assert accounts.named("alice").email_verified_at is None


def test_a_proven_address_is_not_taken_away(post, house, charlie, make_invite):
    taken = post("register/with-invite", invite_token=make_invite(), email="charlie@example.org", password=PASSWORD)
    assert (taken.status_code, taken.json["code"]) == (400, "EMAIL_ALREADY_IN_USE")
    with house.reading() as unit:
        assert unit.session.query(User).count() == 1


def test_a_pending_registration_is_told_alike_whoever_has_the_address(post, alice, charlie):
    answers = []
    for email in ("nobody@example.org", "alice@example.org", "charlie@example.org"):
        post("register/start", email=email)
        answers.append(post("login", email=email, password="not the password").data)
    assert len(set(answers)) == 1
    assert post("login", email="alice@example.org", password=PASSWORD).status_code == 200


def test_nobody_else_spends_the_tries_at_an_accounts_code(client, post, alice, charlie, mailed):
    post("register/resend", headers=alice.bearer)
    for headers in ({"Authorization": "Bearer x"}, charlie.bearer, None) * 3:
        assert post("register/verify", headers=headers, email="alice@example.org", code="0").status_code in (400, 401)
    digits = mailed("alice@example.org", "verify")
    assert post("register/verify", headers=alice.bearer, email="alice@example.org", code=digits).status_code == 200


def test_tries_at_one_code_are_not_saved_up_for_the_next(house, settings, post, mailed):
    post("register/start", email="new@example.org")
    with house.writing():
        counted = registration.count_try("new@example.org", None)
    with time_machine.travel(clock.now() + 2 * clock.MINUTE):
        post("register/resend", email="new@example.org")
        digits = mailed("new@example.org")
        with pytest.raises(NoCode), house.writing():
            registration.check(*counted, digits, "here")


def test_who_loses_an_address_and_is_disabled_takes_the_open_invites_along(client, house, post, make_invite, mailed):
    body = {"invite_token": make_invite(), "email": "victim@example.org", "password": PASSWORD}
    bearer = {"Authorization": f"Bearer {client.post('/auth/register/with-invite', json=body).json['token']}"}
    token = client.post("/api/invite", headers=bearer, json={"name": "Eve"}).json["token"]
    post("register/start", email="victim@example.org")
    post("register/verify", email="victim@example.org", code=mailed("victim@example.org"))
    assert post("register/password", email="victim@example.org", password=PASSWORD).status_code == 200
    assert client.post("/api/invites/verify", json={"token": token}).status_code == 404


def test_a_mailed_link_for_a_new_password_is_dead_once_the_address_is_lost(post, house, alice, mailed):
    with house.reading():
        link = resets.mailed_link(accounts.named("alice"), resets.MAILED_TTL)
    post("register/start", email="alice@example.org")
    post("register/verify", email="alice@example.org", code=mailed("alice@example.org"))
    post("register/password", email="alice@example.org", password=PASSWORD)
    late = post("password/reset", token=link.partition("?")[2], password="another horse battery")
    assert (late.status_code, late.json["code"]) == (400, "INVALID_TOKEN")


def test_a_strangers_registrations_do_not_keep_anybody_from_a_new_password(post, alice):
    begun = clock.now()
    for minutes in range(5):
        with time_machine.travel(begun + minutes * 2 * clock.MINUTE, tick=False):
            post("register/start", email="alice@example.org")
    with time_machine.travel(begun + clock.HOUR, tick=False):
        full = post("register/start", email="alice@example.org")
        assert (full.status_code, full.headers["Retry-After"]) == (429, str(23 * 3600))
        assert post("password/forgot", email="alice@example.org").status_code == 200
