"""What an attacker met: each once harmed someone, and is named after what went wrong."""

import hashlib
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine

import clock
import database
from conftest import HASH, PASSWORD, Person, make_settings
from delivery.outbox import deliver_one
from models import Invite, Letter, Session
from rules import accounts, changing, drafts, ids, invites, outbox, projects, redemption, registration, resets, sessions
from rules.refusals import EmailMismatch, UsernameTaken
from settings import HOME, in_force, make_private


@pytest.fixture
def settings(request, tmp_path, smtp):
    """Those of a test may be more, by a parameter of this name."""
    given = {"SMTP_URL": smtp, "REGISTRATION": "open", **getattr(request, "param", {})}
    with in_force(make_settings(tmp_path / "instance", **given)) as chosen:
        yield chosen


# Sessions


def test_an_account_has_no_more_than_a_hundred_sessions_and_the_oldest_ends(house, client, alice):
    first = alice.bearer
    with time_machine.travel(clock.now() + clock.SECOND):
        later = alice.sign_in()
    with time_machine.travel(clock.now() + 2 * clock.SECOND), house.writing():
        for _ in range(sessions.MAX_SESSIONS - 1):
            sessions.start(accounts.named("alice"))
    assert client.get("/auth/me", headers=first).status_code == 401
    assert client.get("/auth/me", headers=later).status_code == 200
    with house.reading() as unit:
        assert unit.session.query(Session).count() == sessions.MAX_SESSIONS


# Mail


@pytest.fixture
def invite(client, house):
    """Invite an address to a project of somebody's own, a new one for each invitation; the answer."""

    def made(who, address):
        with house.writing():
            slug = projects.create(accounts.named(who.name), projects.ProjectDraft("Tea Garden")).slug
        return client.post(f"/projects/{slug}/invites", json={"email": address}, headers=who.bearer)

    return made


@pytest.fixture
def senders(house):
    """Five people who are signed in."""
    return [Person(house, f"sender{number}") for number in range(5)]


def test_a_stranger_gets_five_invitations_a_day_whoever_sends_them(invite, senders):
    ways = ["dora@example.org", "dora+news@example.org", "Dora+x+y@example.org"] * 4
    done = [invite(who, to).status_code for who, to in zip(senders + senders[:3], ways, strict=False)]
    assert done == [201] * outbox.MAX_TO_ONE + [429] * 3
    refused = invite(senders[4], "dora@example.org")
    assert refused.json["code"] == "RATE_LIMITED"
    assert refused.headers["Retry-After"] == str(24 * 3600)  # and not when another has invited the same person
    assert invite(senders[4], "erin@example.org").status_code == 201


def test_one_account_cannot_use_up_the_invitations_of_a_stranger(house, invite, alice, charlie):
    done = [invite(alice, "dora@example.org").status_code for _ in range(5)]
    assert done == [201] * outbox.MAX_FROM_ONE + [429] * 3
    assert invite(charlie, "dora@example.org").status_code == 201


def test_an_invitation_that_was_never_mailed_counts_for_nobody(house, invite, alice):
    for _ in range(outbox.MAX_TO_ONE + 1):
        assert invite(alice, "dora@example.org").status_code == 201
        with house.writing():
            changing.revoke_all_by(accounts.named("alice"))
        assert deliver_one(house)  # which drops it
        with house.reading() as unit:
            assert {each.state for each in unit.session.query(Letter)} == {"dropped"}


def test_no_more_than_five_come_within_any_day(invite, senders):
    start = clock.now()

    def sent_at(hours, who):
        with time_machine.travel(start + hours * clock.HOUR, tick=False):
            who.bearer = who.sign_in()
            return invite(who, "dora@example.org")

    assert sent_at(0, senders[0]).status_code == 201
    assert [sent_at(23, who).status_code for who in senders[1:]] == [201] * 4
    assert [sent_at(24, who).status_code for who in senders[:2]] == [201, 429]
    assert sent_at(25, senders[3]).headers["Retry-After"] == str(22 * 3600)


