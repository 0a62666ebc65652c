"""The admin's list of invites: the newest first, filtered, a page at a time.

A page starts after the last row of the one before (never at an offset), so that it costs the same
however many rows there are.
"""

import base64
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

import clock
from database import session
from models import Invite, Redemption, state_of
from rules import fields, invites, tokens
from rules.refusals import Invalid, LinkLost

STATUSES = ("active", "used", "expired")

Place = tuple[datetime, str]  # created_at and id of a row: the list's order


@dataclass(frozen=True)
class Filter:
    """Which invites to list: in a state, with a text in their name, address or note, after a place."""

    status: str | None = None
    text: str | None = None
    after: Place | None = None

    def following(self, row: "Listed") -> "Filter":
        """The same from the row after this one on."""
        return replace(self, after=(row.created_at, row.id))


@dataclass(frozen=True)
class Listed:
    """An invite as an admin sees it in the list. `token` is None where its master secret is gone."""

    id: str
    token: str | None
    legacy_code: str | None
    name: str | None
    email: str | None
    plan: str
    role: str
    uses: int
    max_uses: int
    state: str
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    user_id: str | None


def read(status: str | None, text: str | None, cursor: str | None) -> Filter:
    """A filter out of somebody's words; raises Invalid."""
    if status is not None and status not in STATUSES:
        raise Invalid.field("status", "enum", "must be one of %(words)s", words=", ".join(STATUSES))
    searched = fields.text(text, "q", 200) if text else None
    return Filter(status, searched, _place(cursor) if cursor else None)


def page(wanted: Filter, limit: int) -> list[Listed]:
    """At most `limit` invites."""
    now = clock.now()
    return [_listed(row, now) for row in session().execute(_query(wanted, now).limit(limit))]


def cursor(row: Listed) -> str:
    """What to ask for the rows after this one with."""
    written = f"{clock.iso(row.created_at)} {row.id}"
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def counts() -> dict[str, int]:
    """How many invites there are in all, and how many of them are active: exactly, at this moment."""
    count = select(func.count()).select_from(Invite)
    unspent = and_(Invite.uses < Invite.max_uses, Invite.revoked_at.is_(None))
    active = (  # asked for one by one, each is a range of the index; together they would be a scan
        count.where(unspent, Invite.expires_at > clock.now()),
        count.where(unspent, Invite.expires_at.is_(None)),
    )
    return {
        "total": session().scalar(count) or 0,
        "active": sum(session().scalar(each) or 0 for each in active),
    }


def _query(wanted: Filter, now: datetime) -> Select[Any]:
    query = _LISTED
    if wanted.status:
        query = query.where(_in_state(wanted.status, now))
    if wanted.text:
        searched = (Invite.name, Invite.email, Invite.note)
        query = query.where(or_(*(each.icontains(wanted.text, autoescape=True) for each in searched)))
    if wanted.after:
        created_at, id_ = wanted.after
        query = query.where(Invite.created_at <= created_at, or_(Invite.created_at < created_at, Invite.id < id_))
    return query


def _in_state(status: str, now: datetime) -> ColumnElement[bool]:
    used = Invite.uses >= Invite.max_uses
    if status == "used":
        return used
    if status == "active":
        return invites.is_open(now)
    return and_(~used, ~invites.is_open(now))


def _latest(column: Any) -> Any:
    of_invite = select(column).where(Redemption.invite_id == Invite.id)
    return of_invite.order_by(Redemption.redeemed_at.desc(), Redemption.id).limit(1).scalar_subquery()


_LISTED = select(
    *(getattr(Invite, name) for name in ("id", "nonce", "token_hash", "legacy_hash", "name", "email", "plan", "role")),
    *(getattr(Invite, name) for name in ("uses", "max_uses", "made_by", "created_at", "expires_at", "revoked_at")),
    _latest(Redemption.redeemed_at).label("used_at"),
    _latest(Redemption.user_id).label("user_id"),
).order_by(Invite.created_at.desc(), Invite.id.desc())


def _listed(row: Any, now: datetime) -> Listed:
    values = row._asdict()
    nonce, token_hash, legacy_hash = (values.pop(name) for name in ("nonce", "token_hash", "legacy_hash"))
    try:
        token: str | None = tokens.shown_again(nonce, token_hash)
    except LinkLost:
        token = None
    return Listed(
        **values,
        token=token,
        legacy_code=tokens.legacy_shown_again(nonce, legacy_hash) if legacy_hash else None,
        state=state_of(row, now),
    )


def _place(cursor: str) -> Place:
    try:
        written = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, id_ = written.partition(" ")
        return datetime.fromisoformat(moment).astimezone(UTC), id_
    except (ValueError, OverflowError):
        raise Invalid.field("cursor", "format", "must be the `next` of a page before") from None
