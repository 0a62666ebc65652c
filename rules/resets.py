"""Links for a new password: each is used once, and the one who passes it on learns no password."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import clock
from database import session
from models import Invite, User
from rules import addresses, counters, sessions, tokens
from rules.refusals import AccountDisabled, ResetExpired, ResetInvalid
from settings import settings

TTL = clock.DAY  # of a link that an admin passes on
MAILED_TTL = 15 * clock.MINUTE


def link(user: User, lifetime: timedelta = TTL, proves: str | None = None) -> str:
    """A link with which a new password can be set once, valid for a day unless another `lifetime` is given.

    Raises AccountDisabled, since nobody could sign in with the password.
    To use it also proves the address `proves`; give one only if the link is mailed there and shown nowhere else.
    """
    if user.disabled_at:
        raise AccountDisabled(for_operators=True)
    payload = [user.id, _fingerprint(user), (clock.now() + lifetime).timestamp(), proves]
    return f"{settings().public_url}/password/reset?{tokens.sign('password reset', payload)}"


def mailed_link(user: User, lifetime: timedelta, slug: str | None = None) -> str:
    """A link for a new password that is only mailed to the account's address: to use it proves the address.

    It leads to the app of the project with this slug afterwards.
    """
    return link(user, lifetime, proves=user.email) + (f"&then=/pass/{slug}" if slug else "")


def find(token: str) -> User:
    """The account that a reset link is for; raises ResetInvalid, ResetExpired or AccountDisabled."""
    return _read(token)[0]


def use(token: str, password_hash: str) -> Sequence[Invite]:
    """Set a new password with a reset link; raises ResetInvalid, ResetExpired or AccountDisabled.

    All sessions and passes of the account end, and its failed tries to sign in are forgotten. Returns the invites whose
    uses waited for the proof of the address to which the link was mailed, and go on.
    """
    user, proven = _read(token)
    went_on = addresses.prove(user, proven) if proven else []
    user.password_hash = password_hash
    sessions.end_all(user)
    counters.clear("login", user.id)
    return went_on


def _read(token: str) -> tuple[User, str | None]:
    """The account that a reset link is for, and the address that its use proves, or None."""
    payload = tokens.unsign("password reset", token)
    user = session().get(User, payload[0], with_for_update=True) if payload else None
    if user is None or user.deleted_at or payload[1] != _fingerprint(user) or payload[3] not in (None, user.email):
        raise ResetInvalid
    if datetime.fromtimestamp(payload[2], UTC) <= clock.now():
        raise ResetExpired
    if user.disabled_at:
        raise AccountDisabled
    return user, payload[3]


def _fingerprint(user: User) -> str:
    """Changes with the password, so that a reset link works only once."""
    return tokens.digest(user.password_hash or "")[:16]
