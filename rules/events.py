"""What happened: one row for each thing that happened to an invite, a person, a project, a key, a preset or a webhook.

The rule that does the thing records it, in the unit of work in which it happens, so that both are kept or neither.
Opening a link is nothing that happened. Who acts is named once for a request or a command, by `acting`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, Unpack

from sqlalchemy import and_, insert, text, update

import clock
from database import begin_numbering, connection
from database.statements import Statement
from models import Event, Person

TYPES = (
    *("invite.created", "invite.used", "invite.extended", "invite.changed", "invite.rotated", "invite.mailed"),
    *("invite.revoked", "invite.expired", "invite.held", "invite.released", "invite.waiting", "invite.approved"),
    *("invite.denied", "invite.declined"),
    *("user.created", "user.disabled", "user.enabled", "user.deleted", "user.admin"),
    *("user.moved", "user.budget"),
    *("member.joined", "member.removed", "member.extended", "member.expired"),
    *("project.created", "project.owner", "project.gate", "project.deleted"),
    *("key.created", "key.deleted", "preset.created", "preset.deleted", "pass.created", "pass.deleted"),
    *("webhook.created", "webhook.rotated", "webhook.enabled", "webhook.disabled", "webhook.deleted", "webhook.test"),
)

Facts = Mapping[str, Any]

ERASED = "a deleted account"

# What the indexes of schema.sql leave out. A query that is to use one says it in the same words.
IN_PASSING = ("invite.created", "invite.used", "user.created")
INDEXED_TYPE = text(f"type NOT IN {IN_PASSING}")
NOT_CREATED = text("type <> 'invite.created'")
NOT_ONESELF = text("(user_id IS NULL OR user_id <> actor_id)")


@dataclass(frozen=True)
class Actor:
    """Who does something: a name, which is stored as text, and the id of an account or an API key."""

    called: str
    id: str | None = None


SERVICE = Actor("invite-api")  # by itself, such as the caretaker
SHELL = Actor("shell")
GUEST = Actor("a guest")  # a visitor who is not signed in

_actor: ContextVar[Actor] = ContextVar("actor", default=SERVICE)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Record the events inside as done by this actor."""
    before = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(before)


def actor() -> Actor:
    """Who does what happens here: the service itself where nobody was named."""
    return _actor.get()


def person(account: Any) -> Actor:
    """An account (a User, or a row with its columns) as the one who does something."""
    named: Person = account
    return Actor(named.called, account.id)


class About(TypedDict, total=False):
    """The ids of what something happened to."""

    invite_id: str | None
    project_id: str | None
    user_id: str | None


def record(
    type_: str,
    *,
    by: Actor | None = None,
    at: datetime | None = None,
    facts: Facts | None = None,
    **about: Unpack[About],
) -> None:
    """Store that something of this type happened, now and by the one who acts here unless `at` and `by` say otherwise.

    `facts` are ids, numbers, and durations in seconds: no address, no name, nothing that opens a door.
    """
    begin_numbering()
    _RECORD.run(**_row(type_, by or actor(), at or clock.now(), facts, about))


def record_numbered(type_: str, facts: Facts | None = None, **about: Unpack[About]) -> int:
    """Store that something of this type happened, as `record` does; returns the event's number."""
    begin_numbering()
    return int(_RECORD_NUMBERED.value(**_row(type_, actor(), clock.now(), facts, about)))


def record_test(webhook_id: str, at: datetime) -> int:
    """Store that a webhook was tested at this moment; returns the event's number, by which it is sent."""
    begin_numbering()
    return int(_RECORD_NUMBERED.value(**_row("webhook.test", actor(), at, {"webhook": webhook_id}, {})))


class NewEvent(NamedTuple):
    """What happened to one of many; the fields are the arguments of `record`."""

    about: About
    by: Actor | None = None
    at: datetime | None = None
    facts: Facts | None = None


def record_created(invite_id: str, project_id: str | None, by: Actor, at: datetime) -> int:
    """Store that an invite was created; returns the event's number, by which the invite finds it."""
    begin_numbering()
    about = About(invite_id=invite_id, project_id=project_id)
    return int(_RECORD_NUMBERED.value(**_row("invite.created", by, at, None, about)))


def record_all_created(happened: Sequence[NewEvent]) -> Sequence[int]:
    """Store that many invites were created; returns the numbers of their events, in the same order."""
    rows = _rows("invite.created", happened)
    if not rows:
        return []
    begin_numbering()
    numbered = insert(Event).returning(Event.number, sort_by_parameter_order=True)
    return connection().execute(numbered, rows).scalars().all()


def record_all(type_: str, happened: Iterable[NewEvent]) -> None:
    """Store that something of this type happened to many, as `record` does for one."""
    rows = _rows(type_, happened)
    if rows:
        begin_numbering()
        connection().execute(insert(Event), rows)


def erase(user_id: str) -> None:
    """Take the name of an account out of what it did; what it did stays, with its id."""
    for which in (and_(NOT_ONESELF, Event.actor_id == user_id), and_(Event.user_id == user_id, _ONESELF)):
        connection().execute(update(Event).where(which).values(actor=ERASED))


def _rows(type_: str, happened: Iterable[NewEvent]) -> list[dict[str, Any]]:
    now, here = clock.now(), actor()
    return [_row(type_, each.by or here, each.at or now, each.facts, each.about) for each in happened]


def _row(type_: str, by: Actor, at: datetime, facts: Facts | None, about: About) -> dict[str, Any]:
    return {
        "at": at,
        "type": type_,
        "actor": by.called,
        "actor_id": by.id,
        "invite_id": about.get("invite_id"),
        "project_id": about.get("project_id"),
        "user_id": about.get("user_id"),
        "facts": json.dumps(facts, separators=(",", ":")) if facts else None,
    }


_ONESELF = Event.actor_id == Event.user_id

# Built once, since building a query takes as long as SQLite takes to answer it.
_RECORD = Statement(insert(Event).inline())  # the number is not asked back
_RECORD_NUMBERED = Statement(insert(Event).returning(Event.number))
