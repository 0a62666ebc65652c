"""Limits on mail: how many invitations an account has mailed within a day, and to whom none goes."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import time_machine

import clock
from app import create_app
from conftest import PASSWORD, Browser, make_settings, settings_with_mail
from delivery import mail
from delivery.outbox import deliver_one
from models import BlockedAddress, Counter, Event, Invite, Letter
from rules import accounts, blocked_addresses, changing, drafts, invites, outbox, projects, registration, tokens
from rules.refusals import BlockingLinkInvalid, MailLimit, MailUnwanted
from settings import in_force

DORA = "dora@example.org"


settings = settings_with_mail(REGISTRATION="open")


def mails(number):
    """Let an account have so many invitations mailed within a day."""
    return pytest.mark.parametrize("settings", [{"MAILS_PER_DAY": str(number)}], indirect=True)


@pytest.fixture
def garden(house, alice):
    """A project of alice's."""
    with house.writing():
        return projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug


@pytest.fixture
def invite(client, garden, alice):
    """Invite an address to alice's project, by mail."""

    def made(address, who=alice):
        fresh = client.application.test_client()
        return fresh.post(f"/projects/{garden}/invites", json={"email": address}, headers=who.bearer)

    return made


@pytest.fixture
def stored_rows(house):
    """How many rows there are of each kind that an invitation by mail writes."""

    def look():
        with house.reading() as unit:
            return [unit.session.query(each).count() for each in (Invite, Letter, Event, Counter)]

    return look


@pytest.fixture
def stop(settings):
    """The path of the link with which the person at an address wants no more invitations."""

    def made(address=DORA):
        return blocked_addresses.link(address).removeprefix(settings.public_url)

    return made


@pytest.fixture
def blocked(house):
    """Whether an address is blocked."""

    def look(address=DORA):
        with house.reading():
            return blocked_addresses.blocked_since(address) is not None

    return look


@pytest.fixture
def block(house):
    def done(address=DORA):
        with house.writing():
            blocked_addresses.block_address(address)

    return done


# So many within a day


@mails(2)
def test_the_next_mail_is_possible_when_the_oldest_is_a_day_old_to_the_second(invite, alice):
    start = clock.now()

    def invite_later(address):
        alice.bearer = alice.sign_in()
        return invite(address)

    with time_machine.travel(start, tick=False) as time:
        assert invite_later("one@example.org").status_code == 201
        time.shift(clock.HOUR)
        assert invite_later("two@example.org").status_code == 201
        refused = invite_later("three@example.org")
        assert (refused.status_code, refused.json["code"]) == (429, "MAIL_LIMIT")
        assert refused.headers["Retry-After"] == str(23 * 3600)
        time.move_to(start + clock.DAY - clock.SECOND)
        assert invite_later("three@example.org").headers["Retry-After"] == "1"
        time.move_to(start + clock.DAY)
        assert invite_later("three@example.org").status_code == 201
        assert invite_later("four@example.org").headers["Retry-After"] == "3600"


@mails(1)
def test_beyond_the_limit_nothing_is_written(invite, stored_rows):
    assert invite("one@example.org").status_code == 201
    before = stored_rows()
    assert invite("two@example.org").status_code == 429
    assert stored_rows() == before


@mails(1)
def test_the_limit_counts_mail_and_no_invite_that_is_not_mailed(client, invite, alice):
    for _ in range(3):
        assert client.post("/api/invite", json={"name": "Anne"}, headers=alice.bearer).status_code == 201
    assert invite("one@example.org").status_code == 201


@mails(1)
def test_what_an_admin_mails_again_counts_for_nobody(house, client, garden, invite, alice, root):
    assert invite("one@example.org").status_code == 201
    with house.writing() as unit:
        unit.session.query(Letter).update({"due_at": None, "sent_at": clock.now()})
    admin = Browser(client.application.test_client())
    admin.sign_in("root")
    with house.reading() as unit:
        made = unit.session.query(Invite).one().id
    assert admin.post(f"/admin/invites/{made}/send").status_code == 303
    with house.reading() as unit:
        senders = [each.sender_id for each in unit.session.query(Letter).order_by(Letter.created_at)]
        assert senders == [accounts.named("alice").id, None]


