"""API keys: ID/SECRET, as prosodyctl's. Shown once, stored as a hash."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update

import clock
from database import may_write, session
from database.statements import Statement
from models import ApiKey
from rules import fields, tokens
from rules.refusals import Invalid, KeyMade, KeyRefused, NoSuchKey

LONGEST = 3650 * clock.DAY
_UNKNOWN = "0" * 64  # what a secret is compared with when there is no such key


_KEY = Statement(
    select(ApiKey.id, ApiKey.name, ApiKey.secret_hash, ApiKey.expires_at, ApiKey.last_used_at).where(
        ApiKey.id == bindparam("key_id")
    )
)
_USED = Statement(update(ApiKey).where(ApiKey.id == bindparam("key_id")).values(last_used_at=bindparam("now")))


@dataclass(frozen=True)
class Known:
    """A key that showed its secret."""

    id: str
    name: str | None


@dataclass(frozen=True)
class Foreign:
    """A key that another server gave out."""

    id: str
    secret: str = field(repr=False)
    name: str | None = None
    created_at: datetime | None = None


def create(name: str | None, lifetime: timedelta | None = None, id_: str | None = None) -> str:
    """Make a key; returns the only showing of ``ID/SECRET`` (8 and 32 URL-safe base64 characters).

    It is good until it is deleted, or for so long. With an id from `new_id` it is made once: raises
    KeyMade if it is asked for again.
    """
    if id_ and session().get(ApiKey, id_):
        raise KeyMade
    kept = fields.text(name, "name", 100) if name else None
    secret, now = clock.random_text(24), clock.now()
    key = ApiKey(
        id=id_ or new_id(),
        name=kept,
        secret_hash=tokens.digest(secret),
        created_at=now,
        expires_at=now + lifetime if lifetime else None,
    )
    session().add(key)
    return f"{key.id}/{secret}"


def lifetime(written: str) -> timedelta | None:
    """How long a key is to be good, such as ``90d``; None for ``never``. Raises Invalid."""
    if written.strip().lower() == "never":
        return None
    try:
        length = clock.duration(written)
    except ValueError:
        raise Invalid.at(
            "expires", "duration", "must be a number and a unit, such as 90d or 2 weeks, or never"
        ) from None
    if not clock.MINUTE <= length <= LONGEST:
        raise Invalid.at("expires", "range", "must be between 1m and %(longest)s, or never", longest="3650d")
    return length


def adopt(foreign: Foreign) -> bool:
    """Take a key over that another server gave out, so that it goes on working; False if its id is here already."""
    if session().get(ApiKey, foreign.id):
        return False
    key = ApiKey(id=foreign.id, name=foreign.name, secret_hash=tokens.digest(foreign.secret))
    key.created_at = foreign.created_at or clock.now()
    session().add(key)
    return True


def newest() -> Sequence[ApiKey]:
    """All keys, the newest first."""
    return session().scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id)).all()


def delete(key_id: str) -> None:
    """Delete a key for good; what it made stays as it is. Raises NoSuchKey."""
    key = session().get(ApiKey, key_id)
    if key is None:
        raise NoSuchKey
    session().delete(key)


def authenticate(combined: str) -> Known:
    """The key that ``ID/SECRET`` is, split at its first slash; raises KeyRefused.

    No length is assumed: keys that came from Prosody are 12 and 36 characters long. That it was used is
    noted where something may be written: a reading would have to wait for its turn, and forget it again.
    """
    key_id, slash, secret = combined.partition("/")
    if not (key_id and slash and secret):
        raise KeyRefused("This is only half a key.")
    key = None if "\0" in key_id else _KEY.first(key_id=key_id)  # PostgreSQL would not look for it
    if not tokens.matches(secret, key.secret_hash if key else _UNKNOWN) or key is None:
        raise KeyRefused("This key is unknown, was deleted, or its secret is wrong.")
    now = clock.now()
    if key.expires_at and key.expires_at <= now:
        raise KeyRefused(f"This key expired on {clock.iso(key.expires_at)}.")
    if may_write() and (key.last_used_at is None or now - key.last_used_at >= clock.MINUTE):
        _USED.run(key_id=key_id, now=now)
    return Known(key.id, key.name)


def new_id() -> str:
    """8 characters, the first never ``-``, so that a shell can pass it as an argument."""
    while (key_id := clock.random_text(6)).startswith("-"):
        pass
    return key_id