def test_of_many_who_invite_a_stranger_at_once_five_do(invite, senders):
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda who: invite(who, "dora@example.org").status_code, senders * 2))
    assert sorted(done) == [201] * outbox.MAX_TO_ONE + [429] * 5


@pytest.mark.parametrize("settings", [{"MAILS_PER_DAY": "3"}], indirect=True)
def test_an_account_mails_so_many_invitations_a_day(invite, alice, charlie):
    assert [invite(alice, f"guest{each}@example.org").status_code for each in range(5)] == [201, 201, 201, 429, 429]
    assert invite(charlie, "guest9@example.org").status_code == 201


@pytest.mark.parametrize("settings", [{"MAILS_PER_DAY": "1"}], indirect=True)
def test_a_refused_invitation_counts_nowhere(house, invite, alice, root):
    assert [invite(alice, "dora@example.org").status_code for _ in range(9)] == [201] + [429] * 8
    assert invite(root, "dora@example.org").status_code == 201  # an admin of the site, whom nothing limits
    with house.reading() as unit:
        assert unit.session.query(Letter).count() == 2


def test_invitations_keep_nobody_from_a_new_password(house, invite, alice, charlie):
    for _ in range(outbox.MAX_TO_ONE + 1):
        invite(alice, "charlie@example.org")
    with house.writing():
        registration.send_reset("charlie@example.org")


def test_codes_and_links_for_a_new_password_are_mailed_before_invitations_that_wait(house, mailbox, charlie):
    with house.writing():
        for each in range(3):
            invites.create(drafts.read({"email": f"guest{each}@example.org"}), drafts.SHELL, mailed=True)
    with house.writing():
        registration.start("dora@example.org")
        registration.send_reset("charlie@example.org")
    while deliver_one(house):
        pass
    assert {each["To"] for each in mailbox.mails[:2]} == {"dora@example.org", "charlie@example.org"}
    assert len(mailbox.mails) == 5


def test_a_link_for_a_new_password_is_not_mailed_to_who_has_the_address_now(house, mailbox, alice):
    with house.writing():
        registration.send_reset("alice@example.org")
        accounts.create(accounts.Names(email="alice@example.org"), HASH, proven=True)  # it was never alice's own
    while deliver_one(house):
        pass
    assert mailbox.mails == []


def test_a_new_link_takes_the_short_code_away(house, client, key):
    code = client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"}).json["code"]
    with house.writing():
        changing.rotate(database.session().query(Invite).one())
    refused = client.post("/api/invite/validate", json={"code": code})
    assert (refused.status_code, refused.json["valid"]) == (400, False)


# Accounts


def test_a_stranger_does_not_undo_a_confirmed_registration(client, mailbox, house):
    client.post("/auth/register/start", json={"email": "dora@example.org"})
    assert deliver_one(house)
    body = {"email": "dora@example.org", "code": mailbox.digits(0)}
    ticket = client.post("/auth/register/verify", json=body).json["registration_token"]
    with time_machine.travel(clock.now() + 2 * clock.MINUTE):
        assert client.post("/auth/register/start", json={"email": "dora@example.org"}).status_code == 200
        body = {"email": "dora@example.org", "password": PASSWORD, "registration_token": ticket}
        assert client.post("/auth/register/password", json=body).status_code == 200


def test_an_address_that_another_account_has_proved_is_a_mismatch(house, client, alice, charlie):
    alice.forget_address()
    with house.writing():
        made = invites.create(drafts.read({"email": "charlie@example.org"}), drafts.SHELL, mailed=True)
        token = invites.mail_token(made)
    refused = client.post(f"/invites/{token}/accept", headers=alice.bearer)
    assert (refused.status_code, refused.json["code"]) == (400, "EMAIL_MISMATCH")
    with house.reading():
        assert isinstance(redemption.refusal_of(invites.find(token), accounts.named("alice"), token), EmailMismatch)


