"""The four states of an invite (active, used, expired, revoked), and what each permits.

`models.state_of` finds the state of one invite in Python; `in_state` says the same in SQL, so the two change together.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, or_

import clock
from models import Invite, state_of
from rules.refusals import InviteExpired, InviteUsed


def is_open(now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for an invite that is neither revoked nor expired."""
    return and_(Invite.revoked_at.is_(None), or_(Invite.expires_at.is_(None), Invite.expires_at > now))


def has_use(now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for an invite that has a use left, or one that waited and has lapsed."""
    return or_(Invite.uses < Invite.max_uses, Invite.lapses_at <= now)


def is_active(now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for an active invite; `now` is a datetime or a bound parameter."""
    return and_(has_use(now), is_open(now))


def in_state(state: str, now: Any) -> ColumnElement[bool]:
    """Return the SQL condition for an invite in this state; `now` is a datetime or a bound parameter."""
    if state == "active":
        return is_active(now)
    if state == "used":
        return and_(Invite.uses >= Invite.max_uses, or_(Invite.lapses_at.is_(None), Invite.lapses_at > now))
    if state == "revoked":
        return and_(has_use(now), Invite.revoked_at.is_not(None))
    return and_(has_use(now), Invite.revoked_at.is_(None), Invite.expires_at <= now)


def refuse_unusable(invite: Any) -> None:
    """Raise InviteUsed or InviteExpired unless this invite, or row of one, can be used now."""
    state = state_of(invite, clock.now())
    if state == "used":
        raise InviteUsed
    if state != "active":
        raise InviteExpired(invite.expires_at, invite.revoked_at)


def refuse_used_or_revoked(invite: Any) -> None:
    """Raise InviteUsed or InviteExpired for an invite that cannot be given more time; an expired one can."""
    if state_of(invite, clock.now()) in ("used", "revoked"):
        refuse_unusable(invite)
