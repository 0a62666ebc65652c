"""The uses of an invite as rows: how one is taken, waits, is completed, and is given back.

One guarded UPDATE takes a use. A use that waits is a redemption that is neither done nor released; giving one back is
guarded, too, so that it happens once. Whatever waits is changed while the invite's row is locked, and that row is
changed by one UPDATE in a unit of work. From its `until` on a use that waits counts no more: the next who wants it
takes it, and the caretaker only tidies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, select, update

import clock
from database import connection, session
from database.statements import Statement
from models import Invite, Redemption, state_of
from rules import events, invites, states, tokens
from rules.events import About, NewEvent
from rules.refusals import InviteHeld, InviteNotFound

_AT_ONCE = 500  # invites in one statement
WAITS = and_(Redemption.redeemed_at.is_(None), Redemption.released_at.is_(None))
RELEASED = ("released", "denied", "revoked", "lapsed")


@dataclass(frozen=True)
class Taken:
    """An invite of which one use has been taken, with the columns that are needed after it."""

    id: str
    email: str | None
    project_id: str | None
    role: str
    makes_admin: bool
    mail_token_hash: str | None
    redirect_url: str | None
    access: int | None
    maker_id: str | None


def take(token: str) -> Taken:
    """Take one use of an invite, first in the unit of work: a refusal later in the unit gives it back.

    Raises InviteNotFound, InviteUsed or InviteExpired.
    """
    now, digest = clock.now(), tokens.digest(token)
    taken = _TAKE.first(now=now, digest=digest) or _TAKE_MAILED.first(now=now, digest=digest)
    return Taken(*taken) if taken else _take_lapsed(invites.find(token))


def take_one(which: ColumnElement[bool]) -> Taken:
    """Take one use of the invite for which a condition holds; raises InviteNotFound, InviteUsed or InviteExpired."""
    taken = connection().execute(_take(which), {"now": clock.now()}).first()
    if taken:
        return Taken(*taken)
    found = session().scalar(select(Invite).where(which))
    if found is None:
        raise InviteNotFound
    return _take_lapsed(found)


def _take_lapsed(invite: Invite) -> Taken:
    """Take a use that waited and has lapsed; raises InviteUsed or InviteExpired where there is none."""
    states.refuse_unusable(invite)
    lock(invite)
    states.refuse_unusable(invite)  # before anything is written: who refuses a short code keeps the unit
    return take_locked(invite)


def take_locked(invite: Invite) -> Taken:
    """Take one use of a locked invite: one that is left, or one that has lapsed."""
    lapsed = lapse(invite)
    return count(invite, 1 - lapsed, -lapsed)


def lock(invite: Invite) -> Invite:
    """Lock an invite, and read it anew: nobody else changes or uses it before this unit ends."""
    session().flush()  # or what was just changed of it would be forgotten
    session().refresh(invite, with_for_update=True)
    return invite


def lapse(invite: Invite) -> int:
    """Mark those uses of a locked invite that have lapsed; returns how many, for `count`."""
    now = clock.now()
    if invite.lapses_at is None or invite.lapses_at > now:
        return 0
    which = and_(Redemption.invite_id == invite.id, Redemption.until <= now)
    return len(_release(which, "lapsed"))


def count(invite: Invite, uses: int, waiting: int, **values: Any) -> Taken:
    """Add to the uses of a locked invite, and to those that wait, once its redemptions have changed; set `values`."""
    changed = (
        update(Invite)
        .where(Invite.id == invite.id, Invite.uses + uses <= Invite.max_uses)
        .values(uses=Invite.uses + uses, waiting=Invite.waiting + waiting, lapses_at=_next_lapse(), **values)
        .returning(*_facts())
        .execution_options(synchronize_session=False)
    )
    taken = Taken(*connection().execute(changed).one())
    session().expire(invite)
    return taken


def refuse_unusable(invite: Invite) -> None:
    """Raise InviteHeld, InviteUsed or InviteExpired unless a use of a locked invite is left.

    InviteHeld is for one whose last use waits for a program.
    """
    held = and_(Redemption.invite_id == invite.id, Redemption.state == "held", WAITS)
    if state_of(invite, clock.now()) == "used":
        until = session().scalar(select(func.min(Redemption.until)).where(held, Redemption.until > clock.now()))
        if until:
            raise InviteHeld(until)
    states.refuse_unusable(invite)


def wait(invite: Invite, state: str, until: datetime | None, **whose: str | None) -> Redemption:
    """Take one use of a locked invite, and let it wait, as `state` says, until it lapses (never if None).

    `whose` is a `user_id`, or a `key_id` and `subject`; with an `id` and `asked` where it is taken once. Raises
    InviteHeld, InviteUsed or InviteExpired.
    """
    refuse_unusable(invite)
    lapsed = lapse(invite)
    named = {"id": clock.new_id(), **whose}
    use = Redemption(invite_id=invite.id, state=state, since=clock.now(), until=until, **named)
    session().add(use)
    session().flush()
    count(invite, 1 - lapsed, 1 - lapsed)
    _record("invite.held" if state == "held" else "invite.waiting", invite, use)
    return use


def go_on(invite: Invite, use: Redemption, state: str, until: datetime | None) -> None:
    """Let a use that waits, or has lapsed, wait for something else, or for longer. The invite is locked.

    Raises InviteHeld, InviteUsed or InviteExpired if it has lapsed and none is left.
    """
    changes, began = _resume(invite, use), use.state != state
    use.state, use.until = state, until
    session().flush()
    count(invite, *changes)
    if began:
        _record("invite.held" if state == "held" else "invite.waiting", invite, use)


def complete(invite: Invite, use: Redemption) -> Taken:
    """Complete a use that waits, or has lapsed; `joining.give` gives what the invite promises. The invite is locked.

    Raises InviteHeld, InviteUsed or InviteExpired if it has lapsed and none is left.
    """
    taken, waiting = _resume(invite, use)
    use.state, use.redeemed_at = "done", clock.now()
    session().flush()
    return count(invite, taken, waiting - 1)


def redeem(invite: Invite, **whose: str | None) -> tuple[Taken, Redemption]:
    """Take one use of a locked invite, completed at once; `whose` as for `wait`, and it raises the same."""
    refuse_unusable(invite)
    lapsed, now = lapse(invite), clock.now()
    done = Redemption(**{"id": clock.new_id(), **whose}, invite_id=invite.id, state="done", since=now, redeemed_at=now)
    session().add(done)
    session().flush()
    return count(invite, 1 - lapsed, -lapsed), done


def _resume(invite: Invite, use: Redemption) -> tuple[int, int]:
    """What to add to the uses of an invite, and to those that wait, for a use that is to go on."""
    if use.is_waiting(clock.now()):
        return 0, 0
    refuse_unusable(invite)
    if use.released_at is None:  # nobody else has wanted it since it lapsed
        return 0, 0
    freed = lapse(invite)
    use.released_at = None
    return 1 - freed, 1 - freed


def give_back(invite: Invite, use: Redemption, state: str) -> bool:
    """Give back a use that waits; returns False if it did not. The invite is locked.

    `state` says why, one of RELEASED.
    """
    released = _release(Redemption.id == use.id, state)
    if released:
        count(invite, -1, -1)
    session().refresh(use)
    return bool(released)


def give_back_all(which: ColumnElement[bool], state: str) -> None:
    """Give back all uses that wait for which a condition holds, of any number of invites."""
    # Locked by a statement of its own: the next ones see what others have committed until then. What others take
    # meanwhile of an invite that is not locked here stays as it is, since its count could not be right.
    locked = lock_all(have_waiting(which))
    waiting = select(func.count()).where(Redemption.invite_id == Invite.id, WAITS).scalar_subquery()
    counts = {"uses": Invite.uses - Invite.waiting + waiting, "waiting": waiting, "lapses_at": _next_lapse()}
    for start in range(0, len(locked), _AT_ONCE):
        these = locked[start : start + _AT_ONCE]
        _release(and_(which, Redemption.invite_id.in_(these)), state)
        connection().execute(update(Invite).where(Invite.id.in_(these)).values(counts))


def have_waiting(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the SQL condition for invites of which uses wait for which a condition holds."""
    return Invite.id.in_(select(Redemption.invite_id).where(which, WAITS))


