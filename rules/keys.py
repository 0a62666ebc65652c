"""API keys: ``ID/SECRET``, as prosodyctl's mod_invites_api has them. Shown once, and stored as a hash."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, bindparam, select, update

import clock
from database import connection, may_write, session
from database.statements import Statement
from models import ApiKey
from rules import events, fields, holds, tokens
from rules.drafts import Inviter
from rules.refusals import N_, Invalid, KeyMade, KeyRefused, NoSuchKey, ScopeMissing

MAX_LIFETIME = 3650 * clock.DAY
SCOPES = ("create", "redeem", "read", "manage")  # what a key may do, in the order in which it is stored and shown
_GONE = "This key is unknown, was deleted, or its secret is wrong."
_UNKNOWN = "0" * 64  # compared with the secret if there is no such key, so that it takes as long


_KEY = Statement(
    select(
        ApiKey.id, ApiKey.name, ApiKey.secret_hash, ApiKey.expires_at, ApiKey.last_used_at, ApiKey.may, ApiKey.preset
    ).where(ApiKey.id == bindparam("key_id"))
)
_KEEP = Statement(select(ApiKey.id).where(ApiKey.id == bindparam("key_id")).with_for_update(read=True, key_share=True))
_USED = Statement(update(ApiKey).where(ApiKey.id == bindparam("key_id")).values(last_used_at=bindparam("now")))
_UNWRITTEN = WeakKeyDictionary[Engine, dict[str, datetime]]()  # the last uses of keys by units that only read


@dataclass(frozen=True)
class VerifiedKey:
    """An API key whose secret was shown with the request; `may` are its scopes, `preset` is the one it is bound to."""

    id: str
    name: str | None
    may: Collection[str] = ("create",)
    preset: str | None = None

    @property
    def inviter(self) -> Inviter:
        """The inviter, for the invites that the key creates."""
        return Inviter(f"API key {self.name or self.id}", key_id=self.id, preset=self.preset)

    def refuse_without(self, scope: str) -> None:
        """Raise ScopeMissing unless the key has this scope."""
        if scope not in self.may:
            raise ScopeMissing(scope)


@dataclass(frozen=True)
class ImportedKey:
    """An API key that another server created, with its secret."""

    id: str
    secret: str = field(repr=False)
    name: str | None = None
    created_at: datetime | None = None


def create(
    name: str | None,
    lifetime: timedelta | None = None,
    id_: str | None = None,
    may: Collection[str] = ("create",),
    preset: str | None = None,
) -> str:
    """Create a key; returns ``ID/SECRET`` (8 and 32 URL-safe base64 characters), of which only a hash is stored.

    It is valid until it is deleted, or for `lifetime`. `may` are its scopes, some of SCOPES; with the name of a
    `preset` it creates only invites by that. With an id from `new_id`, a second call with that id raises KeyMade.
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
        may=" ".join(each for each in SCOPES if each in may),
        preset=preset,
    )
    session().add(key)
    events.record("key.created", facts={"key": key.id})
    return f"{key.id}/{secret}"


def scopes(written: str) -> Sequence[str]:
    """The scopes in a text such as ``create,read``, in the order of SCOPES; raises Invalid for any other word."""
    given = [each.strip().lower() for each in written.split(",")]
    if wrong := [each for each in given if each not in SCOPES]:
        raise Invalid.at(
            "may", "choice", "must be some of create, redeem, read, manage, and not %(wrong)s", wrong=wrong[0]
        )
    return [each for each in SCOPES if each in given]


def lifetime(written: str) -> timedelta | None:
    """How long a key is to be valid, from text such as ``90d``; None for ``never``. Raises Invalid."""
    if written.strip().lower() == "never":
        return None
    otherwise = N_("must be a number and a unit, such as 90d or 2 weeks, or never")
    length = fields.duration(written, "expires", otherwise)
    if not clock.MINUTE <= length <= MAX_LIFETIME:
        raise Invalid.at("expires", "range", "must be between 1m and %(longest)s, or never", longest="3650d")
    return length


def add_imported(foreign: ImportedKey) -> bool:
    """Store a key that another server created, so that it still works; returns False if its id is stored already."""
    if session().get(ApiKey, foreign.id):
        return False
    key = ApiKey(id=foreign.id, name=foreign.name, secret_hash=tokens.digest(foreign.secret))
    key.created_at = foreign.created_at or clock.now()
    session().add(key)
    events.record("key.created", facts={"key": key.id})
    return True


def newest() -> Sequence[ApiKey]:
    """All keys, the newest first."""
    return session().scalars(select(ApiKey).order_by(ApiKey.created_at.desc(), ApiKey.id)).all()


def bound_to(preset: str) -> Sequence[ApiKey]:
    """The keys that create invites by the preset with this name alone, the oldest first."""
    return session().scalars(select(ApiKey).where(ApiKey.preset == preset).order_by(ApiKey.created_at, ApiKey.id)).all()


def delete(key_id: str) -> None:
    """Delete a key for good, by its id or by the whole ID/SECRET; what it holds is given back. Raises NoSuchKey.

    The invites it created stay.
    """
    # Locked before the invites of which it holds uses, as by a call with this key.
    key = session().get(ApiKey, key_id.strip().partition("/")[0], with_for_update=True)
    if key is None:
        raise NoSuchKey
    holds.end_all_of(key.id)
    session().delete(key)
    events.record("key.deleted", facts={"key": key.id})


def keep(key_id: str) -> None:
    """Have a key not be deleted before this unit ends; raises KeyRefused if it was, meanwhile."""
    if not _KEEP.run(key_id=key_id):
        raise KeyRefused(_GONE)


def authenticate(combined: str) -> VerifiedKey:
    """The key that ``ID/SECRET`` stands for, split at its first slash; raises KeyRefused.

    No length is assumed: keys that Prosody created are 12 and 36 characters long. The time of use is stored, at most
    once a minute: now, or by the caretaker where this unit only reads, which would otherwise wait for writers.
    """
    key_id, slash, secret = combined.partition("/")
    if not (key_id and slash and secret):
        raise KeyRefused("This is only half a key.")
    key = None if "\0" in key_id else _KEY.first(key_id=key_id)  # PostgreSQL takes no text with a NUL
    if not tokens.matches(secret, key.secret_hash if key else _UNKNOWN) or key is None:
        raise KeyRefused(_GONE)
    now = clock.now()
    if key.expires_at and key.expires_at <= now:
        raise KeyRefused(f"This key expired on {clock.iso(key.expires_at)}.")
    if key.last_used_at is None or now - key.last_used_at >= clock.MINUTE:
        if may_write():
            _USED.run(key_id=key_id, now=now)
        else:
            _unwritten()[key_id] = now
    return VerifiedKey(key.id, key.name, key.may.split(), key.preset)


def unwritten_uses() -> list[str]:
    """The ids of keys whose last use is yet to be stored."""
    return sorted(_unwritten())


def write_uses(ids: Sequence[str]) -> None:
    """Store when these keys were last used, to call from the caretaker."""
    uses = _unwritten()
    for key_id in ids:
        _USED.run(key_id=key_id, now=uses.pop(key_id))


def _unwritten() -> dict[str, datetime]:
    return _UNWRITTEN.setdefault(connection().engine, {})


def new_id() -> str:
    """A new id of 8 characters that does not start with ``-``, so that a shell can pass it as an argument."""
    while (key_id := clock.random_text(6)).startswith("-"):
        pass
    return key_id
