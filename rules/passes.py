"""Passes: with one a program of a member, such as a calendar, opens the app of a project that is behind the gate.

A pass is shown once, and stored as a hash. It is valid until it expires or is deleted. Signing out does not delete it;
a new password does, and so does whatever ends the membership or disables the account.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import joinedload

import clock
from database import session
from models import Member, Origin, Pass, User
from rules import events, fields, ids, tokens
from rules.events import About, Actor, NewEvent
from rules.refusals import PassCreated, PassNotFound, ProjectNotGated, TooManyPasses

PREFIX = "pass_"
MAX_PASSES = 100  # passes of one account: to end them all must not take long, and nobody uses that many


def is_pass(secret: str) -> bool:
    """Whether a text has the form of a program's pass."""
    return secret.startswith(PREFIX)


def create(
    member: Member, name: str | None = None, lifetime: timedelta | None = None, id_: str | None = None
) -> tuple[Pass, str]:
    """Create a pass for a program of a member; returns it and its secret, of which only a hash is stored.

    It is valid until it is deleted, or for `lifetime`. The account must be locked, so that it is not disabled and gets
    no new password meanwhile. Raises ProjectNotGated, TooManyPasses, Invalid for a name that is none, or, with an id
    that a pass has already, PassCreated.
    """
    if id_ and session().get(Pass, id_):
        raise PassCreated
    if session().scalar(select(Origin.origin).where(Origin.project_id == member.project_id).limit(1)) is None:
        raise ProjectNotGated
    mine = select(func.count()).select_from(Pass).where(Pass.user_id == member.user_id)
    if session().scalars(mine).one() >= MAX_PASSES:
        raise TooManyPasses(most=MAX_PASSES)
    secret, now = f"{PREFIX}{clock.random_text(24)}", clock.now()
    made = Pass(
        id=id_ or clock.new_id(),
        hash=tokens.digest(secret),
        user_id=member.user_id,
        project_id=member.project_id,
        name=fields.text(name, "name", 100) if name else None,
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    session().add(made)
    events.record("pass.created", project_id=made.project_id, user_id=made.user_id, facts={"pass": made.id})
    return made, secret


def named(text: str) -> Pass:
    """The pass with this id, or the beginning of it; or the pass itself, as it was shown. Raises PassNotFound."""
    text = text.strip()
    found = ids.find(Pass, text) or session().scalar(select(Pass).where(Pass.hash == tokens.digest(text)))
    if found is None:
        raise PassNotFound
    return found


def newest(limit: int, user: User | None = None) -> Sequence[Pass]:
    """At most `limit` passes, of one account or of all, the newest first."""
    return _listed(Pass.user_id == user.id if user else sqlalchemy.true(), limit)


def of_user(user_id: str) -> Sequence[Pass]:
    """The passes of an account, the newest first."""
    return _listed(Pass.user_id == user_id)


def of_project(project_id: str) -> Sequence[Pass]:
    """The passes for a project, the newest first."""
    return _listed(Pass.project_id == project_id)


def starting_with(text: str, limit: int) -> Sequence[Pass]:
    """At most `limit` passes whose id starts with a text."""
    return ids.starting_with(Pass, text, limit)


def delete(pass_id: str) -> None:
    """Delete a pass: from now on the program that has it is refused. Raises PassNotFound."""
    if not _end(Pass.id == pass_id):
        raise PassNotFound


def delete_own(user_id: str, pass_id: str) -> None:
    """Delete a pass of an account, if it is one of its own and is still there."""
    _end(and_(Pass.user_id == user_id, Pass.id == pass_id))


def end_all(user_id: str) -> None:
    """Delete all passes of an account."""
    _end(Pass.user_id == user_id)


def end_all_of(user_ids: Sequence[str]) -> None:
    """Delete all passes of the accounts with these ids."""
    _end(Pass.user_id.in_(user_ids))


def end_for(project_id: str, user_id: str, by: Actor | None = None, at: datetime | None = None) -> None:
    """Delete the passes of an account that is a member no more; `by` and `at` as in `events.record`."""
    _end(and_(Pass.project_id == project_id, Pass.user_id == user_id), by, at)


def end_project(project_id: str) -> None:
    """Delete all passes for a project, which is told of that itself: there may be many."""
    _delete(select(Pass.id).where(Pass.project_id == project_id).order_by(Pass.id).with_for_update())


def _listed(which: ColumnElement[bool], limit: int | None = None) -> Sequence[Pass]:
    query = select(Pass).where(which).order_by(Pass.created_at.desc(), Pass.id).limit(limit)
    return session().scalars(query.options(joinedload(Pass.user), joinedload(Pass.project))).all()


def _end(which: ColumnElement[bool], by: Actor | None = None, at: datetime | None = None) -> int:
    """Delete passes, and tell it of each; returns how many. They are locked in the order of their ids."""
    found = select(Pass.id, Pass.user_id, Pass.project_id).where(which).order_by(Pass.id).with_for_update()
    rows = session().execute(found).all()
    if not rows:
        return 0
    _delete([each.id for each in rows])
    about = [(About(project_id=each.project_id, user_id=each.user_id), {"pass": each.id}) for each in rows]
    events.record_all("pass.deleted", [NewEvent(each, by, at, facts) for each, facts in about])
    return len(rows)


def _delete(wanted: Any) -> None:
    """Delete the passes with these ids, or with those that a query finds, by one statement."""
    gone = sqlalchemy.delete(Pass).where(Pass.id.in_(wanted))
    session().execute(gone.execution_options(synchronize_session=False))
