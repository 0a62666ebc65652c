"""Mail, to a real SMTP server: what it says, that it arrives, and that nothing is mailed that is not so."""

import re
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import time_machine
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

import clock
from conftest import MAILS, PASSWORD, ask, free_port, listening_for_mail, make_settings, wait_for
from delivery import mail
from delivery.mail import Failure
from delivery.outbox import backoff, claim, deliver_one, mark
from models import Letter
from rules import accounts, changing, drafts, invites, outbox, projects, redemption, timeline, waiting
from rules.outbox import LEASE, Retried
from rules.refusals import InviteExpired, LetterNotFound
from settings import in_force


@pytest.fixture
def settings(tmp_path, smtp):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp, REGISTRATION="open")) as chosen:
        yield chosen


@pytest.fixture
def deliver(house):
    """Deliver what is due; how many letters were looked at."""

    def until_none_is_due():
        count = 0
        while deliver_one(house):
            count += 1
        return count

    return until_none_is_due


@pytest.fixture
def letters(house):
    def look():
        with house.reading() as unit:
            return [
                (each.kind, bool(each.sent_at), each.attempts)
                for each in unit.session.query(Letter).order_by(Letter.created_at)
            ]

    return look


@pytest.fixture
def mail_invite(house):
    """Make an invite that is mailed; its link's token, as it was shown."""

    def make(email="dora@example.org", **given):
        with house.writing():
            made = invites.create(drafts.read({"email": email, **given}), drafts.SHELL, mailed=True)
            return invites.token(made)

    return make


def token_of(link):
    return urlsplit(link).query


def test_hitkeys_flow_from_the_invitation_to_the_member(client, alice, mailbox, deliver):
    client.post("/projects/", headers=alice.bearer, json={"name": "Tea Garden"})
    body = {"email": "dora@example.org", "redirect_url": "https://app.example.org/"}
    made = client.post("/projects/tea-garden/invites", headers=alice.bearer, json=body)
    assert (made.status_code, "inviteUrl" in made.json) == (201, False)
    assert deliver() == 1
    (letter,) = mailbox.mails
    assert (letter["To"], letter["From"]) == ("dora@example.org", "invitations@127.0.0.1")
    assert letter["Subject"] == "Your invitation to Tea Garden"
    assert "alice invites you to Tea Garden" in letter.get_body(("plain",)).get_content()
    assert mailbox.link() in letter.get_body(("html",)).get_content()
    token = token_of(mailbox.link())
    assert client.get(f"/invites/{token}").json["project"]["slug"] == "tea-garden"
    body = {"invite_token": token, "email": "dora@example.org", "password": PASSWORD}
    joined = client.post("/auth/register/with-invite", json=body).json
    assert (joined["project_slug"], joined["redirect_url"]) == ("tea-garden", "https://app.example.org/")
    bearer = {"Authorization": f"Bearer {joined['token']}"}
    assert client.get("/auth/me", headers=bearer).json["emailVerified"] is True
    assert len(client.get("/projects/tea-garden/members", headers=bearer).json) == 2


def test_only_the_mailed_link_proves_the_mailbox(client, mailbox, deliver, mail_invite):
    shown = mail_invite("dora@example.org")
    deliver()
    assert token_of(mailbox.link()) != shown
    for token, verified in ((shown, False),):
        body = {"invite_token": token, "email": "dora@example.org", "password": PASSWORD}
        answer = client.post("/auth/register/with-invite", json=body).json
        bearer = {"Authorization": f"Bearer {answer['token']}"}
        assert client.get("/auth/me", headers=bearer).json["emailVerified"] is verified
    assert client.get(f"/invites/{token_of(mailbox.link())}").json["code"] == "INVITE_USED"


