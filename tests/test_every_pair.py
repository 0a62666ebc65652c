"""Any two of all that is written, on the same rows of PostgreSQL: none of them waits in a circle.

Two can only wait for each other if both lock the same row, or write the same value where it may be there once; what
each does of that is looked at first. Of two that can, one is halted after each of its statements that locks something.
There the other one begins, on a connection of its own, and goes on until it ends or waits for the first, which then
goes on to its end. If each of them has something that the other wants, that is found so, whichever of them is the
slower one: what one holds at a later halt it holds a superset of, and what the other then gets is no more. Neither is
kept, so that all find the same rows.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

import psycopg
import pytest

import database
import writers
from app import ROUTES
from conftest import make_settings
from database import Database, Unavailable, session
from rules import accounts
from rules.refusals import Refusal
from settings import Settings, in_force
from web.map import Work

pytestmark = [pytest.mark.xdist_group("postgresql"), pytest.mark.own_postgresql, pytest.mark.long]

_LOCKS = re.compile(r"\s*(INSERT|UPDATE|DELETE)|.*\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)", re.DOTALL)
_WAITS = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
_WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE) (\w+)")
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_UNIQUE = """
    SELECT indrelid::regclass::text, attname::text FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) WHERE indisunique
"""
_ROW_LOCKS = "SELECT locked_row::text, modes FROM pgrowlocks(%s)"
_ADVISORY = "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND pid = %s"
# How pgrowlocks calls what is done to a row, the weakest first; which two of them wait for each other.
_MODES = ("Key Share", "Share", "No Key Update", "Update")
_COMPATIBLE = {(0, 0), (0, 1), (0, 2), (1, 1)}


class Undone(Exception):
    """Raised at the end of a unit of work, so that nothing of it is kept."""


class Halting(psycopg.Cursor):
    """A cursor that calls `halt` with each statement that locks rows and its parameters, before or after it is done."""

    def __init__(
        self, connection: psycopg.Connection, halt: Callable[..., None], before: bool = False, **named
    ) -> None:
        super().__init__(connection, **named)
        self._halt, self._before = halt, before

    def execute(self, query, params=None, **named):
        locks = _LOCKS.match(str(query))
        if locks and self._before:
            self._halt(str(query), params)
        done = super().execute(query, params, **named)
        if locks and not self._before:
            self._halt(str(query), params)
        return done


class Footprint(NamedTuple):
    """What a unit does that others may wait for.

    `rows` are the rows it locks, and how strongly; `values` are those it writes into columns where each is there once.
    """

    rows: dict[object, int]
    values: set[object]

    def waits_for(self, other: "Footprint") -> bool:
        """Whether both lock a row in ways that exclude each other."""
        common = self.rows.keys() & other.rows.keys()
        return any(tuple(sorted((self.rows[each], other.rows[each]))) not in _COMPATIBLE for each in common)

    def may_wait_for(self, other: "Footprint") -> bool:
        """Whether both write the same value into a column where it may be there once."""
        return bool(self.values & other.values)


class Meeting:
    """Two connections, and a third one that sees whether the second waits."""

    def __init__(self, house: Database, settings: Settings) -> None:
        self.house, self.settings = house, settings
        self.others = ThreadPoolExecutor(1)
        self.observer = psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True)
        self.observer.execute("CREATE EXTENSION IF NOT EXISTS pgrowlocks")
        self._tables = [name for (name,) in self.observer.execute(_TABLES)]
        self._unique = set(self.observer.execute(_UNIQUE))

    def footprint(self, unit: writers.Unit) -> Footprint:
        """What a unit locks, and what it writes that may be there once."""
        found = Footprint({}, set())

        def note(statement: str, parameters: dict[str, object] | None) -> None:
            if written := _WRITES.match(statement):
                for name, value in (parameters or {}).items():
                    column = written[1], name.partition("__")[0]
                    if column in self._unique:
                        found.values.add((*column, value))

        def look() -> None:
            with suppress(Refusal):
                unit()
            session().flush()
            for table in self._tables:
                for row, modes in self.observer.execute(_ROW_LOCKS, [table]):
                    found.rows[table, row] = max(_MODES.index(each.removeprefix("For ")) for each in modes)
            process = session().connection().connection.driver_connection.info.backend_pid
            found.rows.update(dict.fromkeys(self.observer.execute(_ADVISORY, [process]), len(_MODES)))

        with self._cursors(note, before=True):
            assert self.undone(look) == ""
        return found

    def of(self, first: writers.Unit, second: writers.Unit) -> list[str]:
        """Have two units meet at every statement of the first; what went wrong, [] for nothing."""
        met: list[Future[str]] = []

        def halt(*_: object) -> None:
            if not met or (met[-1].done() and not met[-1].result()):
                met.append(self._begun(second))

        with self._cursors(halt):
            wrong = self.undone(first)
        return [each for each in (wrong, *(each.result(30) for each in met)) if each]

    def waiting(self, first: writers.Unit, others: Iterable[str], units: dict[str, writers.Unit]) -> list[str]:
        """The names of those units that wait for the first if that has locked all that it locks."""
        rest, found, met = list(others), [], []

        def meet_some() -> None:
            with suppress(Refusal):
                first()
            session().flush()
            while rest:
                met.append(self._begun(units[name := rest.pop()]))
                if not met[-1].done():
                    found.append(name)
                    return

        while rest:
            assert self.undone(meet_some) == ""
            assert met[-1].result(30) == ""
        return found

    def undone(self, unit: writers.Unit) -> str:
        """Do what a unit does, and keep nothing of it; what went wrong, "" for nothing."""
        try:
            with in_force(self.settings), self.house.writing() as opened:
                unit()
                opened.flush()
                raise Undone
        except (Undone, Refusal):
            return ""
        except Unavailable as error:
            return str(error)

    @contextmanager
    def _cursors(self, halt: Callable[..., None], before: bool = False) -> Iterator[None]:
        own = self._driver()
        own.cursor_factory = partial(Halting, halt=halt, before=before)
        yield
        own.cursor_factory = psycopg.Cursor

    def _driver(self) -> psycopg.Connection:
        with self.house.reading() as unit:
            return unit.connection.connection.driver_connection

    def _begun(self, unit: writers.Unit) -> "Future[str]":
        """A unit on the other connection, as soon as it has ended or waits for something."""
        process = self.others.submit(self._driver).result().info.backend_pid
        begun = self.others.submit(self.undone, unit)
        while not wait([begun], 0.002).done:
            if self.observer.execute(_WAITS, [process]).fetchone() == (True,):
                break
        return begun


@pytest.fixture(scope="module")
def meeting(tmp_path_factory, postgresql) -> Iterator[tuple[Meeting, writers.Place]]:
    url = postgresql.make_database("pairs")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER DATABASE pairs SET deadlock_timeout = '5ms'")
    settings = make_settings(
        tmp_path_factory.mktemp("pairs") / "instance", DATABASE_URL=url, REGISTRATION="open", LEGACY_CODES="on"
    )
    with in_force(settings), database.using(settings):
        house = database.open_database(settings)
        yield Meeting(house, settings), writers.Place(house)


@pytest.fixture(scope="module")
def footprints(meeting) -> dict[str, Footprint]:
    meet, place = meeting
    return {name: meet.footprint(unit) for name, unit in writers.all_of(place).items()}


NAMES = list(writers.all_of(None))

# What each call and form does, by its view: so a new one must be here.
DONE_BY = {
    "prosody.create_invite": "create by key, create by a preset",
    "agentbot.create_invite": "create",
    "agentbot.create_for_address": "create",
    "agentbot.generate": "create a short code",
    "agentbot.validate": "use a short code",
    "hitkey.accept_invite": "accept a mailed link, accept a link",
    "hitkey.register_with_invite": "register",
    "hitkey.login": "try to sign in, sign in",
    "hitkey.logout": "sign out",
    "hitkey.refresh_token": "refresh, replay",
    "hitkey.start_registration": "start to register",
    "hitkey.resend_code": "start to register, mail a code",
    "hitkey.verify_code": "try a code, prove by a code",
    "hitkey.choose_password": "complete",
    "hitkey.forgot_password": "forget a password",
    "hitkey.reset_password": "reset",
    "projects.create_project": "create a project",
    "projects.remove_member": "remove a member",
    "projects.invite_to_project": "invite to a project",
    "projects.revoke_invite": "revoke in a project",
    "projects.approve_use": "approve in a project",
    "projects.deny_use": "deny in a project",
    "pages.enter_code": "find by a short code",
    "pages.accept": "accept a mailed link, accept a link",
    "pages.decline": "decline",
    "pages.register": "register",
    "sign_in.start_registration": "start to register",
    "sign_in.choose_password": "complete",
    "sign_in.verify": "try a code, prove by a code",
    "sign_in.send_code": "start to register, mail a code",
    "sign_in.login": "try to sign in, sign in",
    "sign_in.logout": "sign out",
    "sign_in.send_reset": "forget a password",
    "sign_in.reset": "reset",
    "unsubscribe.stop": "block an address",
    "my_invites.create": "create an own invite, create an own invite to nothing",
    "my_invites.resend": "resend an own invite",
    "my_invites.revoke": "revoke an own invite",
    "account.rename": "rename",
    "account.change_password": "try the own password, confirm the own password, change the password",
    "account.create_pass": "create a pass",
    "account.delete_pass": "delete the own pass",
    "account.end_session": "end a session",
    "account.end_other_sessions": "end other sessions",
    "account.delete": "confirm the own password, delete the own account, delete an admin's own account",
    "admin.create_invites": "create on a page",
    "admin_guests.create_list": "add a list of guests, on a page",
    "admin.revoke_invite": "revoke, on a page",
    "admin.approve_use": "approve, on a page",
    "admin.deny_use": "deny, on a page",
    "admin.extend_invite": "extend",
    "admin.resend_invite": "resend",
    "admin.rotate_invite": "rotate",
    "admin_list.revoke_chosen": "revoke several, on a page",
    "admin_list.extend_chosen": "extend several, on a page",
    "admin_keys.create_key": "create a key",
    "admin_keys.delete_key": "delete a key",
    "admin_keys.create_preset": "create a preset",
    "admin_keys.delete_preset": "delete a preset",
    "admin_people.make_admin": "make an admin, on a page; unmake an admin, on a page",
    "admin_people.disable_person": "disable anne, on a page; enable",
    "admin_people.delete_person": "delete anne, on a page",
    "admin_people.create_project": "own, on a page",
    "admin_people.change_owner": "hand over, on a page",
    "admin_people.extend_member": "extend a member, on a page",
    "admin_people.remove_member": "remove a member by a site admin, on a page",
    "admin_people.set_origins": "set up a gate, take a gate away",
    "admin_people.delete_pass": "delete a pass, on a page",
    "admin_people.delete_pass_of": "delete the own pass",
    "admin_people.delete_project": "delete a project",
    "admin_webhooks.create_webhook": "create a webhook",
    "admin_webhooks.rotate_webhook": "rotate a webhook",
    "admin_webhooks.disable_webhook": "disable a webhook, enable a webhook",
    "admin_webhooks.test_webhook": "test a webhook",
    "admin_webhooks.retry_deliveries": "retry a delivery, retry all deliveries",
    "admin_webhooks.delete_webhook": "delete a webhook",
    "v1.create_invites": "create a list",
    "v1.change_invite": "change, by a program",
    "v1.revoke_invite": "revoke, by a program",
    "v1.rotate_invite": "rotate, by a program",
    "v1.resend_invite": "resend, by a program",
    "v1.approve_use": "approve, by a program",
    "v1.deny_use": "deny, by a program",
    "holds.take_hold": "find by a short code, hold, by a program",
    "holds.complete_hold": "complete a hold, by a program",
    "holds.release_hold": "release a hold, by a program",
    "manual.document": "",  # writes nothing
    "v1.list_events": "",
    "ops.ready": "",
}


def test_what_every_call_writes_is_here():
    rows = [row for dialect in ROUTES.values() for row in dialect if row.work in (Work.WRITES, Work.OWN)]
    assert set(DONE_BY) == {f"{row.view.__module__.removeprefix('dialects.')}.{row.view.__name__}" for row in rows}
    named = re.split(r", (?!on a page|by a program)|; ", ", ".join(filter(None, DONE_BY.values())))
    assert set(named) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_does_what_it_is_called(meeting, name):
    meet, place = meeting
    ends = Refusal if name in writers.refused(place) else Undone
    with pytest.raises(ends), meet.house.writing() as unit:
        writers.all_of(place)[name]()
        unit.flush()
        raise Undone


# A branch locks any number of accounts, in the order of their ids; who accepts a link that was mailed locks two, their
# own first. PostgreSQL ends one of the two units, which is done once more.
DONE_ONCE_MORE = {"accept a mailed link", "accept a mailed link of who claims the address"}
BRANCHES = {"disable a branch", "disable a part of a branch", "enable a branch"}


@pytest.mark.parametrize("name", NAMES)
def test_no_two_wait_in_a_circle(meeting, footprints, name):
    meet, place = meeting
    units = writers.all_of(place)
    later = NAMES[NAMES.index(name) :]
    surely = [each for each in later if footprints[name].waits_for(footprints[each])]
    maybe = [each for each in later if each not in surely and footprints[name].may_wait_for(footprints[each])]
    others = surely + meet.waiting(units[name], maybe, units)
    found = {other: meet.of(units[name], units[other]) for other in others}
    known = {other for other in others if {name, other} & DONE_ONCE_MORE and {name, other} & BRANCHES}
    assert {other: wrong for other, wrong in found.items() if wrong and other not in known} == {}


def held(place: writers.Place, *names: str) -> writers.Unit:
    """A unit that locks some accounts, one after the other."""
    return lambda: [accounts.lock(place.user(each)) for each in names]


def test_two_that_wait_in_a_circle_are_noticed(meeting):
    meet, place = meeting
    one, other = held(place, "carol", "anne", "bob"), held(place, "bob", "anne")
    assert meet.waiting(one, ["other"], {"other": other}) == ["other"]
    for pair in ((one, other), (other, one)):
        assert "deadlock detected" in " ".join(meet.of(*pair))
    assert meet.of(one, one) == meet.of(other, held(place, "bob", "carol")) == []
    assert meet.waiting(one, ["other"], {"other": held(place, "root")}) == []
    assert meet.footprint(one).waits_for(meet.footprint(other))
    assert not meet.footprint(one).waits_for(meet.footprint(held(place, "root")))


@pytest.mark.parametrize("name", NAMES[::30])
def test_none_waits_that_a_look_at_what_it_locks_has_left_out(meeting, footprints, name):
    meet, place = meeting
    seen = {other for other in NAMES if footprints[name].waits_for(footprints[other])}
    maybe = {other for other in NAMES if footprints[name].may_wait_for(footprints[other])}
    assert seen <= set(meet.waiting(writers.all_of(place)[name], NAMES, writers.all_of(place))) <= seen | maybe