def lock_all(*which: ColumnElement[bool]) -> Sequence[str]:
    """Lock invites in the order of their ids, which it returns.

    Two who lock several in another order may wait for one another.
    """
    found = select(Invite.id).where(*which).order_by(Invite.id).with_for_update()
    return connection().execute(found).scalars().all()


def end_all(which: ColumnElement[bool]) -> None:
    """Release all that waits of locked invites, which are revoked in this unit; it sets their counts itself."""
    _release(Redemption.invite_id.in_(select(Invite.id).where(which)), "revoked")


def first_lapse(invite: Invite) -> datetime | None:
    """The first moment at which one of the uses of an invite that wait lapses."""
    return session().scalar(select(func.min(Redemption.until)).where(Redemption.invite_id == invite.id, WAITS))


def lapsed(invite: Invite) -> int:
    """How many uses of an invite have lapsed, and are still in its count."""
    now = clock.now()
    if invite.lapses_at is None or invite.lapses_at > now:
        return 0
    counted = select(func.count()).where(Redemption.invite_id == invite.id, WAITS, Redemption.until <= now)
    return session().scalar(counted) or 0


def _release(which: ColumnElement[bool], state: str) -> Sequence[Any]:
    """The guarded UPDATE of redemptions that were given back; returns their rows."""
    released = (
        update(Redemption)
        .where(which, WAITS)
        .values(state=state, released_at=clock.now())
        .returning(Redemption.id, Redemption.invite_id, Redemption.user_id)
        .execution_options(synchronize_session=False)
    )
    rows = connection().execute(released).all()
    if rows:
        of = select(Invite.id, Invite.project_id).where(Invite.id.in_({each.invite_id for each in rows}))
        projects = {row.id: row.project_id for row in connection().execute(of)}
        type_ = "invite.denied" if state == "denied" else "invite.released"
        events.record_all(type_, [_released(each, projects[each.invite_id], state) for each in rows])
    return rows