def test_accepting_with_the_mailed_link_proves_the_accounts_own_address_and_no_other(
    client, house, alice, mailbox, deliver, mail_invite
):
    shown = mail_invite("alice@example.org")
    deliver()
    refused = client.post(f"/invites/{shown}/accept", headers=alice.bearer)
    assert (refused.status_code, refused.json["code"]) == (400, "EMAIL_MISMATCH")
    assert client.post(f"/invites/{token_of(mailbox.link())}/accept", headers=alice.bearer).status_code == 200
    assert client.get("/auth/me", headers=alice.bearer).json["emailVerified"] is True
    mail_invite("other@example.org")
    deliver()
    refused = client.post(f"/invites/{token_of(mailbox.link())}/accept", headers=alice.bearer)
    assert (refused.status_code, refused.json["code"]) == (400, "EMAIL_MISMATCH")


def test_an_invite_that_is_not_made_is_not_mailed(house, letters, mail_invite):
    with pytest.raises(ZeroDivisionError), house.writing():
        invites.create(drafts.read({"email": "dora@example.org"}), drafts.SHELL, mailed=True)
        1 / 0  # noqa: B018
    assert letters() == []


@pytest.mark.parametrize("end", ["revoked", "used", "expired", "rotated"])
def test_an_invite_that_is_over_is_not_mailed(house, mailbox, deliver, letters, mail_invite, use, end):
    token = mail_invite(ttl="1h")
    if end == "used":
        use(token)
    with house.writing():
        if end == "revoked":
            changing.revoke(invites.find(token))
        if end == "rotated":
            changing.rotate(invites.find(token))
    with time_machine.travel(clock.now() + (clock.DAY if end == "expired" else clock.SECOND)):
        deliver()
    assert len(mailbox.mails) == (1 if end == "rotated" else 0)
    if end == "rotated":  # the letter that waited tells of the new link
        assert token_of(mailbox.link(0)) not in (token, "")


def test_no_link_and_no_code_lies_in_the_outbox(house, settings, mailbox, deliver, client, mail_invite, at_rest):
    shown = mail_invite()
    client.post("/auth/register/start", json={"email": "new@example.org"})
    deliver()
    house.close()
    stored = at_rest()
    assert b"new@example.org" in stored
    for secret in (shown, token_of(mailbox.link(1)), mailbox.digits(0).join(("'", "'"))):
        assert secret.encode() not in stored


@pytest.mark.parametrize("answer", ["451 later", "421 closing", "take it and hang up"])
def test_what_the_server_does_not_take_is_tried_again_with_the_same_message_id(
    mailbox, deliver, letters, mail_invite, answer
):
    mail_invite()
    mailbox.answers = [answer]
    assert deliver() == 1
    assert letters() == [("invite", False, 1)]
    assert deliver() == 0
    with time_machine.travel(clock.now() + clock.MINUTE + clock.SECOND):
        assert deliver() == 1
    assert letters() == [("invite", True, 2)]
    assert len({each["Message-ID"] for each in mailbox.mails}) == 1


