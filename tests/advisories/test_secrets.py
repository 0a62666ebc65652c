"""Everything that signs somebody in: good once, in time, to the last bit, and told to nobody else."""

import itertools
import json
import re
import signal
import statistics
import time

import pytest
import time_machine
from sqlalchemy import text

import clock
import database
from app import create_app
from conftest import AS_SERVED, HASH, PASSWORD, Browser, make_settings
from delivery.outbox import deliver_one
from models import Code
from rules import accounts, changing, drafts, invites, keys, legacy, passwords, registration, resets, sessions, tokens
from rules.refusals import InviteNotFound, NoCode, NotSignedIn
from settings import in_force
from test_durability import race

pytestmark = pytest.mark.long

NEW = "new@example.org"


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open")) as chosen:
        yield chosen


@pytest.fixture
def signed(house, alice):
    """All that is signed, by what it is good for."""
    with house.writing():
        user = accounts.named("alice")
        code = registration.create_code("register", NEW, None)
        code.used_at, code.client = clock.now(), "elsewhere"
        return {
            "cookie": sessions.start_in_browser(user),
            "form": sessions.form_token(None),
            "reset": resets.mailed_link(user, clock.HOUR).partition("?")[2],
            "ticket": registration.ticket(code),
        }


@pytest.fixture
def doors(client, house):
    """Where each of them is shown, and whether it was taken for good."""

    def opens(unit_of_work, *arguments):
        with house.reading():
            try:
                return unit_of_work(*arguments) not in (False, None)
            except (InviteNotFound, NoCode, NotSignedIn):
                return False

    bare = client.application.test_client(use_cookies=False)

    def raw(path, query="", **environ):
        given = {"PATH_INFO": path, "QUERY_STRING": query, **environ}
        return bare.get("/", environ_overrides=given).status_code

    return {
        "cookie": lambda shown: raw("/auth/me", HTTP_COOKIE=f"invite-session={shown}") == 200,
        "form": lambda shown: opens(sessions.is_form_token, shown, None),
        "reset": lambda shown: raw("/password/reset", shown) == 200,
        "ticket": lambda shown: opens(registration.complete, NEW, HASH, "here", shown),
        "token": lambda shown: raw(f"/invites/{shown}") == 200,
        "key": lambda shown: raw("/invites_api", HTTP_AUTHORIZATION=f"Bearer {shown}") == 201,
        "access": lambda shown: raw("/auth/me", HTTP_AUTHORIZATION=f"Bearer {shown}") == 200,
        "refresh": lambda shown: opens(sessions.refresh, shown),
        "short code": lambda shown: opens(legacy.find_active, shown) if legacy.is_code(shown) else False,
    }


def with_a_bit_flipped(secret):
    """Every text that differs from it in one bit."""
    for place, bit in itertools.product(range(len(secret)), range(8)):
        yield secret[:place] + chr(ord(secret[place]) ^ 1 << bit) + secret[place + 1 :]


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize("kind", ["cookie", "form", "reset", "ticket"])
def test_a_signature_is_checked_to_the_last_bit(doors, signed, kind):
    """CVE-2026-1529: an invitation's token was edited, and nobody looked at its signature."""
    opens, good = doors[kind], signed[kind]
    assert [each for each in with_a_bit_flipped(good) if opens(each)] == []
    payload, _, signature = good.rpartition(".")
    stripped = [payload, f"{payload}.", f".{signature}", f"{payload}.{signature[:-1]}", f"{payload}.{signature}A"]
    assert [each for each in stripped if opens(each)] == []
    assert opens(good)


PURPOSES = {"cookie": "cookie", "form": "form", "reset": "password reset", "ticket": "registration"}


