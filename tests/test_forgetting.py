"""What is over is deleted after a while, and what is not, or is history, stays."""

import pytest
import time_machine
from sqlalchemy import func, select

import clock
from conftest import make_settings, wait_for
from models import AccessToken, Code, Counter, Invite, Letter, Pass, Redemption, Session, User
from rules import (
    accounts,
    counters,
    drafts,
    forgetting,
    gate,
    invites,
    outbox,
    passes,
    projects,
    registration,
    sessions,
)
from rules.refusals import RateLimited
from upkeep import caretaker
from upkeep.caretaker import Caretaker, forget_some

TABLES = (AccessToken, Session, Code, Letter, Counter, Invite, Pass, Redemption, User)


@pytest.fixture
def settings(tmp_path):
    from settings import in_force

    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open")) as chosen:
        yield chosen


@pytest.fixture
def left(house):
    """How many rows each table has, after what is over at that time was deleted."""

    def look(later):
        with time_machine.travel(clock.now() + later, tick=False):
            while forget_some(house):
                pass
        with house.reading() as unit:
            return {each: unit.session.scalar(select(func.count()).select_from(each)) for each in TABLES}

    return look


@pytest.fixture
def lived_in(house, alice, make_invite, use):
    """A house with two sessions, a code, three letters, two passes, one of them for a day, and a failed password."""
    use(make_invite())
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        gate.set_origins("tea-garden", ["https://garden.example.org"])
        for lifetime in (clock.DAY, None):
            passes.create(projects.member("tea-garden", accounts.named("alice")), lifetime=lifetime)
        registration.start("new@example.org")
        registration.send_reset("alice@example.org")
        invites.create(drafts.read({"email": "dora@example.org"}), drafts.SHELL, mailed=True)
        counters.count("login", "somebody")
    with house.writing() as unit:
        for each in unit.session.query(Letter):
            each.due_at, each.sent_at = None, clock.now()


def test_nothing_is_deleted_before_its_time(lived_in, left):
    before = left(-clock.HOUR)
    assert left(-clock.SECOND) == before
    after = left(50 * clock.MINUTE)
    assert after == before


def test_what_opens_nothing_any_more_is_deleted_and_history_stays(lived_in, left):
    before = left(clock.SECOND)
    day = left(2 * clock.DAY)
    assert (before[AccessToken], day[AccessToken]) == (1, 0)
    assert (before[Code], day[Code]) == (1, 0)
    assert (day[Session], day[Letter]) == (1, 3)
    assert (left(31 * clock.DAY - clock.HOUR)[Pass], left(31 * clock.DAY)[Pass]) == (2, 1)
    year = left(400 * clock.DAY)
    assert (year[Session], year[Letter]) == (0, 1)
    for each in (Invite, Redemption, User):
        assert year[each] == before[each] > 0
    assert year[Pass] == 1


def test_a_failed_password_is_never_forgotten(lived_in, left, house):
    left(400 * clock.DAY)
    with house.writing():
        assert counters.count("login", "somebody") == 2


def test_a_letter_that_waits_is_not_deleted(house, left):
    with house.writing():
        registration.start("new@example.org")
    assert left(400 * clock.DAY)[Letter] == 1


def test_the_limits_of_a_day_are_kept_for_a_day(house, left):
    with house.writing():
        outbox.limit_mails("reset", "anne@example.org", (1, clock.DAY))
    later = 23 * clock.HOUR
    assert left(later)[Counter] == 1
    with time_machine.travel(clock.now() + later), pytest.raises(RateLimited), house.writing():
        outbox.limit_mails("reset", "anne@example.org", (1, clock.DAY))


def test_what_is_renewed_after_it_was_found_stays(house, alice):
    with time_machine.travel(clock.now() + sessions.LIFETIME + clock.DAY, tick=False):
        with house.reading():
            found = list(forgetting.deletions())
        with house.writing() as unit:
            unit.session.query(Session).one().expires_at = clock.now() + clock.DAY
        for each in found:
            with house.writing() as unit:
                unit.session.execute(each.execution_options(synchronize_session=False))
    assert len(sessions_in(house)) == 1


def test_much_is_deleted_bit_by_bit(house, alice, left, monkeypatch):
    monkeypatch.setattr(forgetting, "AT_ONCE", 2)
    for _ in range(4):
        alice.sign_in()
    with time_machine.travel(clock.now() + 400 * clock.DAY, tick=False):
        forget_some(house)
        with house.reading() as unit:
            assert unit.session.scalar(select(func.count()).select_from(Session)) == 3
    assert left(400 * clock.DAY)[Session] == 0


def test_the_server_does_so_by_itself(serve, house, alice):
    with time_machine.travel(clock.now() - 400 * clock.DAY):
        alice.sign_in()
    assert len(list(sessions_in(house))) == 2
    serve()
    wait_for(lambda: len(list(sessions_in(house))) == 1)


def sessions_in(house):
    with house.reading() as unit:
        return unit.session.scalars(select(Session.id)).all()


@pytest.mark.sqlite
def test_a_caretaker_whose_database_cannot_be_used_says_so_and_comes_again(house, settings, monkeypatch, caplog):
    import database

    monkeypatch.setattr(caretaker, "PAUSE", 0.01)
    path = database.files.file_of(settings)
    path.rename(path.with_name("elsewhere"))
    working = Caretaker(house, settings)
    working.start()
    wait_for(lambda: caplog.text.count("expired data cannot be deleted") > 1)
    assert working.is_alive()
    working.stop()
    assert not working.is_alive()