def test_a_letter_comes_up_again_however_its_carrier_ended(house, mailbox, deliver, letters, mail_invite, monkeypatch):
    mail_invite()
    monkeypatch.setattr(mail, "send", lambda message: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        deliver_one(house)
    monkeypatch.undo()
    assert deliver() == 0
    with time_machine.travel(clock.now() + 11 * clock.MINUTE):
        assert deliver() == 1
    assert (len(mailbox.mails), letters()) == (1, [("invite", True, 2)])


def test_while_nobody_listens_letters_wait_longer_and_longer(tmp_path, house, letters, mail_invite):
    mail_invite()
    unreachable = make_settings(tmp_path / "instance", SMTP_URL=f"smtp://127.0.0.1:{free_port()}")
    with in_force(unreachable):
        assert deliver_one(house)
    assert letters() == [("invite", False, 1)]
    waits = [backoff(number) for number in range(1, 20)]
    assert waits[:4] == [clock.MINUTE * number for number in (1, 2, 4, 8)]
    assert waits == sorted(waits)
    assert waits[-1] == clock.HOUR


@pytest.mark.parametrize("scheme", ["smtps", "smtp"])
def test_a_server_that_does_not_prove_its_name_gets_no_mail(tmp_path, house, mailbox, letters, mail_invite, scheme):
    """CVE-2023-38686: the certificate of the mail server was not checked."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.2").configure_cert(theirs)
    secure = {"ssl_context" if scheme == "smtps" else "tls_context": theirs}
    controller = Controller(mailbox, hostname="127.0.0.2", port=free_port(), ready_timeout=60, **secure)
    controller._trigger_server = lambda: knock(controller.port, scheme == "smtps")
    mail_invite()
    with (
        listening_for_mail(controller) as port,
        in_force(make_settings(tmp_path / "instance", SMTP_URL=f"{scheme}://127.0.0.2:{port}")),
    ):
        assert deliver_one(house)
    assert mailbox.mails == []
    with house.reading() as unit:
        assert "CERTIFICATE_VERIFY_FAILED" in unit.session.query(Letter).one().last_error


def test_a_distant_server_without_encryption_gets_no_mail(tmp_path, house, mailbox, mail_invite):
    mail_invite()
    with (
        listening_for_mail(Controller(mailbox, hostname="127.0.0.2", port=free_port(), ready_timeout=60)) as port,
        in_force(make_settings(tmp_path / "instance", SMTP_URL=f"smtp://127.0.0.2:{port}")),
    ):
        assert deliver_one(house)
    assert mailbox.mails == []
    with house.reading() as unit:
        assert "STARTTLS" in unit.session.query(Letter).one().last_error


def saying(answer):
    """What a mail server does at a command: it answers this, or hangs up."""

    async def say_it(self, arg):
        if answer == "hang up":
            self.transport.abort()
        else:
            await self.push(answer)

    return say_it


@contextmanager
def postfix(mailbox, says=None, tls="", host="127.0.0.1", **options):
    """A mail server that says so; with ``smtp`` or ``smtps`` for `tls` it has a certificate that it signed itself."""
    secure, kind = (
        {},
        type("Postfix", (SMTP,), {f"smtp_{name}": saying(answer) for name, answer in (says or {}).items()}),
    )
    if tls:
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("snakeoil.example").configure_cert(theirs)
        secure = {"ssl_context" if tls == "smtps" else "tls_context": theirs}
    controller = Controller(mailbox, hostname=host, port=free_port(), ready_timeout=60, **secure)
    options |= {name: value for name, value in secure.items() if name == "tls_context"}
    controller.factory = lambda: kind(mailbox, **options)
    controller._trigger_server = lambda: knock(controller.port, tls == "smtps", host)
    with listening_for_mail(controller) as port:
        yield port


@pytest.fixture
def outcome(tmp_path, house, mail_invite):
    """Mail an invite by a server; the state of its letter, what is kept of the error, and the invite's timeline."""

    def deliver_by(url):
        token = mail_invite()
        with in_force(make_settings(tmp_path / "instance", SMTP_URL=url)):
            assert deliver_one(house)
        with house.reading() as unit:
            letter = unit.session.query(Letter).one()
            return letter.state, letter.last_error or "", timeline.of_invite(invites.find(token))[-1]

    return deliver_by


@pytest.mark.parametrize(
    ("says", "state"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, "refused"),
        ({"RCPT": "521 takes no mail"}, "refused"),
        ({"RCPT": "451 4.7.1 greylisted"}, "waiting"),
        ({"RCPT": "421 closing"}, "waiting"),
        ({"RCPT": "hang up"}, "waiting"),
        ({"MAIL": "552 5.3.4 too long"}, "refused"),
        ({"MAIL": "451 later"}, "waiting"),
        ({"MAIL": "530 5.7.0 authentication required"}, "waiting"),
        ({"DATA": "554 5.7.1 looks like spam"}, "refused"),
        ({"DATA": "452 4.3.1 no room"}, "waiting"),
        ({"DATA": "421 closing"}, "waiting"),
        ({"DATA": "hang up"}, "waiting"),
        ({"EHLO": "550 go away", "HELO": "550 go away"}, "waiting"),
        ({"RCPT": "550 no such user", "QUIT": "421 in a hurry", "RSET": "hang up"}, "refused"),
        ({"QUIT": "500 what"}, "sent"),
        ({"QUIT": "hang up"}, "sent"),
    ],
    ids=str,
)
def test_what_is_final_ends_a_letter_and_what_may_pass_does_not(mailbox, outcome, says, state):
    with postfix(mailbox, says) as port:
        found, error, last = outcome(f"smtp://127.0.0.1:{port}")
    assert found == state
    assert len(mailbox.mails) == (state == "sent")
    if state == "refused":
        assert (last.what, last.who, last.trouble) == ("refused", "dora@example.org", error)
        assert next(iter(says.values())) in error
    if state == "waiting":
        assert last.what == "to be sent"