@pytest.mark.parametrize("kind", PURPOSES)
def test_what_is_signed_for_one_purpose_is_no_good_for_another(doors, signed, kind):
    """CVE-2026-1529: likewise for a token that is genuine, and was made for something else."""
    payload = tokens.unsign(PURPOSES[kind], signed[kind])
    resigned = {purpose: doors[kind](tokens.sign(purpose, payload)) for purpose in PURPOSES.values()}
    assert resigned == {purpose: purpose == PURPOSES[kind] for purpose in resigned}
    assert {door: doors[door](signed[kind]) for door in signed} == {door: door == kind for door in signed}


@pytest.mark.long
def test_what_is_not_signed_is_known_to_the_last_bit_too(doors, house, alice, key, make_invite):
    """CVE-2026-1529: likewise for what is looked up."""
    with house.writing():
        code = legacy.create(drafts.SHELL)
    pair = alice.pair
    for kind, good in {
        "token": make_invite(),
        "key": key,
        "access": pair.access,
        "refresh": pair.refresh,
        "short code": code,
    }.items():
        doors_open = [each for each in with_a_bit_flipped(good) if doors[kind](each)]
        assert (kind, doors_open, doors[kind](good)) == (kind, [], True)


def test_what_is_renewed_differs_and_the_old_is_dead(client, house, alice, doors, mailbox):
    """CVE-2026-4273, CVE-2025-13324: a refreshed token equal to the old one; a token that went on working."""
    with house.writing():
        invite = invites.create(drafts.read({"email": "dora@example.org"}), drafts.SHELL, mailed=True)
        code = registration.create_code("register", NEW, None)
        old = [invites.token(invite), invites.mail_token(invite)]
        digits = [tokens.mail_code(code.nonce)]
        changing.rotate(invite)
        new = [invites.token(invite), invites.mail_token(invite)]
        while len(set(digits)) < 2:  # one in a million is the same
            digits.append(tokens.mail_code(registration.create_code("register", NEW, None).nonce))
    assert len({*old, *new}) == 4
    assert [doors["token"](each) for each in (*old, *new)] == [False, False, True, True]
    body = {"email": NEW}
    tried = [client.post("/auth/register/verify", json={**body, "code": each}) for each in (digits[0], digits[-1])]
    assert [each.status_code for each in tried] == [400, 200]
    first = alice.pair
    second = client.post("/auth/token/refresh", json={"refresh_token": first.refresh}).json
    assert second["refresh_token"] != first.refresh
    assert second["token"] != first.access
    with time_machine.travel(clock.now() + sessions.GRACE + clock.SECOND, tick=False):
        assert client.post("/auth/token/refresh", json={"refresh_token": first.refresh}).status_code == 401
    browser = Browser(client)
    browser.sign_in("alice")
    before = browser.client.get_cookie("invite-session").value
    browser.sign_in("alice")
    assert [doors["cookie"](each) for each in (before, browser.client.get_cookie("invite-session").value)] == [
        False,
        True,
    ]


@pytest.mark.long
def test_a_lock_out_outlives_kill_9_and_its_own_failures(serve):
    """CVE-2024-21652, CVE-2026-35597: a restart forgave wrong passwords; the count was undone with the sign-in."""
    served = serve()
    link = served.run("user", "create", "alice").rpartition("?")[2]
    served.get("/password/reset", "POST", f"token={link}&password={PASSWORD}".encode())

    def post(password):
        body = json.dumps({"email": "alice", "password": password}).encode()
        return served.get("/auth/login", "POST", body, **{"Content-Type": "application/json"})

    def sign_in(password):
        return post(password).status

    bearer = {"Authorization": f"Bearer {json.loads(post(PASSWORD).body)['token']}"}
    with in_force(make_settings(served.instance)) as settings:
        house = database.open_database(settings)
        with house.writing():
            for _ in range(60):  # as sixty calls do, but for the hashing
                accounts.begin_login("alice", "wrong")
    assert {sign_in("wrong") for _ in range(20)} == {401}
    served.process.send_signal(signal.SIGKILL)
    served.process.wait()
    served = serve()
    assert {sign_in("wrong") for _ in range(21)} == {401}
    assert sign_in(PASSWORD) == 401
    assert served.get("/auth/me", **bearer).status == 200
    link = served.run("user", "reset", "alice").rpartition("?")[2]
    served.get("/password/reset", "POST", f"token={link}&password={PASSWORD}".encode())
    assert sign_in(PASSWORD) == 200