@pytest.mark.parametrize("way", ["page", "call"])
def test_a_new_password_is_not_the_user_name(house, client, way):
    with house.writing():
        user = accounts.create(accounts.Names("a-long-user-name", "long@example.org"), HASH)
        token = resets.link(user).partition("?")[2]
    body = {"token": token, "password": "A-long-user-name"}
    if way == "page":
        refused = client.post("/password/reset", data=body)
    else:
        refused = client.post("/auth/password/reset", json=body)
    assert (refused.status_code, "guess" in refused.text) == (422, True)


def test_a_user_name_is_never_given_twice(house, client, make_invite):
    with house.writing():
        accounts.remove(accounts.create(accounts.Names("anne", "anne@example.org"), HASH))
    body = {"invite_token": make_invite(), "email": "other@example.org", "username": "anne", "password": PASSWORD}
    refused = client.post("/auth/register/with-invite", json=body)
    assert (refused.status_code, refused.json["code"]) == (409, "USERNAME_TAKEN")
    body["username"] = "anna"
    assert client.post("/auth/register/with-invite", json=body).status_code == 200


def test_the_name_of_a_deleted_account_is_not_found_by_hashing_names(house, at_rest):
    with house.writing():
        accounts.remove(accounts.create(accounts.Names("anne"), HASH))
    stored = at_rest()
    for each in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s", "sha3_256"):
        assert hashlib.new(each, b"anne").hexdigest().encode() not in stored


def test_a_user_name_is_not_given_twice_after_the_master_secret_was_replaced(tmp_path):
    first = make_settings(tmp_path / "instance", SECRET_KEY="a" * 40)
    with in_force(first), database.open_database(first).writing():
        accounts.remove(accounts.create(accounts.Names("anne"), HASH))
    second = make_settings(tmp_path / "instance", SECRET_KEY="b" * 40, SECRET_KEY_FALLBACKS="a" * 40)
    with in_force(second), pytest.raises(UsernameTaken), database.open_database(second).writing():
        accounts.create(accounts.Names("anne"), HASH)


def test_an_invite_is_found_by_the_beginning_of_its_id(house, make_invite, stored):
    """PostgreSQL may sort as people do: then a control character is nothing, and the range of ids was empty."""
    make_invite()
    (whole,) = [each.id for each in stored()]
    with house.reading():
        assert [invites.named(each).id for each in (whole, whole[:8], whole[:12])] == [whole] * 3
        assert [each.id for each in ids.starting_with(Invite, whole[:9], 5)] == [whole]


# Files


@pytest.mark.sqlite
def test_a_folder_that_others_use_is_not_made_private(tmp_path, invite_api):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "of somebody else.txt").write_text("mine")
    refused = invite_api("invite", "list", INSTANCE=str(shared))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{shared}: is not only for invite-api: of somebody else.txt is in it; set INV" in refused.stderr
    assert [each.name for each in shared.iterdir()] == ["of somebody else.txt"]
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777


FULL = """
import resource, sys
from pathlib import Path
from settings.secret import own_secret
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as on a full disk, nothing can be written
own_secret(Path(sys.argv[1]))
"""


