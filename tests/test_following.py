"""Who follows what happens with `GET /v1/events` misses nothing and is told nothing twice, whoever writes meanwhile."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event as Signal

import pytest
import time_machine

import clock
from models import Event
from rules import events, keys
from settings import in_force

WRITERS, UNITS = 4, 30
UNBOUND = 2**63 - 1


@pytest.fixture
def poll(client, house):
    """What asks for what is new since the last time."""
    with house.writing():
        shown = {"Authorization": f"Bearer {keys.create('follower', may=['read'])}"}
    place = {}

    def ask():
        page = client.get("/v1/events", query_string={"limit": 7, **place}, headers=shown)
        assert page.status_code == 200, page.text
        place["cursor"] = page.json["next"]
        return [each["id"] for each in page.json["events"]]

    return ask


@pytest.fixture
def written(house):
    """The ids of all events, in the order of their numbers."""

    def look():
        with house.reading() as unit:
            return [each.id for each in unit.session.query(Event).order_by(Event.number)]

    return look


@pytest.fixture
def followed(settings, house, poll):
    """What a follower is told while several write, in units that end in another order than they began."""

    def write(seed):
        chance = random.Random(seed)
        for _ in range(UNITS):
            with in_force(settings), house.writing():
                for _ in range(chance.choice((0, 1, 2))):  # a unit that tells nothing, and one that tells twice
                    events.record("invite.changed", invite_id=clock.new_id(), facts={"fields": ["note"]})
                    time.sleep(chance.choice((0, 0.002, 0.02)))

    def follow():
        told, over = [], Signal()
        with ThreadPoolExecutor(WRITERS + 1) as pool:
            writing = [pool.submit(write, seed) for seed in range(WRITERS)]
            pool.submit(lambda: ([each.result() for each in writing], over.set()))
            while not over.is_set():
                told += poll()
        for each in writing:
            each.result()
        while new := poll():
            told += new
        return told

    return follow


def test_who_follows_several_writers_is_told_everything_once_in_its_order(followed, written):
    told = followed()
    assert told == written()
    assert len(told) > WRITERS * UNITS / 2


def test_what_is_not_there_yet_holds_back_what_was_numbered_after_it(settings, house, poll, written):
    """On SQLite the second unit waits for the first; on PostgreSQL it is committed first, with the greater number."""
    told, may_end = poll(), Signal()

    def slowly():
        with in_force(settings), house.writing():
            events.record("invite.changed", facts={"fields": ["name"]})
            assert may_end.wait(30)

    def at_once():
        with in_force(settings), house.writing():
            events.record("invite.changed", facts={"fields": ["note"]})

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slowly)
        time.sleep(0.3)
        second = pool.submit(at_once)
        time.sleep(0.3)
        assert second.done() == (not settings.on_sqlite)
        assert poll() == []
        may_end.set()
        first.result()
        second.result()
    told += poll()
    assert told == written()


def test_a_clock_that_leaps_hides_nothing(house, poll, written):
    told = poll()
    for moment in ("2031-01-03", "2031-01-01", "2031-01-02", "2021-01-01"):
        with time_machine.travel(moment, tick=False), house.writing():
            events.record("invite.changed", facts={"fields": ["note"]})
        told += poll()
    assert told == written()
    assert len(told) == 5  # and the key that was created


def test_without_a_bound_something_would_be_missed(settings, house, followed, written, monkeypatch):
    if settings.on_sqlite:  # one writes at a time, so that nothing is ever bound
        assert house.settled() == UNBOUND
        return
    monkeypatch.setattr("dialects.v1.settled", lambda: UNBOUND)
    assert followed() != written()