def at_once(app, racers, path, body):
    """The statuses of so many equal calls at one moment, each made again while there is no room for it."""

    def call(_):
        client = app.test_client()
        while (answer := client.post(path, json=body)).status_code == 503:
            pass
        return answer

    return race(call, racers)


@pytest.mark.long
def test_of_64_who_enter_the_right_code_at_once_one_is_let_on(client, house):
    """CVE-2026-33624, CVE-2026-43930: one code, sent twice at the same moment, was good twice."""
    with house.writing():
        digits = tokens.mail_code(registration.create_code("register", NEW, None).nonce)
    answers = at_once(client.application, 64, "/auth/register/verify", {"email": NEW, "code": digits})
    assert [each.status_code for each in answers].count(200) == 1
    ticket = next(each.json["registration_token"] for each in answers if each.status_code == 200)
    body = {"email": NEW, "password": PASSWORD, "registration_token": ticket}
    answers = at_once(client.application, 16, "/auth/register/password", body)
    assert [each.status_code for each in answers].count(200) == 1


def test_of_16_who_set_a_password_with_one_link_at_once_one_does(client, house, alice):
    """CVE-2026-28268: a link for a new password could be used again."""
    with house.writing():
        link = resets.link(accounts.named("alice")).partition("?")[2]
    answers = at_once(client.application, 16, "/auth/password/reset", {"token": link, "password": PASSWORD})
    assert [each.status_code for each in answers].count(200) == 1


@pytest.mark.long
def test_no_answer_has_what_was_mailed_in_it(tmp_path, house, smtp, mailbox, alice, root):
    """CVE-2025-58434: whoever asked for somebody's new password was answered with the token for it."""
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp, REGISTRATION="open")) as mailing:
        client = create_app(mailing).test_client()
        client.post("/projects/", headers=alice.bearer, json={"name": "Tea"})
        page = Browser(create_app(mailing).test_client())
        answers = [
            client.post("/auth/register/start", json={"email": NEW}),
            client.post("/auth/register/resend", headers=alice.bearer, json={}),
            client.post("/auth/password/forgot", json={"email": "alice@example.org"}),
            client.post("/auth/password/forgot", headers=root.bearer, json={"email": "root@example.org"}),
            client.post("/projects/tea/invites", headers=alice.bearer, json={"email": "dora@example.org"}),
            client.get("/projects/tea/invites", headers=alice.bearer),
            client.get("/api/admin/invites", headers=root.bearer),
            page.post("/register/start", email="other@example.org"),
            page.post("/verify/send", email="third@example.org"),
            page.sign_in("root"),
            *(page.client.get(path) for path in ("/admin", "/admin/people", "/verify")),
        ]
        while deliver_one(house):
            pass
    said = "".join(f"{each.headers}{each.text}" for each in answers)
    mails = [each.get_body(("plain",)).get_content() for each in mailbox.mails]
    mailed = [each for mail in mails for each in re.findall(r"\?(\S+)|\b(\d{6})\b", mail)]
    assert (len(mails), len(mailed)) == (7, 8)  # one of them has a link to refuse such mails, too
    # Six digits are within a random text by chance: there they are alone.
    patterns = [re.escape(link) if link else rf"\b{digits}\b" for link, digits in mailed]
    assert [each for each in patterns if re.search(each, said)] == []


