"""How an invite is used: one use of it is taken, and an account has what it promises.

A use is taken by one guarded UPDATE, first in its transaction; everything that follows from it is
in the same transaction, and a refusal after it gives the use back. Why nothing could be taken is
found out afterwards, by reading the row.
"""

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

import clock
from database import connection, session
from database.statements import Statement
from models import Invite, Member, Project, Redemption, User
from rules import addresses, invites, tokens
from rules.refusals import AlreadyMember, EmailMismatch, InviteExpired, InviteNotFound, InviteUsed, Refusal
from rules.sessions import Account


@dataclass(frozen=True)
class Taken:
    """An invite of which one use has been taken, and what is needed of it now."""

    id: str
    email: str | None
    project_id: str | None
    role: str
    makes_admin: bool
    mail_token_hash: str | None
    redirect_url: str | None


def proves_mailbox(invite: Invite | Taken, token: str) -> bool:
    """Whether whoever has this token has read the mail to the invite's address."""
    return invite.mail_token_hash is not None and tokens.matches(token, invite.mail_token_hash)


def accept(token: str, user: User | Account) -> Taken:
    """Let an account that exists use an invite; raises whatever stands in the way.

    An invite that is bound to an address is only for the account that has verified that address,
    or does so now, by using the link that was mailed there.
    """
    try:
        invite = take(token)
    except (InviteUsed, InviteExpired):
        _refuse_again(invites.find(token), user)
        raise
    settle(invite, user)
    if _is_yet_to_prove(invite, user, token):
        addresses.prove(session().get_one(User, user.id), str(invite.email))
    return invite


def hindrance(invite: Invite, user: User | Account, token: str) -> Refusal | None:
    """What would keep this account from using an open invite with this token, if anything."""
    try:
        _refuse_again(invite, user)
        _is_yet_to_prove(invite, user, token)
    except (AlreadyMember, EmailMismatch) as refusal:
        return refusal
    return None


def has_used(invite: Invite | Taken, user: User | Account) -> bool:
    """Whether this account has used this invite."""
    return _USED.value(invite_id=invite.id, user_id=user.id) is not None


def take(token: str) -> Taken:
    """Take one use of an invite, for `settle` to give to an account; raises what stands in the way.

    Call it first in the unit of work. A refusal later in the unit gives the use back.
    """
    taken = _TAKE.first(now=clock.now(), digest=tokens.digest(token))
    if taken is None:
        invites.find_open(token)
        raise InviteNotFound
    return Taken(*taken)


def take_one(which: ColumnElement[bool]) -> Taken | None:
    """The guarded UPDATE: take one use of the invite that is meant if it is open, or nothing."""
    taken = connection().execute(_take(which), {"now": clock.now()}).first()
    return Taken(*taken) if taken else None


def _take(which: ColumnElement[bool]) -> Any:
    facts = (getattr(Invite, each.name) for each in fields(Taken))
    return update(Invite).where(which, invites.is_open(bindparam("now"))).values(uses=Invite.uses + 1).returning(*facts)


def leads_to(invite: Taken) -> tuple[str | None, str | None]:
    """The slug of the project that somebody has joined with an invite, and where they may go now."""
    slug = _SLUG.value(id=invite.project_id) if invite.project_id else None
    return slug, invites.redirect(invite.redirect_url)


def settle(invite: Taken, user: User | Account) -> None:
    """Let the account have what the invite that it took promises, and write down that it did.

    Raises AlreadyMember for a second use by the same account.
    """
    _refuse_again(invite, user)
    now = clock.now()
    whose = {"id": clock.new_id(), "user_id": user.id}
    try:
        _REDEEM.run(**whose, invite_id=invite.id, redeemed_at=now)
        if invite.project_id:
            _JOIN.run(**whose, project_id=invite.project_id, role=invite.role, joined_at=now)
    except IntegrityError:  # the same account, at the same moment
        raise AlreadyMember from None
    if invite.makes_admin:
        admin = session().get_one(User, user.id)
        admin.admin_at = admin.admin_at or now


def _is_yet_to_prove(invite: Invite | Taken, user: User | Account, token: str) -> bool:
    """Whether using this token proves the invite's address to be this account's; raises EmailMismatch."""
    if invite.email is None or (invite.email == user.email and user.email_verified_at):
        return False
    if user.email not in (None, invite.email) or not proves_mailbox(invite, token):
        raise EmailMismatch
    return True


def _refuse_again(invite: Invite | Taken, user: User | Account) -> None:
    if has_used(invite, user) or (invite.project_id and _BELONGS.value(project_id=invite.project_id, user_id=user.id)):
        raise AlreadyMember


# Built once: building them takes as long as SQLite does.
_TAKE = Statement(_take(invites.WITH_TOKEN))
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