@pytest.mark.parametrize("answer", ["550 no such user", "554 looks like spam"])
def test_a_text_that_is_refused_for_good_ends_its_letter(house, mailbox, deliver, letters, mail_invite, answer):
    mail_invite()
    mailbox.answers = [answer]
    assert deliver() == 1
    with time_machine.travel(clock.now() + clock.DAY):
        assert deliver() == 0
    assert letters() == [("invite", False, 1)]
    with house.writing() as unit:
        letter = unit.session.query(Letter).one()
        assert letter.state == "refused"
        assert outbox.retry(letter.id) == Retried(due=1, left=0)  # the operator has found out why
    assert deliver() == 1
    assert len(mailbox.mails) == 1


def test_a_letter_that_has_arrived_is_not_sent_once_more(house, mailbox, deliver, mail_invite):
    mail_invite()
    assert deliver() == 1
    with house.writing() as unit, pytest.raises(LetterNotFound):
        outbox.retry(unit.session.query(Letter).one().id)
    assert deliver() == 0
    assert len(mailbox.mails) == 1


def test_what_a_server_is_sending_is_not_sent_by_another_for_a_retry(house, mailbox, deliver, mail_invite):
    for each in ("dora@example.org", "emil@example.org"):
        mail_invite(each)
    with house.writing():
        sending = claim()
    with house.writing():
        assert outbox.retry() == Retried(due=1, left=1)
        assert outbox.retry(sending.id) == Retried(due=0, left=1)
    assert deliver() == 1
    assert [each["To"] for each in mailbox.mails] == ["emil@example.org"]
    with house.writing() as unit:  # it has failed
        mark(unit.session.get_one(Letter, sending.id), Failure("451 later"))
    with house.writing():
        assert outbox.retry() == Retried(due=1, left=0)
    assert deliver() == 1
    assert [each["To"] for each in mailbox.mails] == ["emil@example.org", "dora@example.org"]


@pytest.mark.parametrize("later", [LEASE, -clock.MINUTE])
def test_what_a_server_was_sending_long_ago_or_while_its_clock_was_wrong_can_be_sent_again(house, mail_invite, later):
    mail_invite()
    with house.writing():
        claim()
    with time_machine.travel(clock.now() + later), house.writing():
        assert outbox.retry() == Retried(due=1, left=0)


def test_a_mail_that_is_sent_again_for_a_retry_has_the_same_message_id(house, mailbox, deliver, mail_invite):
    mail_invite()
    mailbox.answers = ["take it and hang up"]
    assert deliver() == 1
    with house.writing():
        assert outbox.retry() == Retried(due=1, left=0)
    assert deliver() == 1
    assert len(mailbox.mails) == 2
    assert len({each["Message-ID"] for each in mailbox.mails}) == 1


def test_the_command_says_what_it_left_alone_and_why(house, mail_invite, invite_api):
    mail_invite()
    with house.writing():
        sending = claim()
    for which in ((), (sending.id,)):
        done = invite_api("outbox", "retry", *which, SMTP_URL=MAILS)
        assert done.returncode == 0
        assert done.stderr.splitlines() == [
            "Note: 0 to be sent now by the server",
            "Note: 1 left alone: being sent just now, or when the server was stopped; "
            "what does not arrive is sent again within 10 minutes",
        ]


def test_a_letter_that_failed_once_and_is_over_now_was_not_refused(house, mailbox, deliver, mail_invite):
    token = mail_invite()
    mailbox.answers = ["451 later"]
    deliver()
    with house.writing():
        changing.revoke(invites.find(token))
    with time_machine.travel(clock.now() + clock.HOUR):
        deliver()
    with house.reading() as unit:
        assert unit.session.query(Letter).one().state == "dropped"