@mails(1)
def test_a_mail_that_was_written_while_the_clock_was_wrong_does_not_count_for_years(invite):
    with time_machine.travel(clock.now() + 900 * clock.DAY):
        invite("one@example.org")
    assert invite("two@example.org").status_code == 201
    assert invite("three@example.org").status_code == 429


@mails(3)
def test_of_many_who_want_the_last_mail_of_the_day_one_gets_it(house, invite, caplog):
    for number in range(2):
        assert invite(f"guest{number}@example.org").status_code == 201
    with ThreadPoolExecutor(8) as pool:
        done = [each.status_code for each in pool.map(invite, [f"more{number}@example.org" for number in range(8)])]
    assert sorted(done) == [201] + 7 * [429]
    assert "once more" not in caplog.text
    with house.reading() as unit:
        assert unit.session.query(Letter).count() == 3


@mails(5)
def test_how_long_a_page_has_to_say_is_asked_without_counting(house, invite):
    with time_machine.travel(clock.now(), tick=False) as time:
        with house.reading():
            assert outbox.room_at(accounts.named("alice").id) == clock.now()
        first = clock.now()
        for number in range(5):
            invite(f"guest{number}@example.org")
            time.shift(clock.MINUTE)
        with house.reading():
            assert outbox.room_at(accounts.named("alice").id) == first + clock.DAY
        with house.writing(), pytest.raises(MailLimit):
            outbox.limit_invitations(accounts.named("alice").id, "more@example.org")


# The link in each invitation


def test_an_invitation_has_the_link_in_its_text_its_html_and_its_headers(house, invite, mailbox, settings):
    invite(DORA)
    assert deliver_one(house)
    (letter,) = mailbox.mails
    link = blocked_addresses.link(DORA)
    for kind in ("plain", "html"):
        assert link in letter.get_body((kind,)).get_content()
    assert letter["List-Unsubscribe"] == f"<{link}>"
    assert DORA not in link
    assert letter["List-Unsubscribe-Post"] is None  # RFC 8058 has it for https alone


@pytest.mark.parametrize("settings", [{"PUBLIC_URL": "https://invites.example.org/join"}], indirect=True)
def test_at_an_https_address_a_mail_program_needs_one_click(house, settings):
    with house.writing():
        invites.create(drafts.read({"email": DORA}), drafts.SHELL, mailed=True)
    with house.reading() as unit:
        message = mail.compose(unit.session.query(Letter).one())
    assert message["List-Unsubscribe"].startswith("<https://invites.example.org/join/unsubscribe?")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


def test_no_other_mail_has_the_link(house, client, mailbox):
    client.post("/auth/register/start", json={"email": DORA})
    assert deliver_one(house)
    (letter,) = mailbox.mails
    assert letter["List-Unsubscribe"] is None
    assert "unsubscribe" not in letter.as_string()


def test_opening_the_link_changes_nothing(client, stop, blocked):
    for method in ("GET", "HEAD", "GET"):
        assert client.open(stop(), method=method).status_code == 200
    assert not blocked()
    assert "<button>Do not send me invitations</button>" in client.get(stop()).text


def test_its_button_stops_invitations_and_pressed_twice_it_says_the_same(client, stop, blocked, house):
    path = re.search(r'action="([^"]+)"', client.get(stop()).text)[1]
    for _ in range(2):
        answer = client.post(path)
        assert (answer.status_code, answer.location) == (303, stop())
        assert blocked()
    page = client.get(stop())
    assert "No more invitations by mail" in page.text
    assert "<button" not in page.text
    with house.reading() as unit:
        assert unit.session.query(BlockedAddress).count() == 1


