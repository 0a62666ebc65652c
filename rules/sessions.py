"""Sessions: being signed in. A session is one row, which is deleted when it ends.

Access tokens are opaque, valid for an hour, and stand for a session. A refresh token is used once: its successor,
which is derived from it, replaces it. If it is sent again within ten seconds, the answer was probably lost, and the
same successor is sent again. If it is sent later, one of its two bearers has stolen it, and the session ends. RFC 9700
(4.14.2) calls this refresh token rotation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, delete, select, update

import clock
from database import may_write, session
from database.statements import Statement
from models import AccessToken, Person, Session, User
from rules import events, passes, tokens
from rules.refusals import NotSignedIn
from settings import settings

ACCESS = clock.HOUR
LIFETIME = 30 * clock.DAY
GRACE = 10 * clock.SECOND
_ANYONE, _VISIT = "a stranger", "visit "  # whose a form is in which nobody is signed in
MAX_SESSIONS = 100  # sessions of one account: to end them all must not take long, and nobody uses that many


@dataclass(frozen=True)
class Tokens:
    """What a program gets when it signs in; `expires_in` is how many seconds the access token is valid."""

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
    created_at: datetime
    budget: str | None


class Account(Person, _Facts):
    """The columns of an account that most requests need; cheaper to read than the mapped User."""


@dataclass(frozen=True)
class SignedIn:
    """The account that sends a request, and the id of its session."""

    account: Account
    session_id: str

    @property
    def user(self) -> User:
        """The mapped account, for changing it in the unit of work that is open here."""
        return session().get_one(User, self.account.id)

    @property
    def actor(self) -> events.Actor:
        """The actor of the events of this request."""
        return events.person(self.account)

    @property
    def identity(self) -> str:
        """By what this account's requests are counted against rate limits."""
        return self.account.id


def start(user: User) -> Tokens:
    """Sign a program in; returns its tokens."""
    begun = _new(user)
    refresh = f"{begun.id}.{clock.random_text(32)}"
    begun.refresh_hash = tokens.digest(refresh)
    return Tokens(_new_access(begun, ACCESS), refresh)


def start_in_browser(user: User) -> str:
    """Sign a browser in; returns the value of its cookie, valid for as long as the session."""
    return tokens.sign("cookie", _new_access(_new(user), LIFETIME))


