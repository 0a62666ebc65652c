"""How an account uses an invite: at once, or after the proof of an address or an admin's approval.

A use is taken first in its unit of work (rules/uses.py). What follows from it is in the same unit, so a refusal after
it gives the use back. If nothing could be taken, the row is read afterwards to say why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select

import clock
from database import session
from database.statements import Statement
from models import Invite, Project, Redemption, User
from rules import addresses, fields, invitations, invites, joining, proofs, tokens, uses
from rules.refusals import AlreadyMember, EmailMismatch, InviteExpired, InviteHeld, InviteNotFound, InviteUsed, Refusal
from rules.sessions import Account
from rules.uses import REDEEM, Taken

PROOF_WAITS = clock.DAY
MAX_PROOFS = 3  # uses of one invite that wait for the proof of an address at once


@dataclass(frozen=True)
class Used:
    """How an account has used an invite: `waiting_for` is ``proof`` or ``approval`` if its use waits, else None."""

    invite: Invite | Taken
    waiting_for: str | None = None


def proves_mailbox(invite: Invite | Taken, token: str) -> bool:
    """Whether this is the token that was mailed, so that its bearer has read the mail to the invite's address."""
    return invite.mail_token_hash is not None and tokens.matches(token, invite.mail_token_hash)


def accept(token: str, user: User | Account) -> Used:
    """Let an existing account use an invite; returns what became of it.

    An invite for one address is only for the account that has verified that address, or verifies it now with the link
    that was mailed there. One for a domain waits for the proof of an address there, one with `approve` for an admin's
    yes; to accept it again meanwhile changes nothing. Raises InviteNotFound, AlreadyMember, InviteUsed, InviteExpired,
    InviteHeld or EmailMismatch.
    """
    seen, is_mailed = _look(token, user)
    if seen.state and not (seen.until and seen.until <= clock.now()):
        waits = invites.find(token)
        joining.refuse_member(waits.project_id, user)  # by another invite meanwhile
        return Used(waits, seen.state)
    if is_mailed and not user.email_verified_at:  # otherwise this proves nothing
        addresses.lock_claim(seen.email, user, seen.id)
    if seen.approve or fields.is_domain(seen.email):
        return _accept_later(token, user)
    try:
        invite = uses.take(token)
    except (InviteUsed, InviteExpired):
        joining.refuse_member(invites.find(token).project_id, user)
        raise
    settle(invite, user)
    if _is_yet_to_prove(invite, user, token):
        addresses.prove(session().get_one(User, user.id), str(invite.email))
    return Used(invite)


def _accept_later(token: str, user: User | Account) -> Used:
    """Let an account use an invite that may have to wait."""
    invite = uses.lock(invites.find(token))
    former = joining.refuse_member(invite.project_id, user)
    uses.refuse_unusable(invite)
    if fields.is_domain(invite.email):
        _refuse_elsewhere(invite, user)
        if not user.email_verified_at:
            return wait_for_proof(invite, session().get_one(User, user.id))
    elif _is_yet_to_prove(invite, user, token):
        addresses.prove(session().get_one(User, user.id), str(invite.email))
    if invite.approve:
        uses.wait(invite, "approval", None, user_id=user.id)
        return Used(invite, "approval")
    taken = uses.take_locked(invite)
    settle(taken, user, former)
    return Used(taken)


def wait_for_proof(invite: Invite, user: User) -> Used:
    """Take a use of a locked invite for an account that is yet to prove its address, and mail it a code.

    Raises InviteHeld where three wait already, InviteUsed or InviteExpired.
    """
    waiting = Redemption.invite_id == invite.id, Redemption.state == "proof", uses.WAITS
    others = select(func.count(), func.min(Redemption.until)).where(*waiting, Redemption.until > clock.now())
    number, first = session().execute(others).one()
    if first and number >= MAX_PROOFS:
        raise InviteHeld(first, for_proofs=True)
    uses.wait(invite, "proof", clock.now() + PROOF_WAITS, user_id=user.id)
    proofs.send_code(user)
    return Used(invite, "proof")


def refusal_of(invite: Invite, user: User | Account, token: str) -> Refusal | None:
    """The refusal that this account would get for an active invite with this token; None if it may use it."""
    try:
        refuse_second_use(invite, user)
        if not fields.is_domain(invite.email):
            _is_yet_to_prove(invite, user, token)
        else:
            _refuse_elsewhere(invite, user)
    except (AlreadyMember, EmailMismatch) as refusal:
        return refusal
    return None


def use_of(invite: Invite | Taken, user: User | Account) -> Redemption | None:
    """The use that an account has of an invite, done or waiting; None if it has none."""
    mine = Redemption.invite_id == invite.id, Redemption.user_id == user.id, Redemption.released_at.is_(None)
    alive = or_(Redemption.until.is_(None), Redemption.until > clock.now(), Redemption.redeemed_at.is_not(None))
    return session().scalar(select(Redemption).where(*mine, alive))


