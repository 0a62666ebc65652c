"""The admin's list of invites: the newest first, filtered, a page at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import aliased

import clock
from database import session
from models import Invite, Project, Redemption, User, called, state_of
from rules import accounts, fields, invites, places, tokens
from rules.places import Place
from rules.refusals import Invalid, InviteNotFound, LinkLost, UserNotFound

STATES: Mapping[str, Sequence[str]] = {each: (each,) for each in ("active", "used", "expired", "revoked")}

LOOKED_AT = 50_000  # rows that one search goes through


@dataclass(frozen=True)
class Filter:
    """Which invites to list; all that is given must hold.

    In one of the states; with a text in their name, address or note; to the project with this slug;
    made by this maker (an account's id, name or address, a key's id, or part of what it was
    called); bound to this address; after a place in the list.
    """

    states: Sequence[str] = ()
    text: str | None = None
    project: str | None = None
    maker: str | None = None
    email: str | None = None
    after: Place | None = None

    @property
    def narrows(self) -> bool:
        """Whether rows may have to be passed over."""
        return any((self.states, self.text, self.project, self.maker, self.email))

    def following(self, row: "Listed") -> "Filter":
        """The same from the row after this one on."""
        return replace(self, after=places.of(row))


@dataclass(frozen=True)
class Listed:
    """An invite as an admin sees it in the list. `token` is None where its master secret is gone."""

    id: str
    token: str | None
    legacy_code: str | None
    name: str | None
    email: str | None
    note: str | None
    project: str | None
    plan: str
    role: str
    redirect_url: str | None
    makes_admin: bool
    uses: int
    max_uses: int
    state: str
    made_by: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None
    user_id: str | None
    used_by: str | None


@dataclass(frozen=True)
class Found:
    """Some rows of the list, and the place from which to go on; None where there is nothing more."""

    rows: Sequence[Listed]
    next: Place | None


def read(given: Mapping[str, Any], states: Mapping[str, Sequence[str]] = STATES) -> Filter:
    """A filter out of somebody's words: `status`, `q`, `project`, `maker`, `email` and `cursor`; raises Invalid.

    `states` says which states each word for `status` means.
    """
    values = fields.read({**_READERS, "status": partial(_states, states)}, given)
    return Filter(**{_FIELDS.get(name, name): value for name, value in values.items()})


def page(wanted: Filter, limit: int) -> list[Listed]:
    """At most `limit` invites; raises Invalid for a project that there is not."""
    now = clock.now()
    return [_listed(row, now) for row in session().execute(_query(wanted, now).limit(limit))]


def search(wanted: Filter, limit: int) -> Found:
    """At most `limit` invites among the next ones of the list, of which only so many are looked at.

    So it takes no longer where few of a million match: who wants to can go on from `next`.
    """
    now = clock.now()
    query, last = _query(wanted, now), None
    if wanted.narrows:
        looked_at: Any = select(Invite.created_at, Invite.id).order_by(*places.newest(Invite))
        last = session().execute(places.after(looked_at, Invite, wanted.after).offset(LOOKED_AT - 1).limit(1)).first()
    if last:
        query = query.where(
            Invite.created_at >= last.created_at, or_(Invite.created_at > last.created_at, Invite.id >= last.id)
        )
    rows = [_listed(row, now) for row in session().execute(query.limit(limit + 1))]
    if len(rows) > limit:
        return Found(rows[:limit], places.of(rows[limit - 1]))
    return Found(rows, places.of(last) if last else None)


def one(invite_id: str) -> Listed:
    """The row of one invite; raises InviteNotFound."""
    row = session().execute(_LISTED.where(Invite.id == invite_id)).first()
    if row is None:
        raise InviteNotFound
    return _listed(row, clock.now())


class Counts(TypedDict):
    """How many invites there are."""

    total: int
    active: int


def counts() -> Counts:
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


def by_state() -> dict[str, int]:
    """How many invites there are in each state: exactly, at this moment."""
    now, count = clock.now(), select(func.count()).select_from(Invite)
    found = {each: session().scalar(count.where(_in_state(each, now))) or 0 for each in ("expired", "revoked")}
    known = counts()
    return {"active": known["active"], "used": known["total"] - known["active"] - sum(found.values()), **found}


def _query(wanted: Filter, now: datetime) -> Select[Any]:
    query = _LISTED
    if wanted.states:
        query = query.where(or_(*(_in_state(each, now) for each in wanted.states)))
    if wanted.project:
        query = query.where(Invite.project_id == invites.project(wanted.project).id)
    if wanted.maker:
        query = query.where(_made_by(wanted.maker))
    if wanted.email:
        query = query.where(Invite.email == wanted.email)
    if wanted.text:
        searched = (Invite.name, Invite.email, Invite.note)
        query = query.where(or_(*(each.icontains(wanted.text, autoescape=True) for each in searched)))
    return places.after(query, Invite, wanted.after)


def _in_state(state: str, now: datetime) -> ColumnElement[bool]:
    used = Invite.uses >= Invite.max_uses
    if state == "active":
        return invites.is_open(now)
    if state == "used":
        return used
    if state == "revoked":
        return and_(~used, Invite.revoked_at.is_not(None))
    return and_(~used, Invite.revoked_at.is_(None), Invite.expires_at <= now)


def _made_by(maker: str) -> ColumnElement[bool]:
    try:
        return Invite.maker_id == accounts.named(maker).id
    except UserNotFound:
        return or_(Invite.key_id == maker, Invite.made_by.icontains(maker, autoescape=True))


def _states(states: Mapping[str, Sequence[str]], word: object) -> Sequence[str]:
    if word not in states:
        raise Invalid.at("status", "enum", "must be one of %(words)s", words=", ".join(states))
    return states[str(word)]


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "q": lambda value: fields.text(value, "q", 200),
    "project": lambda value: fields.text(value, "project", 100),
    "maker": lambda value: fields.text(value, "maker", 254),
    "email": fields.email,
    "cursor": places.read,
}
_FIELDS = {"status": "states", "q": "text", "cursor": "after"}

_latest = (
    select(Redemption.id)
    .where(Redemption.invite_id == Invite.id)
    .order_by(Redemption.redeemed_at.desc(), Redemption.id)
    .limit(1)
    .correlate(Invite)
    .scalar_subquery()
)
_Use = aliased(Redemption)
_LISTED = (
    select(
        *(getattr(Invite, name) for name in ("id", "nonce", "token_hash", "legacy_hash", "name", "email", "note")),
        *(getattr(Invite, name) for name in ("plan", "role", "redirect_url", "makes_admin", "uses")),
        *(getattr(Invite, name) for name in ("max_uses", "made_by", "created_at", "expires_at", "revoked_at")),
        func.coalesce(Project.slug, Project.name).label("project"),
        _Use.redeemed_at.label("used_at"),
        _Use.user_id,
        User.display_name,
        User.username,
        User.email.label("address"),
    )
    .outerjoin(Project, Project.id == Invite.project_id)
    .outerjoin(_Use, _Use.id == _latest)
    .outerjoin(User, User.id == _Use.user_id)
    .order_by(*places.newest(Invite))
)


def _listed(row: Any, now: datetime) -> Listed:
    values = row._asdict()
    nonce, token_hash, legacy_hash = (values.pop(name) for name in ("nonce", "token_hash", "legacy_hash"))
    names = [values.pop(name) for name in ("display_name", "username", "address")]
    try:
        token: str | None = tokens.shown_again(nonce, token_hash)
    except LinkLost:
        token = None
    return Listed(
        **values,
        token=token,
        legacy_code=tokens.legacy_shown_again(nonce, legacy_hash) if legacy_hash else None,
        state=state_of(row, now),
        used_by=called(*names) if row.user_id else None,
    )
