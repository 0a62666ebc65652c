"""Reading what happened: the timeline of an invite, and the events of the site in pages, filtered, in either order."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, true, union

import clock
from database import session
from models import Event, Invite, Letter, Redemption, User
from rules import cursors, events, outbox
from rules.events import SERVICE, Facts
from rules.refusals import Invalid

LOOKED_AT = 10_000  # at most so many rows are read by one search

# What a timeline calls the things that happen to an invite; a letter is told by its state.
_WORDS = {"invite.created": "made"}
_OF_WAITING = ("invite.held", "invite.waiting", "invite.approved", "invite.denied", "invite.released")
_AS_TOLD = ("number", "id", "at", "type", "actor", "actor_id", "invite_id", "project_id", "user_id")
_LETTERS = {"sent": "sent", "refused": "refused", "dropped": "not sent", "waiting": "to be sent"}


@dataclass(frozen=True)
class Entry:
    """What happened to an invite: when, what, by or to whom; `trouble` is what the mail server said.

    `what` is ``made``, ``used``, ``extended``, ``changed``, ``rotated``, ``revoked``, ``declined``, ``expired``; of a
    use that waits ``held``, ``waiting``, ``approved``, ``denied``, ``released``; or of a mail ``to be sent``, ``sent``,
    ``not sent``, ``refused``. `who` did it; a mail's is the address, and `by` who sent it. `whom` is the account that
    waits, or a program's name for its guest. `facts` are those of the event.
    """

    at: datetime
    what: str
    who: str = ""
    by: str = ""
    trouble: str = ""
    whom: str = ""
    facts: Facts = field(default_factory=dict)

    @property
    def until(self) -> datetime | None:
        """When the invite expires that was extended, or the hold ends; None if never, and for all else."""
        return until(self.at, self.facts)


def until(at: datetime, facts: Facts) -> datetime | None:
    """When what was extended or held at this moment ends; None if never, and for all else that happened."""
    length = next((facts[name] for name in ("ttl", "access", "lease") if name in facts), None)
    return None if length is None else at + length * clock.SECOND


@dataclass(frozen=True)
class Happened:
    """An event as it is read: `facts` are what rules/events.py was told, `number` its place in the order of commits."""

    number: int
    id: str
    at: datetime
    type: str
    actor: str
    actor_id: str | None
    invite_id: str | None
    project_id: str | None
    user_id: str | None
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Filter:
    """Which events to read; all conditions that are given must hold.

    `types`: of one of these; `invite_id`, `project_id`: about this one; `user_id`: about this account, or by it;
    `actor_id`: by this account or API key; `actor`: by who has no id, such as the shell; `since`: not before this
    moment.
    """

    types: Sequence[str] = ()
    invite_id: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    actor_id: str | None = None
    actor: str | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Found:
    """Some events in the order of the search, and the number from which to continue; None where there are no more."""

    rows: Sequence[Happened]
    next: int | None


def of_invite(invite: Invite) -> list[Entry]:
    """What happened to an invite, the oldest first. Opening it is not there, since that changes nothing."""
    letters = {each.id: each for each in outbox.of_invite(invite)}
    told = oldest(Filter(invite_id=invite.id), 0)
    waits = _who_waits(invite)
    entries = [_entry(each, letters, waits) for each in told if each.type.startswith("invite.")]
    if (
        invite.state(clock.now()) == "expired"
        and invite.expires_at
        and "expired" not in {each.what for each in entries}
    ):
        entries.append(Entry(invite.expires_at, "expired", SERVICE.called))  # the caretaker has not told it yet
    return sorted(entries, key=lambda entry: entry.at)


def oldest(wanted: Filter, after: int, until: int | None = None, limit: int = 10_000) -> Sequence[Happened]:
    """At most `limit` events, in the order of commits, with a number above `after`, and up to `until` if it is given.

    Who follows what happens gives what `Database.settled` said before this unit of work began as `until`.
    """
    bounds = [] if until is None else [Event.number <= until]
    return _all_of(lambda start, room: _search(_OLDEST, wanted, start, room, bounds), after, limit)


def search_on(wanted: Filter, after: int, until: int, limit: int) -> Found:
    """At most `limit` events after a number and up to `until`, the oldest first, and the number after which to go on.

    It looks at as many events as `search` does.
    """
    return _search(_OLDEST, wanted, after, limit, [Event.number <= until])


def follow(wanted: Filter, after: int, until: int, limit: int) -> tuple[Sequence[Happened], int]:
    """What `search_on` finds, and the number after which to go on: `after` where nothing is new."""
    found = search_on(wanted, after, until, limit)
    if found.next is not None:
        return found.rows, found.next
    return found.rows, found.rows[-1].number if found.rows else after


def cursor(number: int) -> str:
    """A place among the events as text, for the request of those after it."""
    return cursors.encoded(f"event {number}")


def read_cursor(cursor: str) -> int:
    """The number of the event that a cursor stands for; raises Invalid for any other text, such as a list's cursor."""
    try:
        written = cursors.decoded(cursor)
    except ValueError:
        written = ""
    if not (found := re.fullmatch("event ([0-9]{1,18})", written, re.ASCII)):
        raise Invalid.at("cursor", "format", "names no place among the events; take `next` of the page before")
    return int(found[1])


