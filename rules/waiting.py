"""Uses of invites that wait for the proof of an address, or for somebody's yes; and how each ends."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select

import clock
from database import session
from models import Invite, Redemption, User
from rules import events, fields, joining, outbox, uses
from rules.events import About
from rules.refusals import AlreadyMember, InviteExpired, InviteHeld, InviteUsed, NotWaiting
from rules.sessions import Account


@dataclass(frozen=True)
class Waiting:
    """A use that waits: its id, who waits (an account's name, or a program's name for its guest), since when.

    `state` is ``held``, ``proof`` or ``approval``; `until` is when it lapses, None if never.
    """

    id: str
    invite_id: str
    state: str
    who: str
    user_id: str | None
    key_id: str | None
    since: datetime
    until: datetime | None


def of_invites(invite_ids: Iterable[str]) -> Mapping[str, Sequence[Waiting]]:
    """The uses of these invites that wait now, the oldest first, by the ids of the invites."""
    found: dict[str, list[Waiting]] = {each: [] for each in invite_ids}
    alive = or_(Redemption.until.is_(None), Redemption.until > clock.now())
    query = select(Redemption, User).outerjoin(User, User.id == Redemption.user_id)
    query = query.where(Redemption.invite_id.in_(found), uses.WAITS, alive).order_by(Redemption.since, Redemption.id)
    for use, user in session().execute(query) if found else ():
        who = user.called if user else use.subject or ""
        found[use.invite_id].append(
            Waiting(use.id, use.invite_id, use.state, who, use.user_id, use.key_id, use.since or clock.now(), use.until)
        )
    return found


def of_invite(invite: Invite) -> Sequence[Waiting]:
    """The uses of an invite that wait now, the oldest first."""
    return of_invites([invite.id])[invite.id] if invite.waiting else []


def approve(use_id: str) -> Redemption:
    """Say yes to a use that waits for it; the account gets what the invite promises, and a mail. Raises NotWaiting."""
    invite, use = _held(use_id)
    about = About(invite_id=invite.id, project_id=invite.project_id, user_id=use.user_id)
    try:
        former = joining.refuse_member(invite.project_id, use.user) if use.user else None
    except AlreadyMember:  # by another invite meanwhile
        uses.give_back(invite, use, "released")
        return use
    taken = uses.complete(invite, use)
    events.tell("invite.approved", **about, facts={"redemption": use.id})
    joining.give(taken, use.user, use.id, former)
    _mail("approved", invite, use)
    return use


def deny(use_id: str) -> Redemption:
    """Say no to a use that waits for a yes; it is given back, and the account gets a mail. Raises NotWaiting."""
    invite, use = _held(use_id)
    uses.give_back(invite, use, "denied")
    _mail("denied", invite, use)
    return use


def invite_of(use_id: str) -> Invite:
    """The invite of the use with this id; raises NotWaiting if there is no such use."""
    use = session().get(Redemption, use_id)
    if use is None:
        raise NotWaiting
    return use.invite


def proved(user: User, email: str) -> None:
    """Let the uses of an account go on that waited for the proof of this address, also those that have lapsed.

    One that has lapsed goes on if its invite still has a use, and waits on otherwise.
    """
    for invite in session().scalars(select(Invite).where(go_on_with(user, email)).order_by(Invite.id)).all():
        uses.hold(invite)
        mine = Redemption.user_id == user.id, Redemption.invite_id == invite.id
        live = Redemption.released_at.is_(None)
        found = select(Redemption).where(*mine, or_(live, Redemption.state == "lapsed"))
        last = found.order_by(live.desc(), Redemption.since.desc()).limit(1).execution_options(populate_existing=True)
        use = session().scalars(last).one_or_none()
        if use and use.state in ("proof", "lapsed"):
            with suppress(InviteUsed, InviteExpired, InviteHeld):
                _go_on(invite, use, user)


def go_on_with(user: User | Account, email: str) -> ColumnElement[bool]:
    """Return the SQL condition for invites of which uses of an account go on once it proves this address."""
    waited = Redemption.user_id == user.id, Redemption.state.in_(("proof", "lapsed"))
    return and_(Invite.id.in_(select(Redemption.invite_id).where(*waited)), Invite.email == fields.domain_of(email))


def _go_on(invite: Invite, use: Redemption, user: User) -> None:
    try:
        former = joining.refuse_member(invite.project_id, user)
    except AlreadyMember:
        uses.give_back(invite, use, "released")
        return
    if invite.approve:
        uses.go_on(invite, use, "approval", None)
    else:
        joining.give(uses.complete(invite, use), user, use.id, former)


def _held(use_id: str) -> tuple[Invite, Redemption]:
    """A use that waits for a yes, and its invite, which nobody else changes before this unit ends."""
    use = session().get(Redemption, use_id)
    if use is None:
        raise NotWaiting
    # Its account before the invite: who deletes an account, or resets its password, locks them in this order.
    session().execute(select(User.id).where(User.id == use.user_id).with_for_update(read=True, key_share=True))
    invite = uses.hold(use.invite)
    session().refresh(use)
    if use.state != "approval":
        raise NotWaiting
    return invite, use


def _mail(kind: str, invite: Invite, use: Redemption) -> None:
    if use.user and use.user.email:
        outbox.queue(kind, use.user.email, invite=invite, user=use.user)