def _released(use: Any, project_id: str | None, state: str) -> NewEvent:
    facts = {"redemption": use.id} | ({} if state == "denied" else {"why": state})
    return NewEvent({"invite_id": use.invite_id, "project_id": project_id, "user_id": use.user_id}, facts=facts)


def _record(type_: str, invite: Invite, use: Redemption) -> None:
    about = About(invite_id=invite.id, project_id=invite.project_id, user_id=use.user_id)
    facts: dict[str, Any] = {"redemption": use.id}
    if use.state != "held":
        facts["for"] = use.state
    if use.until:
        facts["lease"] = round((use.until - clock.now()).total_seconds())
    events.record(type_, **about, facts=facts)


def _next_lapse() -> Any:
    waiting = select(func.min(Redemption.until)).where(Redemption.invite_id == Invite.id, WAITS)
    return waiting.scalar_subquery()


def _facts() -> Sequence[Any]:
    return [getattr(Invite, each.name) for each in fields(Taken)]


def _take(which: ColumnElement[bool]) -> Any:
    """The guarded UPDATE: take one use of the invite for which a condition holds, if it has one left."""
    has_one = Invite.uses < Invite.max_uses
    guarded = update(Invite).where(which, has_one, states.is_open(bindparam("now"))).values(uses=Invite.uses + 1)
    return guarded.returning(*_facts())


# Built once, since building a query takes as long as SQLite takes to answer it.
_TAKE, _TAKE_MAILED = (Statement(_take(each)) for each in (invites.WITH_TOKEN, invites.WITH_MAIL_TOKEN))
REDEEM = Statement(insert(Redemption))
