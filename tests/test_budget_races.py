"""People who create at the same moment never have more than their budget together, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from conftest import HASH, opened_on
from database.statements import Statement
from models import Invite
from rules import accounts, budgets, invites
from rules.drafts import Draft
from rules.refusals import BudgetSpent
from settings import in_force

pytestmark = [pytest.mark.long, pytest.mark.own_postgresql, pytest.mark.xdist_group("postgresql")]

MAKERS, PLACES = 64, 5


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """A database in which alice can invite five people, and its settings."""
    with opened_on(request.param, request, tmp_path) as (house, settings):
        with house.writing():
            budgets.set_budget(accounts.create(accounts.Names("alice"), HASH), f"{PLACES}/30d")
        yield house, settings


def create(place, before=lambda: None, after=lambda: None):
    """Create an invite as alice; whether that was allowed."""
    house, settings = place
    with in_force(settings):
        try:
            with house.writing():
                before()
                invites.create_token(Draft(), accounts.as_inviter(accounts.named("alice")))
                after()
        except BudgetSpent:
            return False
        finally:
            house.close()  # this thread's connection
        return True


def created(place):
    with place[0].reading() as unit:
        return unit.session.query(Invite).count()


def test_sixty_four_at_once_get_as_many_as_there_are(place):
    start = Barrier(MAKERS)

    def attempt():
        start.wait()
        return create(place)

    with ThreadPoolExecutor(MAKERS) as pool:
        done = [each.result() for each in [pool.submit(attempt) for _ in range(MAKERS)]]
    assert sum(done) == created(place) == PLACES


def race_for_the_last(place):
    """Have two create an invite at the same moment, when there is room for one; whether each was allowed."""
    for _ in range(PLACES - 1):
        create(place)
    has_created, has_begun = Event(), Event()

    def first():
        def wait():
            has_created.set()
            has_begun.wait(0.5)  # on SQLite, and with the lock, the other one cannot go on before this is over

        return create(place, after=wait)

    def second():
        has_created.wait()
        return create(place, after=has_begun.set)

    with ThreadPoolExecutor(2) as pool:
        return [each.result() for each in (pool.submit(first), pool.submit(second))]


def test_of_two_who_want_the_last_place_one_gets_it(place):
    assert race_for_the_last(place) == [True, False]
    assert created(place) == PLACES


def test_without_the_lock_both_would_get_it(place, monkeypatch):
    """So the race is one. On SQLite, where all who write wait for each other, both look before they write."""
    house, settings = place
    if not settings.on_sqlite:
        monkeypatch.setattr(budgets, "_PERSON_HELD", Statement(budgets._person))
        assert race_for_the_last(place) == [True, True]
        assert created(place) == PLACES + 1
        return
    for _ in range(PLACES - 1):
        create(place)
    looked = Barrier(2)

    def look_and_create():
        with in_force(settings):
            with house.reading():
                is_allowed = budgets.left(accounts.named("alice")).places > 0
            looked.wait()
            with house.writing() as unit:
                made = invites.prepare(Draft(), accounts.as_inviter(accounts.named("alice")))
                unit.session.add(made)
            house.close()
            return is_allowed

    with ThreadPoolExecutor(2) as pool:
        done = [each.result() for each in [pool.submit(look_and_create) for _ in range(2)]]
    assert done == [True, True]
    assert created(place) == PLACES + 1