def test_64_threads_with_one_refresh_token_get_one_successor(client, house, alice):
    """GHSA-392p-2q2v-4372: refreshing at the same moment made two sessions of one."""
    answers = at_once(client.application, 64, "/auth/token/refresh", {"refresh_token": alice.pair.refresh})
    assert {each.status_code for each in answers} == {200}
    (successor,) = {each.json["refresh_token"] for each in answers}
    assert len({each.json["token"] for each in answers}) == 64
    with house.reading() as unit:
        assert unit.session.scalar(text("SELECT count(*) FROM sessions")) == 1
    assert client.post("/auth/token/refresh", json={"refresh_token": successor}).status_code == 200
    assert client.post("/auth/token/refresh", json={"refresh_token": alice.pair.refresh}).status_code == 401
    for each in answers[:8]:  # the session has ended, with all that came of it
        bearer = {"Authorization": f"Bearer {each.json['token']}"}
        assert client.get("/auth/me", headers=bearer).status_code == 401


ENDS = {
    "disabled": accounts.disable,
    "disabled and let in again": lambda user: (accounts.disable(user), accounts.enable(user)),
    "deleted": accounts.remove,
    "a new password": lambda user: resets.use(resets.link(user).partition("?")[2], HASH),
}


@pytest.mark.parametrize("end", ENDS)
def test_who_is_shut_out_is_out_at_once_with_all_that_was_given(client, house, alice, end):
    """CVE-2026-43983: the refresh token of a disabled account went on giving access."""
    other, browser = alice.pair, Browser(client.application.test_client())
    alice.sign_in()
    browser.sign_in("alice")
    csrf = browser.csrf()
    with house.writing():
        link = resets.link(accounts.named("alice")).partition("?")[2]
        ENDS[end](accounts.named("alice"))
    for pair in (other, alice.pair):
        bearer = {"Authorization": f"Bearer {pair.access}"}
        assert client.get("/auth/me", headers=bearer).status_code == 401
        assert client.post("/projects/", headers=bearer, json={"name": "Tea"}).status_code == 401
        assert client.post("/auth/token/refresh", json={"refresh_token": pair.refresh}).status_code == 401
    assert browser.client.get("/auth/me").status_code == 401
    assert "alice" not in browser.client.get("/").text
    assert browser.post("/accept", csrf=csrf, token="0" * 64).status_code == 403
    if end in ("disabled", "deleted"):
        assert client.post("/auth/login", json={"email": "alice", "password": PASSWORD}).status_code == 401
        assert client.post("/auth/password/reset", json={"token": link, "password": PASSWORD}).status_code in (200, 400)
        assert client.post("/auth/login", json={"email": "alice", "password": PASSWORD}).status_code == 401


@pytest.fixture
def perishable(client, house, settings, alice, signed, doors):
    """What expires: how long each lives, and whether it is good now."""
    with house.writing():
        fleeting = keys.create("fleeting", clock.DAY)
        code = registration.create_code("verify", "alice@example.org", accounts.named("alice"))
        digits, code_id = tokens.mail_code(code.nonce), code.id

    def code_is_good():
        with house.reading() as unit:
            code = unit.session.get(Code, code_id)
            try:
                return registration.check(code.id, 1, digits, "here") is code
            except Exception:
                return False

    return {
        "access": (clock.HOUR, lambda: doors["access"](alice.pair.access)),
        "refresh": (sessions.LIFETIME, lambda: doors["refresh"](alice.pair.refresh)),
        "cookie": (sessions.LIFETIME, lambda: doors["cookie"](signed["cookie"])),
        "key": (clock.DAY, lambda: doors["key"](fleeting)),
        "reset": (clock.HOUR, lambda: doors["reset"](signed["reset"])),
        "ticket": (registration.TTL, lambda: doors["ticket"](signed["ticket"])),
        "mailed code": (registration.TTL, code_is_good),
    }


