"""Whose an e-mail address is: whoever has proved it.

An unverified address reserves nothing: who proves it takes it, and the account that only claimed it
loses it and its sessions; left without any name to sign in by, it is disabled.
"""

from sqlalchemy import select

import clock
from database import session
from models import Code, User
from rules import fields, sessions
from rules.refusals import EmailInUse


def holder(email: str) -> User | None:
    """The account that has this address, proved or not."""
    return session().scalar(select(User).where(User.email == email))


def verified_holder(email: str) -> User | None:
    """The account that has proved this address."""
    found = holder(email)
    return found if found and found.email_verified_at else None


def is_awaited(email: str) -> bool:
    """Whether somebody has begun to register with this address in the last day, and has no password yet."""
    begun = Code.purpose == "register", Code.email == fields.typed_name(email)
    return session().scalar(select(Code.id).where(*begun, Code.created_at > clock.now() - clock.DAY)) is not None


def prove(user: User, email: str) -> None:
    """Let an account that has read a mail to this address have it; raises EmailInUse if another had proved it."""
    release(email, user)
    user.email, user.email_verified_at = email, clock.now()


def release(email: str, heir: User | None = None) -> None:
    """Take an address from an account that has not proved it; raises EmailInUse from one that has."""
    claimed_by = holder(email)
    if claimed_by is None or (heir and claimed_by.id == heir.id):
        return
    if claimed_by.email_verified_at:
        raise EmailInUse
    claimed_by.email = None
    sessions.end_all(claimed_by)
    if claimed_by.username is None:
        from rules import invites  # which needs this module

        claimed_by.disabled_at = clock.now()
        invites.revoke_all_by(claimed_by)
    session().flush()
