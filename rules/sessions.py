"""Being signed in: a session is one row, and ends for good when it ends.

Access tokens are opaque, live an hour, and stand for a session. A refresh token is used once: it is
replaced by its successor, which is derived from it. Whoever sends it again within ten seconds, since
the answer got lost, gets the same successor; whoever does later has stolen it, or was stolen from,
and the session ends.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, select, update

import clock
from config import settings
from database import may_write, session
from database.statements import Statement
from models import AccessToken, Person, Session, User
from rules import tokens
from rules.refusals import NotSignedIn

ACCESS = clock.HOUR
LIFETIME = 30 * clock.DAY
GRACE = 10 * clock.SECOND


@dataclass(frozen=True)
class Tokens:
    """What a program gets when it signs in; `expires_in` is in seconds and about the access token."""

    access: str
    refresh: str
    expires_in: int = int(ACCESS.total_seconds())


class _Facts(NamedTuple):
    id: str
    username: str | None
    email: str | None
    email_verified_at: datetime | None
    display_name: str | None
    admin_at: datetime | None
    disabled_at: datetime | None
    deleted_at: datetime | None


class Account(Person, _Facts):
    """What most calls have to know of the account that makes them."""


@dataclass(frozen=True)
class SignedIn:
    """Who is calling, and in which session; the objects, to change something, are fetched when they are asked for."""

    account: Account
    session_id: str

    @cached_property
    def user(self) -> User:
        """The account itself."""
        return session().get_one(User, self.account.id)

    @cached_property
    def session(self) -> Session:
        """The session itself."""
        return session().get_one(Session, self.session_id)

    @property
    def identity(self) -> str:
        """Whose calls these are."""
        return self.account.id


def start(user: User) -> Tokens:
    """Sign a program in."""
    made = _new(user)
    refresh = f"{made.id}.{clock.random_text(32)}"
    made.refresh_hash = tokens.digest(refresh)
    return Tokens(_new_access(made, ACCESS), refresh)


def start_in_browser(user: User) -> str:
    """Sign a browser in; returns what its cookie holds, good for as long as the session."""
    return tokens.sign("cookie", _new_access(_new(user), LIFETIME))


def refresh(token: str) -> Tokens | None:
    """The next pair of tokens; None if this ended the session, which the caller must let happen.

    Raises NotSignedIn for a token of no session, or of one that is over.
    """
    now = clock.now()
    session_id, presented = token.partition(".")[0], tokens.digest(token)
    successor = f"{session_id}.{tokens.successor(token)}"
    rotated = session().scalar(
        update(Session)
        .where(Session.id == session_id, Session.refresh_hash == presented, *_alive(now))
        .values(
            refresh_hash=tokens.digest(successor),
            parent_hash=presented,
            rotated_at=now,
            expires_at=now + LIFETIME,
        )
        .returning(Session)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    found = rotated or session().scalar(select(Session).where(Session.id == session_id, *_alive(now)))
    if found is None or not session().get_one(User, found.user_id).may_sign_in:
        raise NotSignedIn
    if rotated or _lost_reply(found, presented, now):
        return Tokens(_new_access(found, ACCESS), successor)
    if found.refresh_hash is None:  # a browser's session has no refresh token to replay
        raise NotSignedIn
    end(found)
    return None


def of_access_token(token: str) -> SignedIn:
    """Who signed in with this token, even if disabled or deleted since; raises NotSignedIn."""
    query = _OF_TOKEN_HELD if may_write() else _OF_TOKEN
    found = query.first(hash=tokens.digest(token), now=clock.now())
    if found is None:
        raise NotSignedIn
    *account, session_id = found
    return SignedIn(Account(*account), session_id)


def of_cookie(cookie: str) -> SignedIn:
    """Likewise, for what a browser's cookie holds."""
    token = tokens.unsign("cookie", cookie)
    if not isinstance(token, str):
        raise NotSignedIn
    return of_access_token(token)


def form_token(caller: SignedIn | None) -> str:
    """What a page of ours puts into its forms, so that one on another site does nothing in this session.

    For who is not signed in it is the same for all: there it is the browser's word that counts.
    """
    return tokens.sign("form", _form_owner(caller)) if caller else _strangers_form_token(settings().secrets)


def is_form_token(text: str, caller: SignedIn | None) -> bool:
    """Whether a form came from a page that was made for this visitor."""
    return bool(tokens.unsign("form", text) == _form_owner(caller))


def end(over: Session) -> None:
    """End one session: all its tokens are dead at once."""
    over.ended_at = over.ended_at or clock.now()
    session().execute(delete(AccessToken).where(AccessToken.session_id == over.id))


def end_all(user: User) -> None:
    """End all sessions of an account."""
    for each in session().scalars(select(Session).where(Session.user_id == user.id, Session.ended_at.is_(None))):
        end(each)


@lru_cache(maxsize=1)
def _strangers_form_token(secrets: tuple[bytes, ...]) -> str:  # noqa: ARG001 (it changes with them)
    return tokens.sign("form", _form_owner(None))


def _form_owner(caller: SignedIn | None) -> str:
    return tokens.digest(caller.session_id) if caller else "a stranger"


def _new(user: User) -> Session:
    now = clock.now()
    _forget_expired(user, now)
    made = Session(id=clock.new_id(), user_id=user.id, created_at=now, expires_at=now + LIFETIME)
    session().add(made)
    session().flush()
    return made


def _new_access(of: Session, lifetime: timedelta) -> str:
    now = clock.now()
    token = settings().token_prefix + clock.random_text(32)
    session().execute(delete(AccessToken).where(AccessToken.session_id == of.id, AccessToken.expires_at <= now))
    session().add(AccessToken(hash=tokens.digest(token), session_id=of.id, expires_at=now + lifetime))
    return token


def _forget_expired(user: User, now: datetime) -> None:
    session().execute(delete(Session).where(Session.user_id == user.id, Session.expires_at <= now))


def _lost_reply(found: Session, presented: str, now: datetime) -> bool:
    return found.parent_hash == presented and found.rotated_at is not None and abs(now - found.rotated_at) <= GRACE


def _alive(now: Any) -> tuple[ColumnElement[bool], ...]:
    return (Session.ended_at.is_(None), Session.expires_at > now)


_of_token = (
    select(*(getattr(User, name) for name in Account._fields), Session.id.label("session_id"))
    .join(Session, Session.user_id == User.id)
    .join(AccessToken, AccessToken.session_id == Session.id)
    .where(AccessToken.hash == bindparam("hash"), AccessToken.expires_at > bindparam("now"), *_alive(bindparam("now")))
)
_OF_TOKEN = Statement(_of_token)
# Who changes something stays who they are until it is done: nobody is disabled, or loses what they may, meanwhile.
_OF_TOKEN_HELD = Statement(_of_token.with_for_update(read=True, of=User))