@pytest.mark.parametrize("kind", ["access", "refresh", "cookie", "key", "reset", "ticket", "mailed code"])
def test_what_is_over_is_over_before_anything_has_cleaned_up(perishable, kind):
    """CVE-2024-55603: a session went on for as long as nobody had collected the garbage."""
    lifetime, is_good = perishable[kind]
    began = clock.now()
    for moment, good in ((lifetime + clock.SECOND, False), (lifetime - 30 * clock.SECOND, True)):
        with time_machine.travel(began + moment, tick=False):
            assert is_good() is good


@pytest.mark.long
def test_who_is_known_here_is_told_by_no_answer(client, alice, ways):
    """CVE-2022-39307: to ask for a new password was answered otherwise where there was no such account."""
    ways.somebody()
    form = Browser(client)

    def answers(name):
        email = f"{name}@example.org"
        yield client.post("/auth/login", json={"email": email, "password": "wrong"})
        yield client.post("/auth/login", json={"email": name, "password": "wrong"})
        yield client.post("/auth/password/forgot", json={"email": email})
        yield client.post("/auth/register/start", json={"email": email})
        yield client.post("/auth/register/start", json={"email": email})  # too soon
        yield client.post("/auth/register/verify", json={"email": email, "code": "000000"})
        yield client.post("/auth/register/password", json={"email": email, "password": PASSWORD})
        yield form.post("/login", user=email, password="wrong")
        yield form.post("/password/forgot", email=email)
        yield form.post("/verify", email=email, code="000000")

    def told(name):
        return [(each.status_code, each.text.replace(name, ""), each.headers.get("Location")) for each in answers(name)]

    with time_machine.travel(clock.now(), tick=False):
        assert told("alice") == told("guest0") == told("nobody")


def medians(client, path, body, pairs):
    """The processor time that a call takes, in the median, for who is known and who is not."""
    spent = {"known": [], "nobody": []}
    for number in range(pairs):
        for kind in ("known", "nobody") if number % 2 else ("nobody", "known"):
            given = {name: value.format(f"{kind}{number}") for name, value in body.items()}
            began = time.process_time()
            client.post(path, json=given)
            spent[kind].append(time.process_time() - began)
    return [statistics.median(each) for each in spent.values()]


def differ(client, house, path, body, pairs):
    """Whether the medians differ by more than 5 %, in each of five attempts: once may be chance."""
    for attempt in range(5):
        with time_machine.travel(clock.now() + attempt * clock.DAY + clock.HOUR):
            known, nobody = medians(client, path, body, pairs)
        if abs(known / nobody - 1) <= 0.05:
            return False
    return True


@pytest.fixture
def crowd(house, monkeypatch):
    """Passwords are hashed with the work that a server has with them: it is what is timed."""
    monkeypatch.setattr(passwords, "_hasher", AS_SERVED)
    passwords._nobody.cache_clear()
    hashed = passwords.hash(PASSWORD)
    with house.writing():
        for number in range(80):
            user = accounts.create(accounts.Names(f"known{number}", f"known{number}@example.org"), hashed)
            user.email_verified_at = clock.now()
    yield
    passwords._nobody.cache_clear()


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "body", "pairs"),
    [
        ("/auth/login", {"email": "{}@example.org", "password": "wrong"}, 25),
        ("/auth/password/forgot", {"email": "{}@example.org"}, 80),
        ("/auth/register/start", {"email": "{}@example.org"}, 80),
    ],
)
def test_who_is_known_here_is_not_told_by_the_time_it_takes(client, house, crowd, path, body, pairs):
    """CVE-2021-29621: to sign in took longer where there was such an account."""
    assert not differ(client, house, path, body, pairs)


@pytest.mark.long
def test_a_password_that_is_compared_for_known_names_only_would_be_noticed(client, house, crowd, monkeypatch):
    """The control of the test above."""
    verify = passwords.verify
    monkeypatch.setattr(passwords, "verify", lambda password, stored: bool(stored) and verify(password, stored))
    assert differ(client, house, "/auth/login", {"email": "{}", "password": "wrong"}, 5)