def last_number(until: int) -> int:
    """The number of the last event up to the number `until`, which `Database.settled` said; 0 if there is none."""
    return session().scalar(select(func.max(Event.number)).where(Event.number <= until)) or 0


def newest(wanted: Filter, before: int | None, limit: int) -> Sequence[Happened]:
    """At most `limit` events, the newest first, with a number below `before` if it is given."""
    return _all_of(lambda start, room: search(wanted, start, room), before, limit)


def search(wanted: Filter, before: int | None, limit: int) -> Found:
    """At most `limit` events, the newest first, with a number below `before` if it is given, and where to continue.

    Where several conditions are given, only the next 10,000 events for which one of them holds are looked at, so that
    a search that matches few of a million takes no longer than any other.
    """
    return _search(_NEWEST, wanted, before, limit)


@dataclass(frozen=True)
class _Order:
    """An order of events, what comes after one of them in it, and which of several comes first."""

    by: Any
    after: Callable[[int], ColumnElement[bool]]
    up_to: Callable[[int], ColumnElement[bool]]
    first: Callable[..., int | None]


_NEWEST = _Order(Event.number.desc(), Event.number.__lt__, Event.number.__ge__, max)
_OLDEST = _Order(Event.number, Event.number.__gt__, Event.number.__le__, min)


def _all_of(search: Callable[[int | None, int], Found], start: int | None, limit: int) -> Sequence[Happened]:
    """What one search after the other finds, until there are `limit` events."""
    rows: list[Happened] = []
    while len(rows) < limit:
        found = search(start, limit - len(rows))
        rows += found.rows
        start = found.next
        if start is None:
            break
    return rows


def _search(
    order: _Order, wanted: Filter, start: int | None, limit: int, bounds: Sequence[ColumnElement[bool]] = ()
) -> Found:
    """At most `limit` events that come after the number `start`, at the end of an index, and where to continue."""
    ways, rest = _ways(wanted)
    bounds = [*bounds, *_since(wanted)] + ([] if start is None else [order.after(start)])
    ends = [_end(order, [*bounds, way]) for way in ways] if rest else []
    last = order.first((each for each in ends if each is not None), default=None)
    if last is not None:
        bounds.append(order.up_to(last))
    rows = list(_read(order, bounds, ways, rest, limit + 1))
    return Found(rows[:limit], rows[limit - 1].number) if len(rows) > limit else Found(rows, last)


def _end(order: _Order, conditions: Sequence[ColumnElement[bool]]) -> int | None:
    """The number of the last event that one search looks at; None where it looks at all that there are."""
    looked_at = select(Event.number).where(*conditions).order_by(order.by)
    return session().scalar(looked_at.offset(LOOKED_AT - 1).limit(1))


def _read(
    order: _Order,
    bounds: Sequence[ColumnElement[bool]],
    ways: Sequence[ColumnElement[bool]],
    rest: Sequence[ColumnElement[bool]],
    limit: int,
) -> Iterator[Happened]:
    some = LOOKED_AT if rest else limit
    if len(ways) == 1 and not rest:
        query = select(Event).where(*bounds, *ways)
    else:  # a part with a LIMIT is read for itself, in its own index
        parts = (select(Event.number).where(*bounds, each).order_by(order.by).limit(some).subquery() for each in ways)
        numbers = union(*map(select, parts)).subquery()
        query = select(Event).join(numbers, numbers.c.number == Event.number).where(*bounds, *rest)
    for each in session().scalars(query.order_by(order.by).limit(limit)):
        told = {name: getattr(each, name) for name in _AS_TOLD}
        yield Happened(**told, facts=json.loads(each.facts) if each.facts else {})


