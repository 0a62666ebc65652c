"""The real command, in a process in which something has been tampered with: `python tampered.py HOW invite-api's…`.

HOW names functions of this module, separated by commas: some kill the process at a named place, at the
n-th time that it gets there (``kill_before_commit=7``), others are wrong in a way that a harness must catch.
"""

import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import fields, replace
from datetime import timedelta
from itertools import count, repeat
from threading import Timer
from typing import Any

from sqlalchemy import Connection, update
from sqlalchemy.exc import DBAPIError

import clock
import database
from database.abstract import Database
from database.sqlite import Sqlite
from database.units import Unit, open_here
from delivery import courier, outbox, posting
from models import Delivery, Invite, Letter, Redemption, Webhook
from rules import budgets, deliveries, fast_holds, holds, invites, states, uses
from web import requests


def _dying(run: Callable[..., Any], times: str, *, before: bool) -> Callable[..., Any]:
    """A function that runs as ever, until it kills the process before or after it has run so many times."""
    left = int(times)

    def run_or_die(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if before and left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        result = run(*given, **named)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return run_or_die


def kill_after_begin(times: str) -> None:
    """A transaction has begun and nothing is done in it."""
    Sqlite._begin_immediate = _dying(Sqlite._begin_immediate, times, before=False)  # type: ignore[method-assign]


def kill_after_update(times: str) -> None:
    """One use of an invite is taken, and nobody has got it."""
    uses.take = _dying(uses.take, times, before=False)


def kill_after_hold(times: str) -> None:
    """A use is taken and waits for its program."""
    fast_holds.take = _dying(fast_holds.take, times, before=False)


def kill_after_complete(times: str) -> None:
    """A use that waited is done, and nobody is told that it was."""
    fast_holds.complete = _dying(fast_holds.complete, times, before=False)


def kill_after_release(times: str) -> None:
    """A use that waited is given back."""
    uses.give_back = _dying(uses.give_back, times, before=False)


def kill_after_dispatch(times: str) -> None:
    """Deliveries to a webhook are written, and not committed."""
    deliveries.write = _dying(deliveries.write, times, before=False)


def kill_before_commit(times: str) -> None:
    """All is done, and not committed."""
    Unit.commit = _dying(Unit.commit, times, before=True)  # type: ignore[method-assign]


def kill_after_commit(times: str) -> None:
    """All is committed, and nobody has been told."""
    Unit.commit = _dying(Unit.commit, times, before=False)  # type: ignore[method-assign]


def checkpoint(pages: str) -> None:
    """The journal is copied into the file so often that it happens in the midst of everything."""
    _tell(f"PRAGMA wal_autocheckpoint = {int(pages)}")


def synchronous(mode: str) -> None:
    """As so many SQLite databases are run."""
    _tell(f"PRAGMA synchronous = {mode}")


def answer_first(seconds: str) -> None:
    """Who writes is answered, and a moment later it is committed."""

    @contextmanager
    def writing(self: Database) -> Iterator[Unit]:
        turn = self.writer_lock()
        turn.__enter__()
        connection = self.engine.connect()
        unit, finish = Unit(connection, writes=True), connection.rollback
        before = open_here.set(unit)
        try:
            self.begin(connection, writes=True)
            yield unit
            unit.flush()
            finish = connection.commit
        finally:
            open_here.reset(before)
            Timer(float(seconds), lambda: (finish(), connection.close(), turn.__exit__(None, None, None))).start()

    def group_commit(_: Database) -> AbstractContextManager[None]:
        raise database.Unavailable("nobody waits for others")

    Database.writing, Database.group_commit = writing, group_commit  # type: ignore[method-assign]


def give_back_blindly(_: str) -> None:
    """A held use is given back without a look whether it waits."""

    def release(hold_id: str, _: str) -> None:
        use = database.session().get_one(Redemption, hold_id)
        use.state, use.released_at, use.redeemed_at = "released", clock.now(), None
        uses.count(use.invite, -1, -1)

    holds.release = release


def lose_together(_: str) -> None:
    """What is written together comes to nothing at the end; by itself it can be written."""
    group_commit = Database.group_commit

    @contextmanager
    def lost(self: Database) -> Iterator[None]:
        with group_commit(self):
            yield
            raise database.Unavailable("there is no room for so much at once")

    Database.group_commit = lost  # type: ignore[method-assign]


def do_again(_: str) -> None:
    """What was written together is on disk, is taken for lost, and is done once more."""
    group_commit = Database.group_commit

    @contextmanager
    def taken_for_lost(self: Database) -> Iterator[None]:
        with group_commit(self):
            yield
        raise database.Unavailable("nobody knows whether it was kept")

    Database.group_commit = taken_for_lost  # type: ignore[method-assign]


def roll_back(times: str) -> None:
    """SQLite ends the whole transaction, as on a full disk, when the n-th invite of a shared commit is made."""
    from web import lanes

    lanes.MAX_SECONDS_TOGETHER = 10  # type: ignore[assignment]  # however slow this machine is
    mint, group_commit = invites.create_token, Database.group_commit
    made: Iterator[int] = repeat(0)

    @contextmanager
    def counted(self: Database) -> Iterator[None]:
        nonlocal made
        made = count(1)
        try:
            with group_commit(self):
                yield
        finally:
            made = repeat(0)  # by itself none is too many

    def mint_or_fail(*given: Any) -> str:
        if next(made) == int(times):
            database.units.current().cursor().execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return mint(*given)

    Database.group_commit = counted  # type: ignore[method-assign]
    invites.create_token = mint_or_fail


def slow_to_its_turn(seconds: str) -> None:
    """To be let write takes so long for those who share a commit, as when another process writes."""
    group_commit = Database.group_commit

    @contextmanager
    def waited_for(self: Database) -> Iterator[None]:
        time.sleep(float(seconds))
        with group_commit(self):
            yield

    Database.group_commit = waited_for  # type: ignore[method-assign]


def slow_to_mint(seconds: str) -> None:
    """To make an invite takes so long."""
    mint = invites.create_token

    def slowly(*given: Any) -> str:
        time.sleep(float(seconds))
        return mint(*given)

    invites.create_token = slowly


def look_first(_: str) -> None:
    """An invite is looked at, and then used, as if nobody else were there."""

    def take(token: str) -> uses.Taken:
        invite = invites.find(token)
        states.refuse_unusable(invite)
        database.session().execute(update(Invite).where(Invite.id == invite.id).values(uses=invite.uses + 1))
        return uses.Taken(*(getattr(invite, each.name) for each in fields(uses.Taken)))

    uses.take = take


def shrug(_: str) -> None:
    """A commit that fails is taken for done."""
    commit = Connection.commit

    def try_to_commit(self: Connection) -> None:
        with suppress(DBAPIError):
            commit(self)

    Connection.commit = try_to_commit  # type: ignore[method-assign]


def blunt(_: str) -> None:
    """That the database cannot be used is an error like any other."""
    from web import answer

    answer.ServiceUnavailable = lambda **_: answer.InternalServerError()  # type: ignore[assignment, misc]


def one_lane(_: str) -> None:
    """Every request is answered where it was read, those too that take long."""
    from web import map

    map.matching = lambda rows: re.compile("(?s).*")


def keeps_bodies(_: str) -> None:
    """Of a body all is kept, also of one that is refused."""
    from web import reader

    reader.MAX_BODY_BYTES = reader.REFUSED_UNREAD


def unbound(_: str) -> None:
    """Who follows what happens is told all that is there, though what has an earlier number may still come."""
    from dialects import v1

    v1.settled = lambda: 2**63 - 1


def stopped_clock(_: str) -> None:
    """It is always the moment at which the server started."""
    started = clock.now()
    clock.now = lambda: started


def hasty(times: str) -> None:
    """Letters are tried again so many times as soon, so that hours of it take a minute."""
    backoff = outbox.backoff
    outbox.backoff, outbox.PAUSE = lambda attempts: backoff(attempts) / int(times), 0.05


def lease(seconds: str) -> None:
    """A letter is put off so long while it is sent; if that is less than nothing, not at all."""
    outbox.LEASE = timedelta(seconds=float(seconds))


def mark_first(_: str) -> None:
    """A letter is marked as sent when it is taken up."""
    claim = outbox.claim

    def claim_and_mark() -> Letter | None:
        letter = claim()
        if letter:
            outbox.mark(letter, None)
        return letter

    outbox.claim = claim_and_mark


def kill_after_send(times: str) -> None:
    """The n-th delivery has reached its webhook, and is not marked."""
    posting.send = _dying(posting.send, times, before=False)


def webhook_lease(seconds: str) -> None:
    """A webhook is left to who sends to it for so long, and failures are tried again within it."""
    courier.LEASE = timedelta(seconds=float(seconds))
    courier.WAITS = (courier.LEASE,) * len(courier.WAITS)  # type: ignore[assignment]


def mark_deliveries_first(_: str) -> None:
    """Deliveries are marked as sent when they are taken up."""
    claim = courier.claim

    def claim_and_mark(avoids_failing: bool = False) -> courier.Claimed | None:
        claimed = claim(avoids_failing)
        for each in claimed.ids if claimed else ():
            courier.mark(
                database.session().get_one(Webhook, claimed.webhook_id),
                database.session().get_one(Delivery, each),
                posting.Reply(204, 1),
            )
        return claimed

    courier.claim = claim_and_mark


def skips_deliveries(_: str) -> None:
    """Of some events no deliveries are written, as if they were."""
    write = deliveries.write
    deliveries.write = lambda unwritten: write(replace(unwritten, events=unwritten.events[1:]))


def remembers_budgets(_: str) -> None:
    """What an account has spent of its budget is looked up once, and believed from then on."""
    look_up = budgets._spent
    known: dict[str, Any] = {}

    def remembered(user_id: str, *given: Any) -> Any:
        if user_id not in known:
            known[user_id] = look_up(user_id, *given)
        return known[user_id]

    budgets._spent = remembered


def idle(seconds: str) -> None:
    """Who neither says nor reads anything is given up sooner."""
    from web import server

    server.IDLE = float(seconds)  # type: ignore[assignment]


def longest(seconds: str) -> None:
    """Who sends a request bit by bit is given up sooner."""
    from web import connection

    connection.MAX_REQUEST_TIME = float(seconds)  # type: ignore[assignment]


def plain_loop(_: str) -> None:
    """There is no wheel of uvloop for this machine."""
    sys.modules["uvloop"] = None  # type: ignore[assignment]


def chokes_on_one_byte(_: str) -> None:
    """Who looks a body over, before anybody asks who sent it, cannot bear a [ in a text."""
    look_at = requests._refuse_privileged

    def look_or_choke(body: Mapping[str, Any]) -> None:
        if any("[" in each for each in body.values() if isinstance(each, str)):
            raise KeyError("[")
        look_at(body)

    requests._refuse_privileged = look_or_choke


def _tell(pragma: str) -> None:
    """Tell it every connection, after what else they are told."""
    teach = database.sqlite.configure

    def teach_and_tell(connection: Any) -> None:
        teach(connection)
        connection.execute(pragma)

    database.sqlite.configure = teach_and_tell


if __name__ == "__main__":
    for each in sys.argv.pop(1).split(","):
        name, _, value = each.partition("=")
        globals()[name](value)
    from cli import main

    main()