def waits_first(invite: Invite) -> str | None:
    """What the use of an invite by a new account waits for: ``proof``, ``approval``, or None for nothing."""
    if fields.is_domain(invite.email):
        return "proof"
    return "approval" if invite.approve else None


def has_used(invite: Invite | Taken, user: User | Account) -> bool:
    """Whether this account has used this invite, and waits for nothing."""
    use = use_of(invite, user)
    return use is not None and use.state == "done"


def lock_claim(token: str) -> None:
    """Lock what changes if a new account proves an address by this token; before a use is taken."""
    if mailed := _MAILED.first(digest=tokens.digest(token)):
        addresses.lock_claim(mailed.email, None, mailed.id)


def destination(invite: Invite | Taken) -> tuple[str | None, str | None]:
    """The slug of the project that an invite leads to, and the URL to go to next; each is None if there is none."""
    slug = _SLUG.value(id=invite.project_id) if invite.project_id else None
    return slug, invitations.redirect(invite.redirect_url)


def settle(invite: Taken, user: User | Account, former: str | None = None) -> None:
    """Store the use that was taken, and give the account what the invite promises.

    Raises AlreadyMember if the account is a member of its project. Of two requests of one account at the same moment
    the later breaks a unique index; its unit of work is done once more, and finds what the other did.
    """
    former = former or joining.refuse_member(invite.project_id, user)
    use_id = clock.new_id()
    REDEEM.run(id=use_id, user_id=user.id, invite_id=invite.id, redeemed_at=clock.now(), state="done")
    joining.give(invite, user, use_id, former)


def refuse_second_use(invite: Invite, user: User | Account) -> None:
    """Raise AlreadyMember if an account has used this invite before, or is a member of its project."""
    if has_used(invite, user):
        raise AlreadyMember
    joining.refuse_member(invite.project_id, user)


def miscounted() -> Sequence[str]:
    """The ids of invites whose uses, those of them that wait, or the first lapse are not as their redemptions say."""
    counted = select(func.count()).where(Redemption.invite_id == Invite.id, Redemption.released_at.is_(None))
    waiting = counted.where(uses.WAITS).scalar_subquery()
    first = select(func.min(Redemption.until)).where(Redemption.invite_id == Invite.id, uses.WAITS).scalar_subquery()
    wrong = or_(
        Invite.uses != counted.scalar_subquery(), Invite.waiting != waiting, Invite.lapses_at.is_distinct_from(first)
    )
    return session().scalars(select(Invite.id).where(wrong)).all()


def used_by(user: User) -> Sequence[Invite]:
    """The invites that an account has used, the latest use first, at most 100."""
    query = select(Invite).join(Redemption).where(Redemption.user_id == user.id, Redemption.redeemed_at.is_not(None))
    return session().scalars(query.order_by(Redemption.redeemed_at.desc()).limit(100)).all()


def _look(token: str, user: User | Account) -> tuple[Any, bool]:
    """What an account is about to use, and whether by the token that was mailed.

    `state` is that of the use that it has of it already, which waits, or has lapsed at `until`; None for none. Raises
    InviteNotFound, or AlreadyMember if it has used the invite.
    """
    asked = {"digest": tokens.digest(token), "user_id": user.id}
    if not tokens.is_token(token):
        raise InviteNotFound
    found = _LOOK.first(**asked)
    seen = found or _LOOK_MAILED.first(**asked)
    if seen is None:
        raise InviteNotFound
    if seen.state == "done":
        raise AlreadyMember
    return seen, found is None


def _refuse_elsewhere(invite: Invite, user: User | Account) -> None:
    """Raise EmailMismatch unless an account has an address in the domain for which an invite is, proved or not."""
    if user.email is None or not fields.is_at(user.email, str(invite.email)):
        raise EmailMismatch(bound_to=invite.email)


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
_mine = and_(
    Redemption.invite_id == Invite.id,
    Redemption.user_id == bindparam("user_id"),
    Redemption.released_at.is_(None),
)
_LOOK, _LOOK_MAILED = (
    Statement(
        select(Invite.id, Invite.approve, Invite.email, Redemption.state, Redemption.until)
        .outerjoin_from(Invite, Redemption, _mine)
        .where(each)
    )
    for each in (invites.WITH_TOKEN, invites.WITH_MAIL_TOKEN)
)
_MAILED = Statement(select(Invite.id, Invite.email).where(invites.WITH_MAIL_TOKEN))
_SLUG = Statement(select(Project.slug).where(Project.id == bindparam("id")))
