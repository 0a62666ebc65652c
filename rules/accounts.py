"""Accounts: how one comes to be."""

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

import clock
from database import session
from models import Invite, User
from rules import invites
from rules.refusals import EmailInUse, EmailMismatch, UsernameTaken


def register(token: str, username: str, password_hash: str, email: str | None = None) -> tuple[User, Invite]:
    """Make an account with an invite: both happen, or neither.

    An invite that is bound to an address gives it to the account, unverified: whoever was shown
    the link has not shown that they read that mailbox. Raises whatever stands in the way.
    """
    invite = invites.take(token)
    if invite.email and email and email != invite.email:
        raise EmailMismatch
    user = User(
        id=clock.new_id(),
        username=username,
        email=invite.email or email,
        password_hash=password_hash,
        created_at=clock.now(),
    )
    _add(user)
    invites.settle(invite, user)
    return user, invite


def _add(user: User) -> None:
    """Store a new account, or raise which of its names is taken (also when that happened just now)."""
    try:
        with session().begin_nested():
            session().add(user)
    except IntegrityError:
        if session().scalar(select(User.id).where(User.username == user.username)):
            raise UsernameTaken from None
        raise EmailInUse from None