@pytest.mark.parametrize("site", [None, "cross-site"])
def test_a_mail_programs_one_click_stops_them_without_a_redirect(client, stop, blocked, site):
    headers = {"Sec-Fetch-Site": site} if site else {}
    answer = client.post(stop(), data={"List-Unsubscribe": "One-Click"}, headers=headers)
    assert answer.status_code == 200
    assert "No more invitations by mail" in answer.text
    assert blocked()


def test_who_is_signed_in_makes_no_difference(client, alice, stop, blocked):
    browser = Browser(client)
    browser.sign_in("alice")
    assert client.post(stop()).status_code == 303
    assert blocked()
    assert not blocked("alice@example.org")


def test_a_link_that_is_not_ours_does_nothing(client, house, stop, tmp_path):
    path, token = stop().split("?")
    with in_force(make_settings(tmp_path / "another", SECRET_KEY="the secret of another site")):
        others = blocked_addresses.link(DORA).partition("?")[2]
    hashed = tokens.address_hashes(DORA)[0]
    forged = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(len(token))]
    forged += [others, hashed, DORA, "", tokens.sign("cookie", hashed), tokens.sign("no invitations", [hashed])]
    for each in forged:
        assert client.get(f"{path}?{each}").status_code == 404
        assert client.post(f"{path}?{each}", data={"List-Unsubscribe": "One-Click"}).status_code == 404
    with house.reading() as unit:
        assert unit.session.query(BlockedAddress).count() == 0


def test_the_link_works_years_later_and_under_a_former_secret(client, house, settings, tmp_path, stop, blocked):
    path = stop()
    later = make_settings(
        tmp_path / "instance",
        SECRET_KEY="a secret that came much later",
        SECRET_KEY_FALLBACKS=settings.secrets[0].decode(),
    )
    with time_machine.travel(clock.now() + 3000 * clock.DAY), in_force(later):
        later_client = create_app(later).test_client()
        assert later_client.post(path).status_code == 303
        assert "No more invitations" in later_client.get(path).text
        assert blocked()
        with house.writing():
            assert blocked_addresses.unblock_address(DORA)
        assert not blocked()


def test_the_address_itself_is_not_stored(house, block, meddle):
    block()
    ((hashed,),) = meddle("SELECT hash FROM blocked_addresses")
    assert hashed == tokens.address_hashes(DORA)[0] != tokens.digest(DORA)


# Who is blocked gets none, from anyone


def test_an_address_is_blocked_however_it_is_written(client, invite, stop):
    client.post(stop())
    for each in ("Dora@Example.ORG", " dora@example.org ", "DORA@EXAMPLE.ORG"):
        refused = invite(each)
        assert (refused.status_code, refused.json["code"]) == (400, "MAIL_UNWANTED")
        assert [each["field"] for each in refused.json["errors"]] == ["email"]
    assert invite("dora@example.com").status_code == 201


def test_a_tag_in_the_address_makes_no_other_person_of_it(client, invite, stop, house, blocked):
    client.post(stop("dora+news@example.org"))
    for each in (DORA, "dora+news@example.org", "dora+more@example.org"):
        assert invite(each).json["code"] == "MAIL_UNWANTED"
    assert invite("dorata@example.org").status_code == 201
    with house.writing():
        assert blocked_addresses.unblock_address("dora+more@example.org")
        blocked_addresses.block(tokens.address_hashes("erin+old@example.org")[0])  # as before tags were left out
    assert not blocked()
    assert (blocked("erin+old@example.org"), blocked("erin@example.org")) == (True, False)


def test_a_refused_mail_writes_nothing_and_the_invite_may_be_created_without(client, house, block, invite, stored_rows):
    block()
    before = stored_rows()
    assert invite(DORA).status_code == 400
    assert stored_rows() == before
    with house.writing():
        assert invites.create(drafts.read({"email": DORA}), drafts.SHELL)


