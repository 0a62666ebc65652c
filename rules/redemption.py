"""How an invite is used: one use of it is taken, and an account gets what it promises.

One guarded UPDATE takes a use, first in its unit of work. What follows from it is in the same unit, so a refusal
after it gives the use back. If nothing could be taken, the row is read afterwards to say why.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

import clock
from database import connection, session
from database.statements import Statement
from models import Invite, Member, Project, Redemption, User
from rules import addresses, events, invitations, invites, states, tokens
from rules.events import About
from rules.refusals import AlreadyMember, EmailMismatch, InviteExpired, InviteNotFound, InviteUsed, Refusal
from rules.sessions import Account


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


def proves_mailbox(invite: Invite | Taken, token: str) -> bool:
    """Whether this is the token that was mailed, so that its bearer has read the mail to the invite's address."""
    return invite.mail_token_hash is not None and tokens.matches(token, invite.mail_token_hash)


def accept(token: str, user: User | Account) -> Taken:
    """Let an existing account use an invite; returns the invite that was used.

    An invite for one address is only for the account that has verified that address, or verifies it now with the link
    that was mailed there. Raises InviteNotFound, InviteUsed, InviteExpired, AlreadyMember or EmailMismatch.
    """
    if user.email is None:  # otherwise no other account has the address that this proves
        hold_claim(token)
    try:
        invite = take(token)
    except (InviteUsed, InviteExpired):
        refuse_second_use(invites.find(token), user)
        raise
    settle(invite, user)
    if _is_yet_to_prove(invite, user, token):
        addresses.prove(session().get_one(User, user.id), str(invite.email))
    return invite


def refusal_of(invite: Invite, user: User | Account, token: str) -> Refusal | None:
    """The refusal that this account would get for an active invite with this token; None if it may use it."""
    try:
        refuse_second_use(invite, user)
        _is_yet_to_prove(invite, user, token)
    except (AlreadyMember, EmailMismatch) as refusal:
        return refusal
    return None


def has_used(invite: Invite | Taken, user: User | Account) -> bool:
    """Whether this account has used this invite."""
    return _USED.value(invite_id=invite.id, user_id=user.id) is not None


def hold_claim(token: str) -> None:
    """Lock what ends if this token proves an address that another account only claims; before `take`."""
    if mailed := _MAILED.first(digest=tokens.digest(token)):
        addresses.hold_claim(mailed.email, mailed.id)


def take(token: str) -> Taken:
    """Take one use of an invite, for `settle` to give to an account.

    Call it first in the unit of work, but for `hold_claim`; a refusal later in the unit gives the use back. Raises
    InviteNotFound, InviteUsed or InviteExpired.
    """
    now, digest = clock.now(), tokens.digest(token)
    taken = _TAKE.first(now=now, digest=digest) or _TAKE_MAILED.first(now=now, digest=digest)
    if taken is None:
        invites.find_active(token)
        raise InviteNotFound
    return Taken(*taken)


def take_one(which: ColumnElement[bool]) -> Taken | None:
    """The guarded UPDATE: take one use of the invite for which the condition holds; None if it is not active."""
    taken = connection().execute(_take(which), {"now": clock.now()}).first()
    return Taken(*taken) if taken else None


def _take(which: ColumnElement[bool]) -> Any:
    facts = (getattr(Invite, each.name) for each in fields(Taken))
    return (
        update(Invite).where(which, states.is_active(bindparam("now"))).values(uses=Invite.uses + 1).returning(*facts)
    )


def destination(invite: Taken) -> tuple[str | None, str | None]:
    """The slug of the project that an invite leads to, and the URL to go to next; each is None if there is none."""
    slug = _SLUG.value(id=invite.project_id) if invite.project_id else None
    return slug, invitations.redirect(invite.redirect_url)


def settle(invite: Taken, user: User | Account) -> None:
    """Give an account what the invite that it took promises, and store the redemption.

    Raises AlreadyMember if the account has used the invite before or is a member of its project.
    """
    refuse_second_use(invite, user)
    now = clock.now()
    whose = {"id": clock.new_id(), "user_id": user.id}
    try:
        _REDEEM.run(**whose, invite_id=invite.id, redeemed_at=now)
        if invite.project_id:
            _JOIN.run(**whose, project_id=invite.project_id, role=invite.role, joined_at=now)
    except IntegrityError:  # another request of the same account, at the same moment
        raise AlreadyMember from None
    by, about = events.person(user), About(invite_id=invite.id, project_id=invite.project_id, user_id=user.id)
    events.tell("invite.used", by=by, at=now, facts={"redemption": whose["id"]}, **about)
    if invite.project_id:
        events.tell("member.joined", by=by, at=now, **about)
    admin = session().get_one(User, user.id) if invite.makes_admin else None
    if admin and admin.admin_at is None:
        admin.admin_at = now
        events.tell("user.admin", by=by, at=now, facts={"admin": True}, **about)


def refuse_second_use(invite: Invite | Taken, user: User | Account) -> None:
    """Raise AlreadyMember if an account has used this invite before, or is a member of its project."""
    if has_used(invite, user) or (invite.project_id and _BELONGS.value(project_id=invite.project_id, user_id=user.id)):
        raise AlreadyMember


def miscounted() -> Sequence[str]:
    """The ids of invites whose uses are not the number of their redemptions. A sound database has none."""
    redeemed = select(func.count()).where(Redemption.invite_id == Invite.id).scalar_subquery()
    return session().scalars(select(Invite.id).where(Invite.uses != redeemed)).all()


def _is_yet_to_prove(invite: Invite | Taken, user: User | Account, token: str) -> bool:
    """Whether to use this token proves the invite's address to be this account's; raises EmailMismatch.

    Also for an address that another account has verified, which keeps it.
    """
    if invite.email is None or (invite.email == user.email and user.email_verified_at):
        return False
    if user.email not in (None, invite.email) or not proves_mailbox(invite, token):
        raise EmailMismatch
    if user.email is None and addresses.verified_holder(invite.email):
        raise EmailMismatch
    return True


# Built once, since building a query takes as long as SQLite takes to answer it.
_TAKE, _TAKE_MAILED = (Statement(_take(each)) for each in (invites.WITH_TOKEN, invites.WITH_MAIL_TOKEN))
_MAILED = Statement(select(Invite.id, Invite.email).where(invites.WITH_MAIL_TOKEN))
_SLUG = Statement(select(Project.slug).where(Project.id == bindparam("id")))
_USED = Statement(
    select(Redemption.id).where(
        Redemption.invite_id == bindparam("invite_id"), Redemption.user_id == bindparam("user_id")
    )
)
_BELONGS = Statement(
    select(Member.id).where(Member.project_id == bindparam("project_id"), Member.user_id == bindparam("user_id"))
)
_REDEEM, _JOIN = (Statement(insert(each)) for each in (Redemption, Member))
