"""A clock that leapt ahead and is right again: what happened meanwhile holds nobody up until then."""

from datetime import timedelta

import pytest
import time_machine

import clock
from conftest import HASH, make_settings
from database import session
from delivery.outbox import deliver_one
from rules import accounts, counters, drafts, invites, outbox, sessions
from rules.refusals import RateLimited
from settings import in_force

LEAP = 10 * clock.DAY


@pytest.fixture
def anne(house):
    """An account's id."""
    with house.writing():
        return accounts.create(accounts.Names("anne", "anne@example.org"), HASH).id


def test_mails_are_limited_by_the_time_that_has_passed(house, anne):
    with time_machine.travel(clock.now() + LEAP), house.writing():
        outbox.limit_mails("reset", "anne@example.org", (1, clock.MINUTE))
    with house.writing():
        outbox.limit_mails("reset", "anne@example.org", (1, clock.MINUTE))
    with pytest.raises(RateLimited), house.writing():
        outbox.limit_mails("reset", "anne@example.org", (1, clock.MINUTE))


def test_a_limit_holds_between_servers_whose_clocks_differ_a_little(house):
    now = clock.now()
    for number in range(1, 5):
        with time_machine.travel(now + timedelta(seconds=number % 2)), house.writing():
            assert counters.count("short code", "192.0.2.1", clock.MINUTE) == number


def test_a_replayed_refresh_token_ends_the_session_also_after_a_leap(house, anne):
    with house.writing():
        first = sessions.start(session().get_one(accounts.User, anne)).refresh
    with time_machine.travel(clock.now() + LEAP), house.writing():
        assert sessions.refresh(first)
    with time_machine.travel(clock.now() + clock.HOUR), house.writing():
        assert sessions.refresh(first) is None


def test_a_letter_is_sent_that_was_written_during_a_leap(house, smtp, mailbox, tmp_path):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=smtp)):
        with time_machine.travel(clock.now() + LEAP), house.writing():
            invites.create(drafts.read({"email": "anne@example.org", "ttl": "30d"}), drafts.SHELL, mailed=True)
        assert deliver_one(house)
        assert not deliver_one(house)
    assert len(mailbox.mails) == 1
