"""Which branches grow fastest. A branch is a person and all whom they invited, directly or through others.

Each newcomer counts for their inviter, for the inviter of that one, and so on, up to an admin of the site: admins
begin branches, and are in nobody's. A person through whose single guest all newcomers came is left out: the branch
begins beneath them.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import aliased

import clock
from database import session
from database.statements import Statement
from models import User
from rules import admins

WINDOWS: Mapping[str, timedelta] = {"day": clock.DAY, "week": clock.WEEK}
LOOKED_AT = 50_000  # of the newest accounts
MAX_ABOVE = 100_000  # people in whose branches these are


@dataclass(frozen=True)
class Branch:
    """How many people have joined in a branch, and how many of them its person has invited directly; both lately."""

    person: User
    day: int
    week: int
    direct: int


@dataclass(frozen=True)
class _Above:
    """One of those in whose branches newcomers are."""

    inviter_id: str | None
    is_admin: bool


def fastest(limit: int, by: str = "week") -> Sequence[Branch]:
    """At most `limit` branches in which most people have joined within a ``day`` or a ``week``, the fastest first."""
    above = _above(WINDOWS["week"])
    direct = {name: _direct(window) for name, window in WINDOWS.items()}
    joined = {name: _totals(above, direct[name]) for name in WINDOWS}
    ranked = heapq.nlargest(limit, _begin(above, joined[by]), key=lambda each: (joined[by][each], each))
    people = {each.id: each for each in session().scalars(select(User).where(User.id.in_(ranked)))}
    return [
        Branch(people[each], joined["day"][each], joined["week"][each], direct["week"][each])
        for each in ranked
        if each in people
    ]


def most_in_a_day() -> int:
    """How many people have joined within a day in the branch that grew fastest."""
    above = _above(clock.DAY)
    joined = _totals(above, _direct(clock.DAY))
    return max((joined[each] for each in _begin(above, joined)), default=0)


def is_all_looked_at() -> bool:
    """Whether all who have joined within a week were counted."""
    newest = select(User.id).where(User.created_at > clock.now() - clock.WEEK).limit(LOOKED_AT + 1)
    return (session().scalar(select(func.count()).select_from(newest.subquery())) or 0) <= LOOKED_AT


def _direct(window: timedelta) -> Counter[str]:
    """How many each person has invited who have joined within a time."""
    return Counter({each.inviter_id: each.joined for each in _DIRECT.run(since=clock.now() - window)})


def _above(window: timedelta) -> Mapping[str, _Above]:
    """All in whose branches anyone has joined within a time, by their ids."""
    found = _ABOVE.run(since=clock.now() - window)
    return {each.id: _Above(each.inviter_id, admins.is_admin(each)) for each in found}


def _totals(above: Mapping[str, _Above], direct: Counter[str]) -> Counter[str]:
    """How many have joined in the branch of each: those whom they invited, and those in the branches beneath."""
    totals, beneath = Counter(direct), Counter(_parent(above, each) for each in above)
    ready = [each for each in above if not beneath[each]]
    while ready:
        done = ready.pop()
        parent = _parent(above, done)
        if parent is None:
            continue
        totals[parent] += totals[done]
        beneath[parent] -= 1
        if not beneath[parent]:
            ready.append(parent)
    return totals


def _parent(above: Mapping[str, _Above], each: str) -> str | None:
    """In whose branch a branch is; None at a root, and for an admin, who is in nobody's."""
    parent = None if above[each].is_admin else above[each].inviter_id
    return parent if parent in above else None


def _begin(above: Mapping[str, _Above], joined: Counter[str]) -> Sequence[str]:
    """Those with whose person a branch begins that has grown: no admins, and none who only pass another one's on."""
    passed_on = {parent for each in above if (parent := _parent(above, each)) and joined[parent] == joined[each]}
    return [each for each in above if joined[each] and not above[each].is_admin and each not in passed_on]


_new = (
    select(User.inviter_id, User.created_at)
    .where(User.created_at > bindparam("since"))
    .order_by(User.created_at.desc())
    .limit(LOOKED_AT)
    .subquery()
)
_DIRECT = Statement(
    select(_new.c.inviter_id, func.count().label("joined"))
    .where(_new.c.inviter_id.is_not(None))
    .group_by(_new.c.inviter_id)
)
_columns = ("id", "inviter_id", "admin_at", "email", "email_verified_at")
_first = select(*(getattr(User, name) for name in _columns)).where(
    User.id.in_(select(_new.c.inviter_id).where(_new.c.inviter_id.is_not(None)))
)
_up = _first.cte("up", recursive=True)
_next = aliased(User)
_up = _up.union(select(*(getattr(_next, name) for name in _columns)).join(_up, _next.id == _up.c.inviter_id))
_ABOVE = Statement(select(_up).limit(MAX_ABOVE))
