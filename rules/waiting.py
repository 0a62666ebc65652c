"""Uses of invites that wait for the proof of an address, or for an admin's yes; and how each ends."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select

import clock
from database import session
from models import Invite, Redemption, User
from rules import events, fields, invitations, invites, joining, outbox, uses
from rules.events import About
from rules.invitations import Invitation
from rules.refusals import AlreadyMember, InviteExpired, InviteHeld, InviteUsed, NotWaiting
from rules.sessions import Account

MAX_SHOWN = 100


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
        found[use.invite_id].append(_waiting(use, user))
    return found


def of_invite(invite: Invite) -> Sequence[Waiting]:
    """The uses of an invite that wait now, the oldest first."""
    return of_invites([invite.id])[invite.id] if invite.waiting else []


@dataclass(frozen=True)
class Awaited:
    """A use that waits, as the account sees that waits: its id, the `invitation`, and when it lapses, None for never.

    `state` is what it waits for, ``proof`` or ``approval``.
    """

    id: str
    invitation: Invitation
    state: str
    since: datetime
    until: datetime | None


def of_account(user_id: str) -> Sequence[Awaited]:
    """What an account waits for now, the oldest first, at most 100."""
    alive = or_(Redemption.until.is_(None), Redemption.until > clock.now())
    query = select(Redemption).where(Redemption.user_id == user_id, uses.WAITS, alive)
    found = session().scalars(query.order_by(Redemption.since, Redemption.id).limit(MAX_SHOWN)).all()
    return [
        Awaited(each.id, invitations.of(each.invite), each.state, each.since or clock.now(), each.until)
        for each in found
    ]


def outcome(invite_id: str, user: User) -> str | None:
    """How an account's last request to use an invite ended: ``approved``, if that still holds, ``denied``, or None."""
    mine = select(Redemption.state).where(Redemption.invite_id == invite_id, Redemption.user_id == user.id)
    states = session().scalars(mine.order_by(Redemption.since.desc(), Redemption.id)).all()
    if "done" in states:
        return "approved" if joining.is_member(session().get_one(Invite, invite_id).project_id, user) else None
    return "denied" if states and states[0] == "denied" else None


def asking(found: Sequence[Waiting]) -> Sequence[Waiting]:
    """Those of some uses that wait for a proof or an approval: what a program holds is not for people to decide."""
    return [each for each in found if each.state != "held"]


def for_approval(limit: int) -> Sequence[Waiting]:
    """At most `limit` uses of any invites that wait for approval, those that have waited longest first."""
    query = select(Redemption, User).outerjoin(User, User.id == Redemption.user_id)
    query = query.where(Redemption.state == "approval", uses.WAITS).order_by(Redemption.since, Redemption.id)
    return [_waiting(use, user) for use, user in session().execute(query.limit(limit))]


def approve(use_id: str) -> Redemption:
    """Say yes to a use that waits for it; the account gets what the invite promises, and a mail. Raises NotWaiting."""
    invite, use = _locked_use(use_id)
    about = About(invite_id=invite.id, project_id=invite.project_id, user_id=use.user_id)
    try:
        former = joining.refuse_member(invite.project_id, use.user) if use.user else None
    except AlreadyMember:  # by another invite meanwhile
        uses.give_back(invite, use, "released")
        return use
    taken = uses.complete(invite, use)
    events.record("invite.approved", **about, facts={"redemption": use.id})
    joining.give(taken, use.user, use.id, former)
    _mail("approved", invite, use)
    return use


def deny(use_id: str) -> Redemption:
    """Say no to a use that waits for a yes; it is given back, and the account gets a mail. Raises NotWaiting."""
    invite, use = _locked_use(use_id)
    uses.give_back(invite, use, "denied")
    _mail("denied", invite, use)
    return use


def invite_of(use_id: str) -> Invite:
    """The invite of the use with this id; raises NotWaiting if there is no such use."""
    use = session().get(Redemption, use_id)
    if use is None:
        raise NotWaiting
    return use.invite


def named(invite_id: str, use_id: str) -> str:
    """The id of a use if it is one of this invite; raises NotWaiting for any other, and InviteNotFound."""
    if invites.find_by_id(invite_id) is not invite_of(use_id):
        raise NotWaiting
    return use_id


def proved(user: User, email: str) -> Sequence[Invite]:
    """Let the uses of an account go on that waited for the proof of this address, also those that have lapsed.

    Returns the invites of those that went on: each is done, or waits for an admin's yes. One that has lapsed goes on
    if its invite still has a use, and not otherwise; nor if the account has another use of that invite by now.
    """
    went_on = []
    for invite in session().scalars(select(Invite).where(go_on_with(user, email)).order_by(Invite.id)).all():
        uses.lock(invite)
        use = _newest(invite, user)
        with suppress(InviteUsed, InviteExpired, InviteHeld):
            if use.state in ("proof", "lapsed") and _go_on(invite, use, user):
                went_on.append(invite)
    return went_on


def go_on_with(user: User | Account, email: str) -> ColumnElement[bool]:
    """Return the SQL condition for invites of which uses of an account go on once it proves this address."""
    waited = Redemption.user_id == user.id, Redemption.state.in_(("proof", "lapsed"))
    return and_(Invite.id.in_(select(Redemption.invite_id).where(*waited)), Invite.email == fields.domain_of(email))


def _newest(invite: Invite, user: User) -> Redemption:
    """The use of a locked invite that an account has, or the last one that it had."""
    mine = select(Redemption).where(Redemption.user_id == user.id, Redemption.invite_id == invite.id)
    newest = mine.order_by(Redemption.released_at.is_not(None), Redemption.since.desc(), Redemption.id).limit(1)
    return session().scalars(newest.execution_options(populate_existing=True)).one()


def _go_on(invite: Invite, use: Redemption, user: User) -> bool:
    """Let a use go on whose address is proved; returns False if its account is a member of the project by now."""
    try:
        former = joining.refuse_member(invite.project_id, user)
    except AlreadyMember:
        uses.give_back(invite, use, "released")
        return False
    if invite.approve:
        uses.go_on(invite, use, "approval", None)
    else:
        joining.give(uses.complete(invite, use), user, use.id, former)
    return True


def _locked_use(use_id: str) -> tuple[Invite, Redemption]:
    """A use that waits for a yes, and its invite, which nobody else changes before this unit ends."""
    use = session().get(Redemption, use_id)
    if use is None:
        raise NotWaiting
    # Its account before the invite: who deletes an account, or resets its password, locks them in this order.
    session().execute(select(User.id).where(User.id == use.user_id).with_for_update(read=True, key_share=True))
    invite = uses.lock(use.invite)
    session().refresh(use)
    if use.state != "approval":
        raise NotWaiting
    return invite, use


def _waiting(use: Redemption, user: User | None) -> Waiting:
    who, since = user.called if user else use.subject or "", use.since or clock.now()
    return Waiting(use.id, use.invite_id, use.state, who, use.user_id, use.key_id, since, use.until)


def _mail(kind: str, invite: Invite, use: Redemption) -> None:
    if use.user and use.user.email:
        outbox.queue(kind, use.user.email, invite=invite, user=use.user)