def test_a_first_start_on_a_full_disk_leaves_no_empty_secret(tmp_path):
    """It kept every later start from beginning, also when the disk had room again."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "instance")]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=HOME, check=False)
    assert "secret.key: the master secret cannot be written: File too large" in refused.stderr
    assert list((tmp_path / "instance").iterdir()) == []


@pytest.mark.parametrize("there", [[], [".gitignore"], ["lost+found"], ["invites.db-before"]])
def test_a_folder_of_our_own_is_made_private(tmp_path, there):
    folder = tmp_path / "own"
    folder.mkdir(mode=0o755)
    for each in there:
        (folder / each).touch()
    make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# Requests

PARSED = [
    ("GET", "/", {"Accept-Language": "en;q=0.1," * 7000}),
    ("GET", "/", {"Cookie": "a=b; " * 12_000}),
    ("POST", "/login", {"Content-Type": "text/plain;" + "a=b;" * 15_000}),
    ("GET", "/static/script.js", {"If-None-Match": '"a",' * 15_000}),
]


@pytest.mark.parametrize(("method", "path", "headers"), PARSED)
def test_a_long_header_is_refused_before_it_is_parsed(serve, method, path, headers):
    """Each took 8 to 47 ms of the loop, before the call was counted against any rate limit."""
    refused = serve().get(path, method, **headers)
    assert refused.status == 431


def test_many_headers_are_refused_before_they_fill_the_memory(serve):
    """9,000 short ones, 63 KB, took 770 KB for as long as the request was halfway."""
    served = serve()
    assert served.get("/health", **{f"X-{number}": "x" for number in range(90)}).status == 200
    assert served.get("/health", **{f"X-{number}": "x" for number in range(110)}).status == 431


def test_a_call_beyond_its_limit_is_refused_before_its_body_is_parsed(serve):
    served = serve(LIMITS="on")
    wrong = {"Content-Type": "application/json"}
    answers = [served.get("/auth/login", "POST", b"[" * 2000, **wrong).status for _ in range(12)]
    assert answers == [400] * 10 + [429] * 2


def test_a_long_address_is_refused_before_it_is_parsed(serve):
    served = serve()
    assert served.get(f"/qr?{'a=b&' * 2500}").status == 414
    assert served.get(f"/qr?{'a=b&' * 1500}").status == 404
    assert served.get("/health", **{"Accept-Language": "x" * 1000, "Cookie": "a=b; " * 1600}).status == 200


@pytest.mark.parametrize("path", ["/static/script.js", "/static/icon.svg"])
def test_a_file_is_nothing_but_what_it_says(client, path):
    with client.get(path) as answer:
        assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"


# Browsers


def form_token(page):
    return re.search(r'name="csrf" value="([^"]+)"', page.text)[1]


def test_over_plain_http_no_other_site_signs_a_visitor_in_as_somebody_else(client, alice):
    """A browser says there neither which site a form is of, nor did a form's token depend on the browser."""
    attackers, victims = (client.application.test_client() for _ in range(2))
    stolen = form_token(attackers.get("/login"))
    own = form_token(victims.get("/login"))
    sent = {"user": "alice", "password": PASSWORD}
    refused = victims.post("/login", data={**sent, "csrf": stolen})
    assert (refused.status_code, "Set-Cookie" in refused.headers) == (403, False)
    assert "keeps no cookies" in refused.text
    without = client.application.test_client(use_cookies=False)
    assert without.post("/login", data={**sent, "csrf": own}).status_code == 403
    assert victims.post("/login", data={**sent, "csrf": own}).status_code == 303


def test_a_visitors_cookie_is_set_once_and_only_where_it_is_needed(client):
    secure = client.application.test_client()
    assert "Set-Cookie" not in secure.get("/login", headers={"Sec-Fetch-Site": "none"}).headers
    first = client.get("/login").headers["Set-Cookie"]
    assert first.startswith("invite-visit=")
    assert first.endswith("; HttpOnly; Path=/; SameSite=Lax")
    assert "Set-Cookie" not in client.get("/login").headers
    assert "Set-Cookie" not in client.application.test_client().get("/health").headers


def test_a_new_account_ends_the_session_that_the_browser_had(house, browser, make_invite):
    browser.sign_in("alice")
    with house.reading() as unit:
        (before,) = unit.session.query(Session.id).order_by(Session.created_at.desc()).limit(1)
    answer = browser.post("/register", user="dora", password=PASSWORD, token=make_invite())
    assert answer.status_code == 303
    with house.reading() as unit:
        assert unit.session.get(Session, before[0]) is None
