"""To which account an e-mail address belongs: the one that has proved it.

An unverified address reserves nothing. Another account that proves it takes it; the account that only claimed it
loses the address, its sessions and passes, and is disabled if it has no user name to sign in with.
"""

from collections.abc import Sequence

from sqlalchemy import or_, select

import clock
from database import session
from models import Code, Invite, User
from rules import changing, events, fields, sessions, uses, waiting
from rules.refusals import EmailInUse


def holder(email: str) -> User | None:
    """The account that has this address, verified or not; None if there is none."""
    return session().scalar(select(User).where(User.email == email))


def verified_holder(email: str) -> User | None:
    """The account that has verified this address; None if there is none."""
    found = holder(email)
    return found if found and found.email_verified_at else None


def is_registering(email: str) -> bool:
    """Whether a code to register was sent to this address within a day, and no account was created with it."""
    begun = Code.purpose == "register", Code.email == fields.typed_name(email)
    return session().scalar(select(Code.id).where(*begun, Code.created_at > clock.now() - clock.DAY)) is not None


def prove(user: User, email: str) -> Sequence[Invite]:
    """Give an account an address, as verified; raises EmailInUse if another account has verified it.

    Its uses of invites that waited for this proof go on; returns these invites.
    """
    lock_claim(email, user)
    release(email, user)
    went_on = waiting.proved(user, email)
    user.email, user.email_verified_at = email, clock.now()
    return went_on


def lock_claim(email: str, heir: User | sessions.Account | None = None, invite_id: str | None = None) -> None:
    """Lock what changes once an account (`heir`, None for a new one) verifies this address, in one order.

    That is another account that has not verified it, whose invites end if the account does; the invites of which uses
    of the heir wait for this; and the one by which it is verified, if it is an invite.
    """
    claimed_by = holder(email)
    others = [Invite.id == invite_id] if invite_id else []
    also = or_(*others, *([waiting.go_on_with(heir, email)] if heir else []))
    if claimed_by and not claimed_by.email_verified_at and not (heir and claimed_by.id == heir.id):
        session().refresh(claimed_by, with_for_update=True)
        if claimed_by.username is None:
            changing.lock_all_by(claimed_by, also)
            return
    if heir:
        uses.lock_all(also)


def release(email: str, heir: User | None = None) -> None:
    """Take an address from an account that has not verified it; raises EmailInUse if one has.

    The account `heir` may keep it.
    """
    claimed_by = holder(email)
    if claimed_by is None or (heir and claimed_by.id == heir.id):
        return
    if not claimed_by.email_verified_at:
        session().refresh(claimed_by, with_for_update=True)
    if claimed_by.email_verified_at:
        raise EmailInUse
    if claimed_by.email != email:  # it has lost it just now
        return
    if claimed_by.username is None and claimed_by.disabled_at is None:
        changing.revoke_all_by(claimed_by)
        claimed_by.disabled_at = clock.now()
        events.record("user.disabled", user_id=claimed_by.id)
    sessions.end_all(claimed_by)
    claimed_by.email = None  # last, as `accounts.lock` says
    session().flush()
