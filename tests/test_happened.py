"""What happened is told once, in the unit in which it happens, and stays told: by upgrades, restores and moves, too."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import time_machine
from sqlalchemy import delete, func, select, text

import clock
import database
from conftest import HASH, make_settings
from database.postgresql import Postgresql
from models import Event, Invite
from rules import (
    accounts,
    changing,
    drafts,
    events,
    expiry,
    invites,
    keys,
    legacy,
    projects,
    redemption,
    timeline,
    waiting,
)
from rules.timeline import Filter
from settings import in_force
from upkeep import backfill, caretaker, transfer
from upkeep.caretaker import forget_some

EVERYTHING = Filter()


@pytest.fixture
def told(house):
    """What is told: the types and what they are about, in the order of commits."""

    def look(wanted=EVERYTHING, after=0):
        with house.reading():
            return [(each.type, each.actor) for each in timeline.oldest(wanted, after)]

    return look


def furnish():
    """Some of everything that can happen, inside a unit of work."""
    anne, bob, dora = (accounts.create(accounts.Names(name), HASH) for name in ("anne", "bob", "dora"))
    accounts.set_admin(anne, True)
    garden = projects.create(anne, projects.ProjectDraft("Tea Garden"))
    made = [
        invites.create(drafts.read({"project": garden.slug}), accounts.as_inviter(anne)),
        invites.create(drafts.read({"email": "erin@example.org"}), accounts.as_inviter(bob), mailed=True),
        invites.create(drafts.read({}), keys.authenticate(keys.create('"laptop\\')).inviter),
        invites.create(drafts.read({"ttl": "1m"}), accounts.as_inviter(anne)),
    ]
    redemption.accept(invites.token(made[0]), bob)
    legacy.use(legacy.create(drafts.SHELL))
    changing.revoke(made[2])
    accounts.disable(bob)
    projects.delete(projects.create(anne, projects.ProjectDraft("Shed")).slug)
    return dora


def rows(unit):
    columns = Event.type, Event.at, Event.invite_id, Event.project_id, Event.user_id, Event.actor_id, Event.facts
    return set(map(tuple, unit.session.execute(select(*columns))))


def test_what_a_migration_tells_is_what_was_told_when_it_happened(house, settings):
    with time_machine.travel(clock.now() - clock.HOUR, tick=False), house.writing():
        dora = furnish()
        accounts.remove(dora)
    while caretaker.end_some(house):
        pass
    with house.writing() as unit:
        live = rows(unit)
        unit.session.execute(delete(Event))
    house.close()
    retold = []
    for _ in range(2):  # the second time as after a kill: the same
        with database.exclusive(settings) as opened, opened.changing():
            opened.execute("DELETE FROM events")
            for each in ("type", "actor", "invite", "project", "user"):
                opened.execute(f"DROP INDEX events_of_{each}")
            backfill.record_former_events(opened)
            retold.append(opened.execute("SELECT at, type, invite_id, user_id FROM events ORDER BY number").fetchall())
    assert retold[0] == retold[1]
    with house.reading() as unit:
        retold = rows(unit)
        unknown = {"user.admin", "user.disabled", "user.deleted", "project.created", "project.deleted", "key.created"}
        unknown |= {"invite.revoked"}
        for each in live - retold:  # of these no table says who did it, or to whom
            assert each[0] in unknown | {"user.created"}, each
        assert {each[:4] for each in retold} <= {each[:4] for each in live}
        assert {each[0] for each in live} == {each[0] for each in retold}
        order = [each.type for each in timeline.oldest(EVERYTHING, 0)]
        assert order.index("user.created") < order.index("invite.used") < order.index("invite.expired")
        made = [
            (unit.session.get(Event, each.created_event).type, unit.session.get(Event, each.created_event).invite_id)
            for each in unit.session.query(Invite)
        ]
        assert made == [("invite.created", each.id) for each in unit.session.query(Invite)]


def test_the_name_of_a_deleted_account_is_erased_from_what_it_did(house, alice, told):
    with house.writing():
        user = accounts.named("alice")
        invites.create(drafts.read({}), accounts.as_inviter(user))
        with events.acting(events.person(user)):
            accounts.remove(user)
    assert {who for what, who in told() if what != "user.created"} == {"a deleted account"}
    with house.reading() as unit:
        assert "alice" not in str(rows(unit))


def test_an_invite_expires_once_however_many_look(house, settings, make_invite, told):
    make_invite(ttl="1m")

    def look(_):
        with in_force(settings):
            return caretaker.end_some(house)

    with time_machine.travel(clock.now() + clock.HOUR, tick=False), ThreadPoolExecutor(4) as many:
        list(many.map(look, range(8)))
        assert told(Filter(types=["invite.expired"])) == [("invite.expired", "invite-api")]
        assert not caretaker.end_some(house)


def test_what_another_caretaker_told_meanwhile_is_not_told_again(house, make_invite, told):
    make_invite(ttl="1m")
    with time_machine.travel(clock.now() + clock.HOUR, tick=False):
        with house.reading():
            found = expiry.unrecorded()
        for _ in range(2):
            with house.writing():
                expiry.record_expired(found)
    assert len(told(Filter(types=["invite.expired"]))) == len(found) == 1


def test_an_invite_that_is_extended_expires_again(house, make_invite, told):
    token = make_invite(ttl="1m")
    now = clock.now()
    with time_machine.travel(now + clock.HOUR, tick=False):
        caretaker.end_some(house)
        with house.writing():
            changing.extend(invites.find(token), clock.HOUR)
        assert not caretaker.end_some(house)
    with time_machine.travel(now + 3 * clock.HOUR, tick=False):
        assert caretaker.end_some(house)
        assert not caretaker.end_some(house)
    with house.reading():
        whats = [each.what for each in timeline.of_invite(invites.find(token))]
    assert whats == ["made", "expired", "extended", "expired"]


def test_nothing_that_expires_is_left_out_when_the_clock_was_ahead(house, make_invite, told):
    now = clock.now()
    with time_machine.travel(now, tick=False):
        make_invite(ttl="60d")
        make_invite(ttl="2h")
    with time_machine.travel(now + 300 * clock.DAY, tick=False):
        with house.writing() as unit:  # the other is not there yet, for whose sake this is
            unit.session.execute(
                text("UPDATE invites SET revoked_at = expires_at WHERE expires_at < :at"),
                {"at": (now + clock.DAY).replace(tzinfo=None)},
            )
        caretaker.end_some(house)
    with time_machine.travel(now + 3 * clock.HOUR, tick=False):
        with house.writing() as unit:
            unit.session.execute(text("UPDATE invites SET revoked_at = NULL"))
        caretaker.end_some(house)
    assert len(told(Filter(types=["invite.expired"]))) == 2


def test_an_invite_whose_last_use_is_denied_long_after_its_time_expired_then(house, make_invite, alice, told):
    """While that waited it was used; others have expired since, and were told of before."""
    now = clock.now()
    with time_machine.travel(now, tick=False):
        asked = make_invite(ttl="1d", approve=True)
        make_invite(ttl="3d")
        with house.writing():
            redemption.accept(asked, accounts.named("alice"))
    with time_machine.travel(now + 3 * clock.DAY, tick=False):
        caretaker.end_some(house)
        assert len(told(Filter(types=["invite.expired"]))) == 1
    with time_machine.travel(now + 5 * clock.DAY, tick=False):
        with house.writing():
            (use,) = waiting.of_invite(invites.find(asked))
            waiting.deny(use.id)
        for _ in range(2):
            caretaker.end_some(house)
    assert len(told(Filter(types=["invite.expired"]))) == 2


def test_what_happened_is_kept_as_long_as_the_operator_says(house, settings, make_invite, tmp_path):
    make_invite()
    with time_machine.travel(clock.now() + 40 * clock.DAY, tick=False):
        make_invite()
        assert not forget_some(house)
        with in_force(make_settings(tmp_path / "instance", EVENTS_KEPT="30d")):
            assert forget_some(house)
            assert not forget_some(house)
    month = make_settings(tmp_path / "instance", EVENTS_KEPT="30d")
    with time_machine.travel(clock.now() + 400 * clock.DAY, tick=False), in_force(month):
        assert not forget_some(house)  # the last one stays, so that its number is not given again
    with house.reading() as unit:
        assert unit.session.scalars(select(Event.number)).all() == [2]


def test_numbers_go_on_where_they_were_after_a_move(house, settings, make_invite, tmp_path):
    for _ in range(3):
        make_invite()
    house.close()
    there = make_settings(tmp_path / "elsewhere")
    transfer.copy(settings, there)
    moved = database.open_database(there)
    with in_force(there), moved.writing():
        invites.create(drafts.read({}), drafts.SHELL)
    with moved.reading() as unit:
        assert unit.session.scalars(select(Event.number).order_by(Event.number)).all() == [1, 2, 3, 4]
    moved.close()


def follow(house, until_all, seen, settle=True):
    """What a program does that follows what happens: it reads on from the last number it has seen."""
    while not until_all():
        until = house.settled() if settle else None
        with house.reading():
            seen += [each.number for each in timeline.oldest(EVERYTHING, seen[-1] if seen else 0, until)]


@pytest.mark.parametrize("settle", [True, False])
def test_who_follows_misses_nothing_that_is_committed_late(house, settle):
    """Each of eight writers tells, waits, and commits; the negative control reads on without asking what is settled."""
    each, writers = 12, 8
    seen: list[int] = []
    done = threading.Event()

    def write(writer):
        for number in range(each):
            with house.writing():
                events.record("invite.changed", facts={"writer": writer, "number": number})
                done.wait(0.001 * (writer * 7 % 5))
        house.close() if isinstance(house, Postgresql) else None

    follower = threading.Thread(target=follow, args=(house, done.is_set, seen, settle))
    follower.start()
    with ThreadPoolExecutor(writers) as many:
        list(many.map(write, range(writers)))
    last = [False]

    def once():
        last[0], before = True, last[0]
        return before

    done.set()
    follower.join()
    follow(house, once, seen, settle)
    with house.reading() as unit:
        there = unit.session.scalars(select(Event.number).order_by(Event.number)).all()
        assert unit.session.scalar(select(func.count()).select_from(Event)) == each * writers
    assert (seen == there) is (settle or not isinstance(house, Postgresql))  # SQLite has one writer
