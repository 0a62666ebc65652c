"""The tree of who invited whom: an account, whom it invited, whom they invited, and so on.

It may be as deep as there are accounts: it is read by one query, and walked without recursion.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select, true, update

import clock
from database import connection, session
from models import Event, User, called
from rules import accounts, admins, changing, events, sessions
from rules.events import NewEvent
from rules.refusals import Invalid

_AT_ONCE = 10_000  # accounts in one statement


@dataclass(frozen=True)
class Person:
    """An account in a branch: how deep in it, how many it invited, and how many are below it in all.

    `state` is ``active``, ``disabled`` or ``deleted``. `inviter_id` is None if no account has invited it.
    """

    id: str
    called: str
    state: str
    is_admin: bool
    created_at: datetime
    inviter_id: str | None
    depth: int = 0
    invited: int = 0
    below: int = 0


@dataclass(frozen=True)
class Branch:
    """The accounts of a branch in the order of the tree, its own first; `is_whole` is False if there are more."""

    people: Sequence[Person]
    is_whole: bool = True


@dataclass(frozen=True)
class Act:
    """The accounts that were disabled or enabled together, those that were spared, and how many invites were revoked.

    Spared are admins of the site, and what hangs on them.
    """

    people: Sequence[Person]
    spared: Sequence[Person] = ()
    revoked: int = 0


def of(user: User, most: int | None = None) -> Branch:
    """The branch of an account; of one with more than `most` accounts, those that are nearest to its own."""
    found = _read(user, most)
    return Branch(_in_order(user.id, found[:most]), most is None or len(found) <= most)


def move(user: User, under: User | None) -> None:
    """Give an account another inviter, or none; raises Invalid for one of its own branch, which would be a circle."""
    accounts.one_admin_at_a_time()  # of two moves that make a circle together, one sees the other
    accounts.lock(user)
    if under and user.id in _above(under):
        raise Invalid.at("under", "circle", "is in the branch of this account, so it cannot be above it")
    before, user.inviter_id = user.inviter_id, under.id if under else None
    if before != user.inviter_id:
        events.record("user.moved", user_id=user.id, facts={"under": user.inviter_id, "before": before})


def to_disable(user: User) -> Act:
    """Whom `disable` would disable and spare now; raises Invalid for an admin of the site."""
    if admins.is_admin(user):
        raise Invalid.at(
            "who", "admin", "is an admin of this site: end that first, or disable the account without its branch"
        )
    kept, spared, below = list[Person](), list[Person](), -1
    for each in of(user).people:
        below = below if 0 <= below < each.depth else each.depth if each.is_admin else -1
        (kept if below < 0 else spared).append(each)
    return Act([each for each in kept if each.state == "active"], [each for each in spared if each.state != "deleted"])


def disable(user: User) -> Act:
    """Disable an account and its branch, but for admins of the site and what hangs on them, as one act.

    The act is known by the number of its event, by which `enable` finds whom it has disabled. If the account is
    disabled by such an act already, it goes on with that one. Raises Invalid for an admin of the site.
    """
    accounts.one_admin_at_a_time()
    number = user.disabled_event if user.disabled_at else None
    done, revoked = list[Person](), 0
    while found := _lock_active(to_disable(user).people):  # once more: a guest may have registered until all was locked
        revoked += changing.revoke_all_of([each.id for each in found])
        number = number or _begin(user)
        _disable(found, user, number)
        done += found
    accounts.lock(user)  # one that was disabled before comes back with its branch
    user.disabled_event = number
    return Act(done, to_disable(user).spared, revoked)


def to_enable(user: User) -> Act:
    """Whom `enable` would enable now; raises Invalid for an account that was not disabled with a branch."""
    begun = session().scalars(select(Event.number).where(Event.user_id == user.id, Event.type == "user.disabled")).all()
    its_own = user.disabled_event if user.disabled_at else None
    # The root may be enabled, or disabled alone, since: the others still come back.
    together = User.disabled_event.in_([its_own] if its_own else begun), User.disabled_at.is_not(None)
    found = _columns().where(*together, User.deleted_at.is_(None)).order_by(User.created_at)
    people = {row.id: _person(row) for row in session().execute(found)}
    if not people:
        raise Invalid.at("branch", "none", "is not possible: this account was not disabled together with its branch")
    if its_own is None or its_own in begun:
        return Act(list(people.values()))
    return Act([each for each in of(user).people if each.id in people])


def enable(user: User) -> Act:
    """Enable those that were disabled by the same act as an account: all of them if it was the root of that branch.

    So it is also where the root itself is enabled already. Otherwise those in its own branch. Raises Invalid for an
    account that was not disabled with a branch.
    """
    accounts.one_admin_at_a_time()
    act = to_enable(user)
    for some in _chunks(act.people):
        _locked(some)
        back = update(User).where(_among(some)).values(disabled_at=None, disabled_event=None)
        session().execute(back.execution_options(synchronize_session=False))
    _record("user.enabled", act.people, user)
    session().refresh(user)
    return act


def _begin(user: User) -> int:
    """Tell that a branch is disabled; returns the number of the event."""
    return events.record_numbered("user.disabled", user_id=user.id, facts={"branch": user.id})


def _disable(people: Sequence[Person], root: User, number: int) -> None:
    """Disable accounts that are locked, and end their sessions and passes."""
    for some in _chunks(people):
        sessions.end_all_of([each.id for each in some])
        change = update(User).where(_among(some)).values(disabled_at=clock.now(), disabled_event=number)
        session().execute(change.execution_options(synchronize_session=False))
    _record("user.disabled", [each for each in people if each.id != root.id], root)
    session().refresh(root)


def _record(type_: str, people: Sequence[Person], root: User) -> None:
    events.record_all(type_, [NewEvent({"user_id": each.id}, facts={"branch": root.id}) for each in people])


def _lock_active(people: Sequence[Person]) -> Sequence[Person]:
    """Those of these accounts that are active and no admins once they are locked."""
    locked: set[str] = set()
    for some in _chunks(sorted(people, key=lambda each: each.id)):
        rows = _locked(some)
        locked |= {row.id for row in rows if row.disabled_at is None and not admins.is_admin(row)}
    return [each for each in people if each.id in locked]


def _locked(people: Sequence[Person]) -> Sequence[Any]:
    """Lock these accounts in the order of their ids; returns those of them that are not deleted."""
    query = _columns().where(_among(people), User.deleted_at.is_(None)).order_by(User.id)
    return connection().execute(query.with_for_update(key_share=True)).all()


def _among(people: Sequence[Person]) -> ColumnElement[bool]:
    return User.id.in_([each.id for each in people])


def _chunks(people: Sequence[Person]) -> Iterator[Sequence[Person]]:
    return (people[start : start + _AT_ONCE] for start in range(0, len(people), _AT_ONCE))


def _columns() -> Any:
    names = "id", "display_name", "username", "email", "email_verified_at", "admin_at", "created_at", "inviter_id"
    return select(*(getattr(User, each) for each in names), User.disabled_at, User.deleted_at)


def _read(user: User, most: int | None) -> Sequence[Any]:
    """The rows of a branch; those below each other end where an account is met again, as in a circle."""
    branch = select(User.id).where(User.id == user.id).cte("branch", recursive=True)
    branch = branch.union(_invited_by(branch))
    query = _columns().join(branch, branch.c.id == User.id)
    return session().execute(query if most is None else query.limit(most + 1)).all()


def _invited_by(branch: Any) -> Any:
    """The ids of those whom the accounts in a branch invited, each found by the index of inviters.

    Left to itself, PostgreSQL reads all accounts at each level of the tree as long as it has no statistics.
    """
    if connection().dialect.name == "sqlite":
        return select(User.id).where(User.inviter_id == branch.c.id)
    one = select(User.id).where(User.inviter_id == branch.c.id).offset(0).lateral()
    return select(one.c.id).select_from(branch.join(one, true()))


def _above(user: User) -> set[str]:
    """The ids of an account, its inviter, whose inviter, and so on."""
    above = select(User.id, User.inviter_id).where(User.id == user.id).cte("above", recursive=True)
    above = above.union(select(User.id, User.inviter_id).where(User.id == above.c.inviter_id))
    return set(session().scalars(select(above.c.id)))


def _in_order(root: str, rows: Sequence[Any]) -> Sequence[Person]:
    """The accounts of a branch, each followed by those below it, the oldest first; with their depths and counts."""
    invited: dict[str, list[Any]] = {row.id: [] for row in rows}
    for row in sorted(rows, key=lambda row: (row.created_at, row.id), reverse=True):
        if row.id != root and row.inviter_id in invited:
            invited[row.inviter_id].append(row)
    ordered, ahead = list[tuple[Any, int]](), [(row, 0) for row in rows if row.id == root]
    while ahead:
        row, depth = ahead.pop()
        ordered.append((row, depth))
        ahead += [(each, depth + 1) for each in invited[row.id]]
    below = dict.fromkeys(invited, 0)
    for row, _ in reversed(ordered[1:]):
        below[row.inviter_id] += below[row.id] + 1
    return [_person(row, depth, len(invited[row.id]), below[row.id]) for row, depth in ordered]


def _person(row: Any, *place: int) -> Person:
    state = "deleted" if row.deleted_at else "disabled" if row.disabled_at else "active"
    name = called(row.display_name, row.username, row.email)
    return Person(row.id, name, state, admins.is_admin(row), row.created_at, row.inviter_id, *place)