def _ways(wanted: Filter) -> tuple[Sequence[ColumnElement[bool]], Sequence[ColumnElement[bool]]]:
    """By which conditions the events are found, each in an index, and those that are left to be looked at.

    They are all events for which one of the former and all of the latter hold. With OR, or IN, the index would not
    give them in their order, and all of them would be sorted.
    """
    ways: list[Sequence[ColumnElement[bool]]] = []
    if wanted.invite_id:  # that it was created is not in the index
        created = select(Invite.created_event).where(Invite.id == wanted.invite_id).scalar_subquery()
        ways.append([and_(events.NOT_CREATED, Event.invite_id == wanted.invite_id), Event.number == created])
    if wanted.project_id:
        ways.append([Event.project_id == wanted.project_id])
    if wanted.actor_id:  # what a person did themselves is in the index of whom it is about
        to_others = and_(events.NOT_ONESELF, Event.actor_id == wanted.actor_id)
        ways.append([to_others, and_(Event.user_id == wanted.actor_id, Event.actor_id == Event.user_id)])
    if wanted.user_id:
        ways.append([Event.user_id == wanted.user_id, and_(events.NOT_ONESELF, Event.actor_id == wanted.user_id)])
    rest: list[ColumnElement[bool]] = []
    if wanted.types and not {*wanted.types} & {*events.IN_PASSING}:
        ways.append([and_(events.INDEXED_TYPE, Event.type == each) for each in wanted.types])
    elif wanted.types:
        rest.append(or_(*(Event.type == each for each in wanted.types)))
    rest += [or_(*each) for each in ways[1:]]
    if wanted.actor:
        rest.append(and_(Event.actor == wanted.actor, Event.actor_id.is_(None)))
    return (ways[0] if ways else [true()]), rest


def _since(wanted: Filter) -> Sequence[ColumnElement[bool]]:
    """That an event is not from before `since`, and a number that all of those exceed, to look no further than that.

    Numbers follow time but for what is told late, such as that an invite expired while no server ran. The lowest of
    the last 10,000 before that moment was not.
    """
    if wanted.since is None:
        return []
    before = select(Event.number).where(Event.number < first_since(wanted.since)).order_by(Event.number.desc())
    lowest = session().scalar(before.offset(LOOKED_AT).limit(1))
    return [Event.at >= wanted.since] + ([] if lowest is None else [Event.number > lowest])


def first_since(moment: datetime) -> int:
    """The number of the first event from this moment on, halving what is left: events are told in the order of time.

    But for some that are told late, or while the clock is set.
    """
    low, high = session().execute(select(func.min(Event.number), func.max(Event.number) + 1)).one()
    while (low or 0) < (high or 0):
        middle = (low + high) // 2
        at = session().scalar(select(Event.at).where(Event.number >= middle).order_by(Event.number).limit(1))
        low, high = (middle + 1, high) if at and at < moment else (low, middle)
    return low or 0


def _who_waits(invite: Invite) -> dict[str, str]:
    """Who has, or had, each use of an invite that waits or waited, by the ids of the uses."""
    query = select(Redemption.id, Redemption.subject, User).outerjoin(User, User.id == Redemption.user_id)
    rows = session().execute(query.where(Redemption.invite_id == invite.id, Redemption.since.is_not(None)))
    return {
        id_: (user.called if user.deleted_at is None else events.ERASED) if user else subject or ""
        for id_, subject, user in rows
    }


def _entry(told: Happened, letters: dict[str, Letter], waits: dict[str, str]) -> Entry:
    letter = letters.get(str(told.facts.get("letter")))
    if letter is None:
        what = _WORDS.get(told.type, told.type.partition(".")[2])
        whom = waits.get(str(told.facts.get("redemption")), "") if told.type in _OF_WAITING else ""
        return Entry(told.at, what, told.actor, whom=whom, facts=told.facts)
    moment = letter.sent_at or letter.dropped_at or letter.created_at
    trouble = "" if letter.state == "dropped" else letter.last_error or ""
    return Entry(moment, _LETTERS[letter.state], letter.recipient, told.actor, "" if letter.sent_at else trouble)