def refresh(token: str) -> Tokens | None:
    """The next pair of tokens; None if this token was used before, which has ended the session.

    On None the caller must let its unit of work commit, otherwise the session would not end. Raises NotSignedIn for a
    token of no session, or of one that has ended, expired, or belongs to a disabled account.
    """
    now = clock.now()
    session_id, presented = token.partition(".")[0], tokens.digest(token)
    successor = f"{session_id}.{tokens.successor(token)}"
    rotated = session().scalar(
        update(Session)
        .where(Session.id == session_id, Session.refresh_hash == presented, Session.expires_at > now)
        .values(refresh_hash=tokens.digest(successor), parent_hash=presented, rotated_at=now, expires_at=now + LIFETIME)
        .returning(Session)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    found = rotated or session().scalar(select(Session).where(Session.id == session_id, Session.expires_at > now))
    if found is None or not session().get_one(User, found.user_id).may_sign_in:
        raise NotSignedIn
    if rotated or _lost_reply(found, presented, now):
        return Tokens(_new_access(found, ACCESS), successor)
    if found.refresh_hash is None:  # a browser's session has no refresh token to replay
        raise NotSignedIn
    end(found.id)
    return None


def of_access_token(token: str) -> SignedIn:
    """The account (perhaps disabled or deleted since) and session of an access token; raises NotSignedIn."""
    query = _OF_TOKEN_HELD if may_write() else _OF_TOKEN
    found = query.first(hash=tokens.digest(token), now=clock.now())
    if found is None:
        raise NotSignedIn
    *account, session_id = found
    return SignedIn(Account(*account), session_id)


def of_cookie(cookie: str) -> SignedIn:
    """The account (perhaps disabled or deleted since) and session of a browser's cookie; raises NotSignedIn."""
    token = tokens.unsign("cookie", cookie)
    if not isinstance(token, str):
        raise NotSignedIn
    return of_access_token(token)


def form_token(caller: SignedIn | None, visit: str = "") -> str:
    """A text for the forms of our pages, without which a form does nothing: a page of another site does not know it.

    Without a session it belongs to `visit`, a text that only this browser has. Without that as well it is the same for
    all visitors; there only the browser's own headers tell the site of a form.
    """
    if caller or visit:
        return tokens.sign("form", _form_owner(caller, visit))
    return _anyones_form_token(settings().secrets)


def is_form_token(text: str, caller: SignedIn | None, visit: str = "") -> bool:
    """Whether a form came from a page that was made for this session, or for this visit without one."""
    return bool(tokens.unsign("form", text) == _form_owner(caller, visit))


def is_visitors_form_token(text: str) -> bool:
    """Whether a form came from a page for some visitor; for a browser that says itself that the page was ours."""
    owner = tokens.unsign("form", text)
    return isinstance(owner, str) and owner.startswith((_ANYONE, _VISIT))


def keep(caller: SignedIn) -> None:
    """Have a session not end before this unit does; raises NotSignedIn if it has ended since its caller was looked up.

    For what outlives the session: who waited for a change of the password creates nothing that opens a door.
    """
    if session().get(Session, caller.session_id, with_for_update={"read": True, "key_share": True}) is None:
        raise NotSignedIn


def end(session_id: str) -> None:
    """End one session, if it has not ended yet: its tokens stop working at once."""
    _end(Session.id == session_id)


def end_all(user: User) -> None:
    """End all sessions of an account, and delete the passes of its programs: another person may have them.

    Last in its unit, since others who delete passes have locked invites and members before.
    """
    _end(Session.user_id == user.id)
    passes.end_all(user.id)


def end_all_of(user_ids: Sequence[str]) -> None:
    """End all sessions of the accounts with these ids, and delete the passes of their programs, as `end_all` does."""
    _end(Session.user_id.in_(user_ids))
    passes.end_all_of(user_ids)


def end_one(user: User, session_id: str) -> None:
    """End one session of an account, if it is one of its own and has not ended yet."""
    _end(and_(Session.user_id == user.id, Session.id == session_id))


def end_others(kept: SignedIn) -> None:
    """End all sessions of an account but this one."""
    _end(and_(Session.user_id == kept.account.id, Session.id != kept.session_id))


def of_account(user_id: str) -> Sequence[Session]:
    """The sessions of an account that have not expired, the newest first; at most 100."""
    good = Session.user_id == user_id, Session.expires_at > clock.now()
    return session().scalars(select(Session).where(*good).order_by(Session.created_at.desc(), Session.id)).all()


def _end(which: ColumnElement[bool]) -> None:
    """Delete sessions, and their tokens with them, by one statement: all who write wait until it is done."""
    session().execute(delete(Session).where(which).execution_options(synchronize_session=False))


@lru_cache(maxsize=1)
def _anyones_form_token(secrets: tuple[bytes, ...]) -> str:  # noqa: ARG001 (it changes with them)
    return tokens.sign("form", _form_owner(None, ""))


def _form_owner(caller: SignedIn | None, visit: str) -> str:
    if caller:
        return tokens.digest(caller.session_id)
    return f"{_VISIT}{tokens.digest(visit)}" if visit else _ANYONE


def _new(user: User) -> Session:
    now = clock.now()
    session().execute(delete(Session).where(Session.user_id == user.id, Session.expires_at <= now))
    begun = Session(id=clock.new_id(), user_id=user.id, created_at=now, expires_at=now + LIFETIME)
    session().add(begun)
    session().flush()
    oldest = select(Session.id).where(Session.user_id == user.id)
    _end(Session.id.in_(oldest.order_by(Session.expires_at.desc(), Session.created_at.desc()).offset(MAX_SESSIONS)))
    return begun


def _new_access(of: Session, lifetime: timedelta) -> str:
    now = clock.now()
    token = settings().token_prefix + clock.random_text(32)
    session().execute(delete(AccessToken).where(AccessToken.session_id == of.id, AccessToken.expires_at <= now))
    session().add(AccessToken(hash=tokens.digest(token), session_id=of.id, expires_at=now + lifetime))
    return token


def _lost_reply(found: Session, presented: str, now: datetime) -> bool:
    return found.parent_hash == presented and found.rotated_at is not None and abs(now - found.rotated_at) <= GRACE


_of_token = (
    select(*(getattr(User, name) for name in Account._fields), Session.id.label("session_id"))
    .join(Session, Session.user_id == User.id)
    .join(AccessToken, AccessToken.session_id == Session.id)
    .where(
        AccessToken.hash == bindparam("hash"),
        AccessToken.expires_at > bindparam("now"),
        Session.expires_at > bindparam("now"),
    )
)
_OF_TOKEN = Statement(_of_token)
# In a unit that writes, the account is locked: it cannot be disabled, or stop being an admin, before the unit ends.
# FOR NO KEY UPDATE and not FOR SHARE: some of these units change the account, and two of them with a share each
# would wait for one another.
_OF_TOKEN_HELD = Statement(_of_token.with_for_update(key_share=True, of=User))