def test_programs_and_admins_are_told_too(client, house, block, key, root):
    block()
    bearer = {"Authorization": f"Bearer {key}"}
    refused = client.post("/v1/invites", json={"email": DORA, "mail": True}, headers=bearer)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (400, "email")
    many = {"invites": [{"email": "erin@example.org", "mail": True}, {"email": DORA, "mail": True}]}
    refused = client.post("/v1/invites", json=many, headers=bearer)
    assert [(each["index"], each["field"]) for each in refused.json["errors"]] == [(1, "email")]
    made = client.post("/v1/invites", json={"email": DORA}, headers=bearer).json["invite"]
    assert client.post(f"/v1/invites/{made['id']}/resend", headers=bearer).status_code == 400
    admin = Browser(client.application.test_client())
    admin.sign_in("root")
    page = admin.post("/admin/invites", once="once-once", email=DORA, mail="on")
    assert page.status_code == 422
    assert re.search(r'id="email-problem">Takes no invitations by mail', page.text)
    with house.reading() as unit:
        assert unit.session.query(Letter).count() == 0


def test_a_new_link_for_who_is_blocked_is_not_mailed(house, block):
    with house.writing():
        made = invites.create(drafts.read({"email": DORA}), drafts.SHELL, mailed=True).id
        block_now = tokens.address_hashes(DORA)[0]
        blocked_addresses.block(block_now)
        changing.rotate(invites.find_by_id(made))
        with pytest.raises(MailUnwanted):
            changing.resend(invites.find_by_id(made))
    with house.reading() as unit:
        assert unit.session.query(Letter).count() == 1


def test_mail_that_waits_when_its_person_wants_no_more_is_not_sent(house, invite, mailbox, block):
    invite(DORA)
    block()
    assert deliver_one(house)
    assert mailbox.mails == []
    with house.reading() as unit:
        assert unit.session.query(Letter).one().state == "dropped"


def test_codes_and_links_for_a_new_password_still_come(house, client, mailbox, block, alice):
    block()
    block("alice@example.org")
    client.post("/auth/register/start", json={"email": DORA})
    with house.writing():
        registration.send_reset("alice@example.org")
    while deliver_one(house):
        pass
    assert {each["To"] for each in mailbox.mails} == {DORA, "alice@example.org"}


def test_an_invitation_that_was_mailed_before_stays_good(house, client, invite, mailbox, stop):
    invite(DORA)
    deliver_one(house)
    client.post(stop())
    token = urlsplit(mailbox.link()).query
    body = {"invite_token": token, "email": DORA, "password": PASSWORD}
    assert client.post("/auth/register/with-invite", json=body).status_code == 200


def test_the_command_blocks_lists_and_unblocks(invite_api, house, blocked):
    assert invite_api("outbox", "blocked").stdout == ""
    assert invite_api("outbox", "block", "Dora@Example.org").returncode == 0
    assert blocked()
    line = invite_api("outbox", "blocked").stdout
    assert line == invite_api("outbox", "blocked", DORA).stdout
    assert line.startswith(f"{tokens.address_hashes(DORA)[0][:8]}\t")
    assert invite_api("outbox", "blocked", "erin@example.org").stdout == ""
    refused = invite_api("invite", "create", "--email", DORA, "--mail")
    assert refused.returncode == 1
    assert "--email: takes no invitations by mail" in refused.stderr
    assert invite_api("outbox", "unblock", DORA).stderr == ""
    assert not blocked()
    assert invite_api("outbox", "unblock", DORA).stderr == "Note: this address was not blocked\n"
    wrong = invite_api("outbox", "block", "dora")
    assert (wrong.returncode, wrong.stderr.partition(":")[0]) == (1, "Error")
    assert "ADDRESS" in wrong.stderr


def test_a_damaged_link_is_a_refusal(house):
    with house.reading(), pytest.raises(BlockingLinkInvalid):
        blocked_addresses.read("nonsense")
