"""To which account an e-mail address belongs: the one that has proved it.

An unverified address reserves nothing. Another account that proves it takes it; the account that only claimed it
loses the address and its sessions, and is disabled if it has no user name to sign in with.
"""

from sqlalchemy import select

import clock
from database import session
from models import Code, User
from rules import changing, events, fields, sessions
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


def prove(user: User, email: str) -> None:
    """Give an account an address, as verified; raises EmailInUse if another account has verified it."""
    release(email, user)
    user.email, user.email_verified_at = email, clock.now()


def hold_claim(email: str, invite_id: str) -> None:
    """Lock an account that has not verified this address, before the invite with which somebody else verifies it.

    If the account ends then, its invites end with it. They are locked here with that invite, in one order.
    """
    claimed_by = holder(email)
    if claimed_by and not claimed_by.email_verified_at:
        session().refresh(claimed_by, with_for_update=True)
        if claimed_by.username is None:
            changing.hold_all_by(claimed_by, invite_id)


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
    sessions.end_all(claimed_by)
    if claimed_by.username is None and claimed_by.disabled_at is None:
        changing.revoke_all_by(claimed_by)
        claimed_by.disabled_at = clock.now()
        events.tell("user.disabled", user_id=claimed_by.id)
    claimed_by.email = None  # last, as `accounts.hold` says
    session().flush()
