"""The list of invites for admins: the newest first, filtered, a page at a time."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import aliased

import clock
from database import Cells, session
from models import Invite, Project, Redemption, User, called, state_of
from rules import accounts, cursors, fields, invites, searching, states, tokens, waiting
from rules.cursors import Cursor
from rules.refusals import Invalid, InviteNotFound, LinkLost, UserNotFound
from rules.waiting import Waiting

STATES: Mapping[str, Sequence[str]] = {each: (each,) for each in ("active", "used", "expired", "revoked")}
ALIASES: Mapping[str, str] = {"open": "active", "withdrawn": "revoked"}  # former words for two of them

LOOKED_AT = 50_000  # at most so many rows are read by one search


@dataclass(frozen=True)
class Filter:
    """Which invites to list; all conditions that are given must hold.

    `states`: in one of these; `text`: in the name, address or note; `project`: its slug; `inviter`: an account's id,
    name or address, a key's id, or part of the inviter's name; `email`: for this address; `after`: beyond this one.
    """

    states: Sequence[str] = ()
    text: str | None = None
    project: str | None = None
    inviter: str | None = None
    email: str | None = None
    after: Cursor | None = None

    @property
    def narrows(self) -> bool:
        """Whether the filter may leave rows out."""
        return any((self.states, self.text, self.project, self.inviter, self.email))

    def following(self, row: "Listed") -> "Filter":
        """The same filter, for the rows after this one."""
        return replace(self, after=cursors.of(row))


@dataclass(frozen=True)
class Listed:
    """An invite as an admin sees it in the list. `token` is None if its master secret is gone.

    `is_gone` says that the account which used it last is deleted. `access` is in seconds, `data` JSON; `waiting` are
    those of its `uses` that wait, without those that have lapsed.
    """

    id: str
    token: str | None
    legacy_code: str | None
    name: str | None
    email: str | None
    message: str | None
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
    is_gone: bool = False
    access: int | None = None
    data: str | None = None
    approve: bool = False
    waiting: Sequence[Waiting] = ()


@dataclass(frozen=True)
class SearchResult:
    """Some rows of the list, and the cursor of the next page; None at the end of the list."""

    rows: Sequence[Listed]
    next: Cursor | None


def read(
    given: Mapping[str, Any],
    states: Mapping[str, Sequence[str]] = STATES,
    state: str = "status",
    text: str = "q",
) -> Filter:
    """A Filter from the fields `project`, `inviter`, `email`, `cursor` and two more; raises Invalid.

    `state` and `text` are what those two are called; `states` says which states each word for the first stands for. The
    words in ALIASES are taken, too.
    """
    named: dict[str, Callable[[Any], Any]] = {
        state: partial(_states, states, state),
        text: lambda value: fields.text(value, text, 200),
    }
    values = fields.read({**_READERS, **named}, given)
    called = {state: "states", text: "text", "cursor": "after"}
    return Filter(**{called.get(name, name): value for name, value in values.items()})


def described(row: Listed) -> dict[str, Any]:
    """An invite as programs are told of it: without its token, its link, and what waits of it."""
    return {
        "id": row.id,
        "state": row.state,
        "name": row.name,
        "email": row.email,
        "project": row.project,
        "role": row.role,
        "access": clock.spell_seconds(row.access),
        "plan": row.plan,
        "data": json.loads(row.data) if row.data else None,
        "approve": row.approve,
        "redirect_url": row.redirect_url,
        "message": row.message,
        "note": row.note,
        "makes_admin": row.makes_admin,
        "max_uses": row.max_uses,
        "uses": row.uses,
        "created_at": clock.iso(row.created_at),
        "made_by": row.made_by,
        "expires_at": clock.iso(row.expires_at) if row.expires_at else None,
        "revoked_at": clock.iso(row.revoked_at) if row.revoked_at else None,
        "used_at": clock.iso(row.used_at) if row.used_at else None,
        "user_id": row.user_id,
    }


def page(wanted: Filter, limit: int) -> list[Listed]:
    """At most `limit` invites; raises Invalid for a project that does not exist."""
    now = clock.now()
    return _listed(session().execute(matching(wanted, now).limit(limit)).all(), now)


def search(wanted: Filter, limit: int) -> SearchResult:
    """At most `limit` invites out of the next 50,000 of the list, and where to continue; raises Invalid as `page` does.

    Only that many rows are looked at, so that a search which matches few of a million takes no longer than any other.
    """
    now = clock.now()
    query, last = looked_at(matching(wanted, now), wanted)
    rows = _listed(session().execute(query.limit(limit + 1)).all(), now)
    if len(rows) > limit:
        return SearchResult(rows[:limit], cursors.of(rows[limit - 1]))
    return SearchResult(rows, last)


def of_ids(these: Sequence[str]) -> list[Listed]:
    """The rows of the invites with these ids, the newest first; ids that no invite has are left out."""
    return _listed(session().execute(_LISTED.where(Invite.id.in_(these))).all(), clock.now())


def one(invite_id: str) -> Listed:
    """The row of the invite with this id; raises InviteNotFound."""
    rows = session().execute(_LISTED.where(Invite.id == invite_id)).all()
    if not rows:
        raise InviteNotFound(by_id=True)
    return _listed(rows, clock.now())[0]


def of_new(invite: Invite, project: str | None, token: str) -> Listed:
    """The row of an invite that was created just now, with this token, to the project with this slug."""
    columns = ("id", "name", "email", "message", "note", "plan", "role", "redirect_url", "makes_admin", "uses")
    moments = ("max_uses", "made_by", "created_at", "expires_at", "revoked_at", "access", "data", "approve")
    return Listed(
        **{name: getattr(invite, name) for name in (*columns, *moments)},
        token=token,
        legacy_code=None,
        project=project,
        state="active",
        used_at=None,
        user_id=None,
        used_by=None,
    )


class Counts(TypedDict):
    """How many invites there are, in total and active."""

    total: int
    active: int


def counts() -> Counts:
    """How many invites there are in total, and how many of them are active: exact, at this moment."""
    now = clock.now()
    open_ = Invite.revoked_at.is_(None)
    # Each a range of an index: a single query would read all rows.
    active = _unused(open_, Invite.expires_at > now) + _unused(open_, Invite.expires_at.is_(None))
    return {"total": session().scalar(_COUNT) or 0, "active": active}


def by_state() -> dict[str, int]:
    """How many invites there are in each state: exact, at this moment."""
    expired = _unused(Invite.revoked_at.is_(None), Invite.expires_at <= clock.now())
    found = {"expired": expired, "revoked": _unused(Invite.revoked_at.is_not(None))}
    known = counts()
    return {"active": known["active"], "used": known["total"] - known["active"] - sum(found.values()), **found}


def _unused(*conditions: ColumnElement[bool]) -> int:
    """How many invites have a use left, or one that waited and has lapsed."""
    left = session().scalar(_COUNT.where(Invite.uses < Invite.max_uses, *conditions)) or 0
    lapsed = session().scalar(
        _COUNT.where(Invite.lapses_at <= clock.now(), Invite.uses >= Invite.max_uses, *conditions)
    )
    return left + (lapsed or 0)


def looked_at(query: Select[Any], wanted: Filter) -> tuple[Select[Any], Cursor | None]:
    """A query for those rows alone at which one search looks, and the cursor of the last of these.

    The cursor is None if the search looks at all rows.
    """
    if not wanted.narrows:
        return query, None
    rows: Any = select(Invite.created_at, Invite.id).order_by(*cursors.newest(Invite))
    last = session().execute(cursors.after(rows, Invite, wanted.after).offset(LOOKED_AT - 1).limit(1)).first()
    if last is None:
        return query, None
    within = or_(Invite.created_at > last.created_at, Invite.id >= last.id)
    return query.where(Invite.created_at >= last.created_at, within), cursors.of(last)


def matching(wanted: Filter, now: datetime, of: Select[Any] | None = None) -> Select[Any]:
    """The query for the rows that a filter leaves, of the list or of another query for invites; raises as `page` does.

    `now` decides who is in which state.
    """
    query = _LISTED if of is None else of
    if wanted.states:
        query = query.where(or_(*(states.in_state(each, now) for each in wanted.states)))
    if wanted.project:
        query = query.where(Invite.project_id == invites.find_project(wanted.project).id)
    if wanted.inviter:
        query = query.where(_created_by(wanted.inviter))
    if wanted.email:
        query = query.where(Invite.email == wanted.email)
    if wanted.text:
        query = query.where(searching.found(wanted.text, Invite.folded, Invite.name, Invite.email, Invite.note))
    return cursors.after(query, Invite, wanted.after)


def _created_by(inviter: str) -> ColumnElement[bool]:
    try:
        return Invite.maker_id == accounts.named(inviter).id
    except UserNotFound:
        key_id = inviter.partition("/")[0]
        return or_(Invite.key_id == key_id, searching.found(inviter, Invite.made_by_folded, Invite.made_by))


def _states(states: Mapping[str, Sequence[str]], field: str, word: object) -> Sequence[str]:
    called = ALIASES.get(str(word), str(word))
    if called not in states:
        raise Invalid.at(field, "enum", "must be one of %(words)s", words=", ".join(states))
    return states[called]


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "project": lambda value: fields.text(value, "project", 100),
    "inviter": lambda value: fields.text(value, "inviter", 254),
    "email": fields.invited_email,
    "cursor": cursors.read,
}

_COUNT = select(func.count()).select_from(Invite)
_latest = (
    select(Redemption.id)
    .where(Redemption.invite_id == Invite.id, Redemption.released_at.is_(None), Redemption.redeemed_at.is_not(None))
    .order_by(Redemption.redeemed_at.desc(), Redemption.id)
    .limit(1)
    .correlate(Invite)
    .scalar_subquery()
)
_Use = aliased(Redemption)
_LISTED = (
    select(
        *(getattr(Invite, name) for name in ("id", "nonce", "token_hash", "legacy_hash", "name", "email")),
        *(getattr(Invite, name) for name in ("message", "note", "plan", "role", "redirect_url", "makes_admin", "uses")),
        *(getattr(Invite, name) for name in ("max_uses", "made_by", "created_at", "expires_at", "revoked_at")),
        *(getattr(Invite, name) for name in ("access", "data", "approve", "waiting", "lapses_at")),
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
    .order_by(*cursors.newest(Invite))
)
_CELLS = Cells(_LISTED)


def _listed(rows: Sequence[Any], now: datetime) -> list[Listed]:
    """These rows with what waits of each; a damaged one is refused."""
    waits = waiting.of_invites(row.id for row in _CELLS.checked(rows) if row.waiting)
    return [_row(row, waits.get(row.id, ()), now) for row in rows]


def _row(row: Any, waits: Sequence[Waiting], now: datetime) -> Listed:
    values = row._asdict()
    lapsed = values.pop("waiting") - len(waits)  # those are still in its count
    values |= {"uses": row.uses - lapsed, "waiting": waits}
    nonce, token_hash, legacy_hash, _ = map(values.pop, ("nonce", "token_hash", "legacy_hash", "lapses_at"))
    names = [values.pop(name) for name in ("display_name", "username", "address")]
    try:
        token: str | None = tokens.invite_token_again(nonce, token_hash)
    except LinkLost:
        token = None
    return Listed(
        **values,
        token=token,
        legacy_code=tokens.legacy_code_again(nonce, legacy_hash) if legacy_hash else None,
        state=state_of(row, now),
        used_by=called(*names) if row.user_id else None,
        is_gone=bool(row.user_id and not any(names)),
    )


def batch_ids(once: str, count: int) -> list[str]:
    """The ids of the `count` invites that the form with the number `once` creates.

    They are the same if the form is sent again, so that a second sending creates nothing.
    """
    return [clock.id_for(f"{once} {number}") for number in range(count)]


def with_ids(ids: Sequence[str]) -> Sequence[Invite]:
    """The invites with these ids, the oldest first; ids that no invite has are left out."""
    return session().scalars(select(Invite).where(Invite.id.in_(ids)).order_by(Invite.created_at, Invite.id)).all()
