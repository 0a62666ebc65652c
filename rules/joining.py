"""What a use of an invite gives an account: a place in a project, perhaps for a while, or the site's admin role."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, insert, or_, select

import clock
from database import session
from database.statements import Statement
from models import Member, User
from rules import events, passes
from rules.events import About, NewEvent
from rules.refusals import AlreadyMember
from rules.uses import Taken


def is_current(now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for a membership that has not ended; `now` is a datetime or a bound parameter."""
    return or_(Member.ends_at.is_(None), Member.ends_at > now)


def manages(now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for a membership, not ended, of an owner or admin; `now` is as in `is_current`."""
    return and_(Member.role != "member", is_current(now))


def refuse_member(project_id: str | None, user: Any) -> str | None:
    """Raise AlreadyMember if an account is a member of a project; returns the id of a membership that has ended."""
    former = _MEMBER.first(project_id=project_id, user_id=user.id) if project_id else None
    if former is None:
        return None
    if former.ends_at is None or former.ends_at > clock.now():
        raise AlreadyMember
    return str(former.id)


def ends_at(project_id: str, user_id: str) -> datetime | None:
    """When the access of an account to a project ends, or ended; None if never, or if it is no member."""
    found = _MEMBER.first(project_id=project_id, user_id=user_id)
    ends: datetime | None = found.ends_at if found else None
    return ends


def is_member(project_id: str | None, user: Any) -> bool:
    """Whether an account is a member of a project now; True without a project, since then there is nothing to join."""
    try:
        refuse_member(project_id, user)
    except AlreadyMember:
        return True
    return project_id is None


def give(invite: Taken, user: Any, use_id: str, former: str | None = None) -> None:
    """Give an account what an invite promises, by its use with this id, and tell that it was used.

    `former` is what `refuse_member` returned. A use without an account (None) gives nothing. Raises SQLAlchemy's
    IntegrityError if the account joins the project at the same moment.
    """
    now, by = clock.now(), events.person(user) if user else events.actor()
    about = About(invite_id=invite.id, project_id=invite.project_id, user_id=user.id if user else None)
    events.record("invite.used", by=by, at=now, facts={"redemption": use_id}, **about)
    if user is None:
        return
    if invite.project_id:
        if former:
            end(former)
        _JOIN.run(
            id=use_id,
            project_id=invite.project_id,
            user_id=user.id,
            role=invite.role,
            joined_at=now,
            ends_at=now + invite.access * clock.SECOND if invite.access else None,
        )
        events.record("member.joined", by=by, at=now, **about)
    admin = session().get_one(User, user.id) if invite.makes_admin else None
    if admin and admin.admin_at is None:
        admin.admin_at = now
        events.record("user.admin", by=by, at=now, facts={"admin": True}, **about)


def end(member_id: str) -> None:
    """Delete a membership whose access has ended, with its passes, and tell it as of the moment at which it ended."""
    ended = delete(Member).where(Member.id == member_id, Member.ends_at <= clock.now())
    row = session().execute(ended.returning(Member.project_id, Member.user_id, Member.ends_at)).first()
    if row:
        about = About(project_id=row.project_id, user_id=row.user_id)
        events.record("member.expired", by=events.SERVICE, at=row.ends_at, **about)
        passes.end_for(row.project_id, row.user_id, by=events.SERVICE, at=row.ends_at)


def leave_all(user: User) -> None:
    """Delete all memberships and passes of an account, and tell it; an access that has ended is told to have ended."""
    mine = Member.user_id == user.id
    for ended in session().scalars(select(Member.id).where(mine, Member.ends_at <= clock.now())).all():
        end(ended)
    left = session().scalars(delete(Member).where(mine).returning(Member.project_id))
    events.record_all("member.removed", [NewEvent({"user_id": user.id, "project_id": each}) for each in left])
    passes.end_all(user.id)


# Built once, since building a query takes as long as SQLite takes to answer it.
_MEMBER = Statement(
    select(Member.id, Member.ends_at).where(
        Member.project_id == bindparam("project_id"), Member.user_id == bindparam("user_id")
    )
)
_JOIN = Statement(insert(Member))