def test_a_server_that_refuses_everybody_has_not_refused_a_letter(outcome):
    def answer(listening):
        with listening.accept()[0] as connection:
            connection.sendall(b"554 no service\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer, args=[listening])
        answering.start()
        found, error, _ = outcome(f"smtp://127.0.0.1:{listening.getsockname()[1]}")
        answering.join()
    assert (found, "554 no service" in error) == ("waiting", True)


def knows(user, password):
    """What checks a login against this user and password."""

    def check(server, session, envelope, mechanism, login):
        return AuthResult(success=login == LoginPassword(user.encode(), password.encode()), handled=False)

    return check


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it does not see that all is encrypted
@pytest.mark.parametrize("tls", ["smtp", "smtps"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_on_this_machine_lets_in_after_starttls_with_debians_own_certificate(mailbox, outcome, tls, host):
    login = {"auth_required": True, "auth_require_tls": tls == "smtp", "authenticator": knows("anne", "pa#ss")}
    with postfix(mailbox, tls=tls, require_starttls=tls == "smtp", **login) as port:
        assert outcome(f"{tls}://anne:pa%23ss@{host}:{port}")[0] == "sent"
    assert len(mailbox.mails) == 1


@pytest.mark.parametrize("offer", [{}, {"STARTTLS": "454 4.7.0 TLS not available due to local problem"}])
def test_a_server_on_this_machine_that_cannot_encrypt_gets_its_mail(mailbox, outcome, offer):
    with postfix(mailbox, offer, tls="smtp" if offer else "") as port:
        assert outcome(f"smtp://127.0.0.1:{port}")[0] == "sent"


def test_a_wrong_password_is_the_servers_trouble_and_not_the_letters(mailbox, outcome):
    login = {"auth_required": True, "authenticator": knows("anne", "right")}
    with postfix(mailbox, tls="smtp", require_starttls=True, **login) as port:
        found, error, _ = outcome(f"smtp://anne:wrong@localhost:{port}")
    assert (found, "535" in error, "wrong" in error) == ("waiting", True, False)
    assert mailbox.mails == []


def test_an_admin_reads_on_the_page_of_an_invite_that_its_mail_was_refused(client, house, mailbox, browser, outcome):
    with postfix(mailbox, {"RCPT": "550 5.1.1 no such user"}) as port:
        outcome(f"smtp://127.0.0.1:{port}")
    with house.writing() as unit:
        accounts.named("alice").admin_at = clock.now()
        invite = unit.session.query(Letter).one().invite_id
    browser.sign_in("alice")
    shown = browser.client.get(f"/admin/invites/{invite}").text
    assert "the mail server refuses this address or mail (SMTPRecipientsRefused: 550 5.1.1 no such user)" in shown


@pytest.mark.long
def test_a_server_delivers_by_itself_and_says_what_went_wrong(serve, smtp, mailbox):
    served = serve(SMTP_URL=smtp)
    mailbox.answers = ["451 later"]
    served.run("invite", "create", "--email", "dora@example.org", "--mail")
    wait_for(lambda: "451 later" in served.run("outbox", "list", "--waiting"))
    assert mailbox.mails == []
    served.run("outbox", "retry")
    wait_for(lambda: mailbox.mails)
    wait_for(lambda: "\tsent\t" in served.run("outbox", "list"))
    log = served.log.read_text()
    assert "mail not sent, it will be tried again" in log
    assert "mail sent" in log
    assert token_of(mailbox.link()) not in log


@pytest.mark.long
def test_without_a_mail_server_nothing_is_lost_and_the_log_says_what_waits(serve, smtp, mailbox):
    served = serve()
    served.run("invite", "create", "--email", "dora@example.org", "--mail")
    wait_for(lambda: "mail waits in the outbox: INVITE_API_SMTP_URL is not set" in served.log.read_text())
    served.process.terminate()
    assert served.process.wait(15) == 0
    serve(SMTP_URL=smtp)
    wait_for(lambda: mailbox.mails)


@pytest.mark.long
def test_a_server_killed_again_and_again_loses_no_mail(serve, smtp, mailbox):
    first = serve()
    for number in range(12):
        first.run("invite", "create", "--email", f"guest{number}@example.org", "--mail")
    first.process.kill()
    first.process.wait()
    for _ in range(3):
        before = len(mailbox.mails)
        served = serve(SMTP_URL=smtp)
        served.run("outbox", "retry")
        wait_for(lambda before=before: len(mailbox.mails) > before + 1 or len(mailbox.mails) >= 12)
        served.process.kill()
        served.process.wait()
    ask(served.instance, "UPDATE outbox SET busy_until = created_at WHERE busy_until IS NOT NULL")  # the lease is over
    served = serve(SMTP_URL=smtp)
    served.run("outbox", "retry")
    wait_for(lambda: len({each["To"] for each in mailbox.mails}) == 12)


def test_a_resent_invite_keeps_its_link_and_lives_on(house, mailbox, deliver, mail_invite):
    token = mail_invite(ttl="1h")
    deliver()
    with time_machine.travel(clock.now() + clock.DAY):
        with house.writing():
            changing.resend(invites.find(token))
        deliver()
        with house.reading():
            assert invites.find(token).state(clock.now()) == "active"
    assert mailbox.link(0) == mailbox.link(1)


def test_a_rotated_invite_has_a_new_link_and_the_old_ones_are_dead(client, house, mailbox, deliver, mail_invite):
    """CVE-2026-4273: a refreshed token equal to the old one."""
    old = mail_invite()
    deliver()
    with house.writing():
        invite = invites.find(old)
        changing.rotate(invite)
        new = invites.token(invite)
    deliver()
    for dead in (old, token_of(mailbox.link(0))):
        assert client.post("/api/invites/verify", json={"token": dead}).status_code == 404
    for alive in (new, token_of(mailbox.link(1))):
        assert client.post("/api/invites/verify", json={"token": alive}).status_code == 200


def test_to_mail_an_invite_again_never_shortens_its_life(house, mail_invite):
    lives = {}
    for ttl in ("30d", "never", "1d"):
        with house.writing():
            made = invites.create(drafts.read({"email": "eve@example.org", "ttl": ttl}), drafts.SHELL, mailed=True)
            changing.resend(made)
            lives[ttl] = made.expires_at and round((made.expires_at - clock.now()) / clock.DAY)
    assert lives == {"30d": 30, "never": None, "1d": 7}


@pytest.mark.long
def test_the_shell_mails_extends_resends_and_rotates(invite_api):
    assert invite_api("invite", "create", "--mail").stderr == "Error: --email: is needed for an invite to be mailed\n"
    link = invite_api("invite", "create", "--email", "dora@example.org", "--mail").stdout.strip()
    assert invite_api("invite", "extend", link, "30d").returncode == 0
    assert invite_api("invite", "extend", link, "soon").stderr.startswith("Error: TTL: must be ")
    assert invite_api("invite", "resend", link).returncode == 0
    new = invite_api("invite", "rotate", link).stdout.strip()
    assert new != link
    assert invite_api("invite", "show", link).returncode == 1
    rows = [line.split("\t") for line in invite_api("outbox", "list").stdout.splitlines()]
    assert [(row[1], row[2], row[3]) for row in rows] == [("waiting", "invite", "dora@example.org")]
    assert invite_api("outbox", "retry", rows[0][0]).returncode == 0
    assert invite_api("outbox", "retry", "nothing").returncode == 1


def test_the_outbox_tells_what_waits(house, letters, mail_invite):
    mail_invite()
    with house.reading():
        assert len(outbox.newest(10, waiting=True)) == 1


def test_a_letter_that_cannot_be_written_does_not_keep_the_others_waiting(
    house, mailbox, deliver, letters, mail_invite
):
    mail_invite("first@example.org")
    mail_invite("second@example.org")
    with house.writing() as unit:
        unit.session.query(Letter).filter_by(recipient="first@example.org").one().recipient = "=?x?q?a?=@example.org"
    deliver()
    assert [each["To"] for each in mailbox.mails] == ["second@example.org"]
    assert sorted(sent for _, sent, _ in letters()) == [False, True]


def test_an_address_that_a_mail_program_would_read_otherwise_is_refused(client):
    for email in ("=?x?q?a?=@example.org", "=?utf-8?q?victim?=@example.org"):
        assert client.post("/auth/register/start", json={"email": email}).status_code == 422


def test_who_is_gone_gets_no_mail(client, house, mailbox, deliver, alice, charlie):
    client.post("/auth/register/resend", headers=alice.bearer, json={})
    client.post("/auth/register/start", json={"email": "charlie@example.org"})
    client.post("/auth/password/forgot", json={"email": "charlie@example.org"})
    with house.writing():
        for name in ("alice", "charlie"):
            accounts.remove(accounts.named(name))
    deliver()
    assert mailbox.mails == []


def test_a_code_that_has_expired_is_not_mailed(client, mailbox, deliver):
    client.post("/auth/register/start", json={"email": "dora@example.org"})
    with time_machine.travel(clock.now() + 11 * clock.MINUTE):
        assert deliver() == 1
    assert mailbox.mails == []


def test_an_expired_invite_of_who_is_gone_does_not_come_to_life_again(house, alice):
    with house.writing():
        user = accounts.named("alice")
        project = projects.create(user, projects.ProjectDraft("Tea"))
        draft = drafts.read({"email": "dora@example.org", "project": "tea", "ttl": "1h"})
        made = projects.invite(projects.of_manager("tea", user), draft)
    with time_machine.travel(clock.now() + clock.DAY), house.writing():
        assert projects.delete(project.slug) == 1
        with pytest.raises(InviteExpired):
            changing.resend(invites.find_by_id(made.id))


def knock(port, secretly, host="127.0.0.2"):
    """See that a mail server is there, whoever it says it is."""
    with socket.create_connection((host, port)) as plain, ExitStack() as held:
        wrap = ssl._create_unverified_context().wrap_socket
        connection = held.enter_context(wrap(plain)) if secretly else plain
        connection.recv(100)


@pytest.fixture
def asked(house, alice, charlie):
    """Have charlie ask to join alice's project; the token, and the use that waits."""
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        draft = drafts.read({"project": "tea-garden", "approve": True, "uses": 5})
        token = invites.token(invites.create(draft, accounts.as_inviter(accounts.named("alice"))))

    def ask():
        with house.writing():
            redemption.accept(token, accounts.named("charlie"))
            (use,) = waiting.of_invite(invites.find(token))
            return use.id

    return ask


WORDS = {
    "en": ("Hello Dora,", "alice invites you to Tea Garden.", "Valid until Sunday, 1 March 2026, 12:00 UTC."),
    "de": ("Hallo Dora,", "alice lädt dich zu Tea Garden ein.", "Gültig bis Sonntag, 1. März 2026, 12:00 UTC."),
}


@pytest.mark.parametrize("language", WORDS)
def test_an_invitation_greets_its_guest_and_says_who_invites_and_until_when(
    tmp_path, house, alice, smtp, mailbox, language
):
    with time_machine.travel(datetime(2026, 2, 28, 12, tzinfo=UTC), tick=False), house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        draft = drafts.read({"name": "Dora", "email": "dora@example.org", "project": "tea-garden", "ttl": "1d"})
        invites.create(draft, accounts.as_inviter(accounts.named("alice")), mailed=True)
    spoken = make_settings(tmp_path / "instance", SMTP_URL=smtp, LANGUAGE=language)
    with time_machine.travel(datetime(2026, 2, 28, 13, tzinfo=UTC), tick=False), in_force(spoken):
        assert deliver_one(house)
    text, html = (mailbox.mails[0].get_body((kind,)).get_content() for kind in ("plain", "html"))
    for said in WORDS[language]:
        assert said in text
        assert said in re.sub("<[^>]*>", "", html)
    assert "\r\n\r\n\r\n" not in text
    assert mailbox.link() in html.replace(f'href="{mailbox.link()}"', "")  # as a text, too


def test_an_account_that_is_called_as_the_site_does_not_speak_for_it(deliver, mailbox, house, alice):
    with house.writing():
        accounts.named("alice").display_name = "127.0.0.1:8080"  # from before the site had this name
        draft = drafts.read({"email": "dora@example.org", "message": "Call us."})
        invites.create(draft, accounts.as_inviter(accounts.named("alice")), mailed=True)
    deliver()
    text = mailbox.mails[0].get_body(("plain",)).get_content()
    assert "Hello, 127.0.0.1:8080 invites you to 127.0.0.1:8080." in " ".join(text.split())


def test_an_invitation_of_the_site_itself_does_not_name_it_twice(deliver, mailbox, mail_invite):
    mail_invite()
    deliver()
    text = mailbox.mails[0].get_body(("plain",)).get_content()
    assert " ".join(text.split()).startswith("Hello, You are invited to 127.0.0.1:8080. Open this link to join: http")


@pytest.mark.parametrize(
    ("accent", "text"), [("#2f6f5e", "#ffffff"), ("#000000", "#ffffff"), ("#ffe600", "#000000"), ("#7cc4ad", "#000000")]
)
def test_the_text_on_a_button_can_be_read_on_any_colour(tmp_path, house, smtp, mailbox, mail_invite, accent, text):
    mail_invite()
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp, ACCENT=accent)):
        assert deliver_one(house)
    html = mailbox.mails[0].get_body(("html",)).get_content()
    assert f"background-color:{accent};color:{text};" in html
    assert "<style" not in html


OUTCOMES = {
    "approved": (waiting.approve, "You've joined Tea Garden", "Your request was approved. You've joined Tea Garden."),
    "denied": (
        waiting.deny,
        "Your request to join Tea Garden was not approved",
        "If you think that this is a mistake, ask alice.",
    ),
}


@pytest.mark.parametrize("kind", OUTCOMES)
def test_how_an_approval_ended_is_mailed(house, asked, deliver, mailbox, kind):
    decide, subject, said = OUTCOMES[kind]
    use = asked()
    with house.writing():
        decide(use)
    assert deliver() == 1
    (mail,) = mailbox.mails
    assert (mail["To"], mail["Subject"]) == ("charlie@example.org", subject)
    for part in ("plain", "html"):
        assert said in re.sub("<[^>]*>", "", mail.get_body((part,)).get_content())
    assert ("http" in mail.get_body(("plain",)).get_content()) is (kind == "approved")


def test_how_an_approval_ended_is_mailed_in_german(tmp_path, house, asked, smtp, mailbox):
    for decide in (waiting.deny, waiting.approve):
        use = asked()
        with house.writing():
            decide(use)
        with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp, LANGUAGE="de")):
            deliver_one(house)
    said = [each.get_body(("plain",)).get_content() for each in mailbox.mails]
    assert "Deine Anfrage bei Tea Garden wurde abgelehnt." in said[0]
    assert "Deine Anfrage wurde angenommen. Du bist jetzt bei Tea Garden dabei." in said[1]


def _ask_again(_, ask):
    ask()


def _ask_again_and_approve(house, ask):
    use = ask()
    with house.writing():
        waiting.approve(use)


def _remove(house, _):
    with house.writing():
        owner = projects.of_manager("tea-garden", accounts.named("alice"))
        (member,) = (each for each in projects.members(owner.project) if each.role == "member")
        projects.remove(owner, member.id)


def _change_address(house, _):
    with house.writing():
        user = accounts.named("charlie")
        user.email = "other@example.org"


def _disable(house, _):
    with house.writing():
        accounts.disable(accounts.named("charlie"))


@pytest.mark.parametrize(
    ("kind", "then"),
    [
        ("approved", _remove),
        ("approved", _change_address),
        ("approved", _disable),
        ("denied", _ask_again),
        ("denied", _ask_again_and_approve),
        ("denied", _change_address),
    ],
)
def test_an_outcome_that_holds_no_more_is_not_mailed(house, asked, deliver, mailbox, kind, then):
    use = asked()
    with house.writing():
        OUTCOMES[kind][0](use)
    then(house, asked)
    deliver()
    assert OUTCOMES[kind][1] not in [each["Subject"] for each in mailbox.mails]
