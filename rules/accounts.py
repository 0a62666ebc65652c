"""Accounts: how one comes to be, signs in, is made admin, gets a new password, and goes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError

import clock
from config import settings
from database import session
from models import Invite, Member, Project, Redemption, User
from rules import addresses, counters, fields, ids, invites, passwords, places, redemption, sessions, tokens
from rules.refusals import (
    EmailInUse,
    EmailMismatch,
    EmailNotVerified,
    Invalid,
    InvalidCredentials,
    OwnAccount,
    OwnsProjects,
    ResetExpired,
    ResetInvalid,
    UsernameTaken,
    UserNotFound,
)

MOST_FAILURES = 100
RESET_TTL = clock.DAY  # of a link that an admin at a shell hands over
MAILED_RESET_TTL = 15 * clock.MINUTE


@dataclass(frozen=True)
class Names:
    """What a new account is to be known by: a user name, an address, or both."""

    username: str | None = None
    email: str | None = None
    display_name: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A try to sign in that has been counted; `user_id` is None where there is no such account."""

    password: str = field(repr=False)
    user_id: str | None
    password_hash: str | None = field(default=None, repr=False)
    verified: bool = False
    is_unfinished: bool = False


def register(token: str, names: Names, password_hash: str) -> tuple[User, redemption.Taken]:
    """Make an account with an invite: both happen, or neither.

    An invite that is bound to an address gives it to the account; verified only by the link that was
    mailed there, since another can be seen without access to that mailbox. Raises whatever stands
    in the way.
    """
    invite = redemption.take(token)
    if invite.email and names.email not in (None, invite.email):
        raise EmailMismatch
    proven = redemption.proves_mailbox(invite, token)
    user = create(replace(names, email=invite.email or names.email), password_hash, proven)
    redemption.settle(invite, user)
    return user, invite


def create(names: Names, password_hash: str | None = None, proven: bool = False) -> User:
    """Make an account, its address perhaps proven; raises UsernameTaken or EmailInUse.

    Without a password it needs a reset link first.
    """
    if not (names.username or names.email):
        raise Invalid.at("username", "required", "or an e-mail address is needed")
    if proven and names.email:
        addresses.release(names.email)
    user = User(
        id=clock.new_id(),
        username=names.username,
        email=names.email,
        email_verified_at=clock.now() if proven and names.email else None,
        display_name=names.display_name,
        password_hash=password_hash,
        created_at=clock.now(),
    )
    try:
        with session().begin_nested():
            session().add(user)
    except IntegrityError:
        if names.username and session().scalar(select(User.id).where(User.username == names.username)):
            raise UsernameTaken from None
        raise EmailInUse from None
    return user


def begin_login(name: str, password: str) -> Attempt:
    """Count a try to sign in with this user name or address, before its password is looked at.

    Once an account has had too many since its last success, its attempts carry no hash: they fail.
    """
    user, awaited = _by_name(name), addresses.is_awaited(name)
    spent = counters.spend("login", user.id if user else "nobody")  # the same work for an unknown name
    if user is None or spent > MOST_FAILURES:
        return Attempt(password, user.id if user else None, is_unfinished=awaited)
    return Attempt(password, user.id, user.password_hash, is_unfinished=awaited)


def check_password(attempt: Attempt) -> Attempt:
    """Compare the password of an attempt; takes long, and as long for an unknown name."""
    return replace(attempt, verified=passwords.verify(attempt.password, attempt.password_hash))


def finish_login(attempt: Attempt) -> User:
    """The account that signed in; raises InvalidCredentials if it did not, or changed meanwhile.

    Raises EmailNotVerified if somebody has begun to register with this address, whoever has it.
    """
    user = None
    if attempt.verified and attempt.user_id:
        user = session().get(User, attempt.user_id, with_for_update=True)
    if user is None or not user.may_sign_in or user.password_hash != attempt.password_hash:
        raise EmailNotVerified if attempt.is_unfinished else InvalidCredentials
    counters.clear("login", user.id)
    return user


def is_admin(user: User | sessions.Account) -> bool:
    """Whether this is an admin of the site: marked as one, or by a verified address in ADMIN_EMAILS."""
    return user.admin_at is not None or (user.email_verified_at is not None and user.email in settings().admin_emails)


def as_maker(user: User | sessions.Account) -> invites.Maker:
    """The maker of invites that an account is."""
    return invites.Maker(user.called, trusted=is_admin(user), user=user)


def named(text: str) -> User:
    """The account that somebody at a shell means by its user name, address, id or the beginning of that.

    Raises UserNotFound.
    """
    user = _by_name(text) or ids.find(User, text)
    if user is None or user.deleted_at:
        raise UserNotFound
    return user


def newest(limit: int) -> Sequence[User]:
    """At most `limit` accounts, the newest first."""
    query = select(User).where(User.deleted_at.is_(None)).order_by(User.created_at.desc(), User.id).limit(limit)
    return session().scalars(query).all()


def beginning(text: str, limit: int) -> Sequence[User]:
    """Accounts whose user name or address begins so, at most `limit`."""
    names = (each.startswith(text, autoescape=True) for each in (User.username, User.email))
    return session().scalars(select(User).where(User.deleted_at.is_(None), or_(*names)).limit(limit)).all()


def search(text: str | None, after: places.Place | None, limit: int) -> Sequence[User]:
    """At most `limit` accounts, the newest first, with a text in one of their names, after a place in the list."""
    query = select(User).where(User.deleted_at.is_(None)).order_by(*places.newest(User))
    if text:
        names = (User.username, User.email, User.display_name)
        query = query.where(or_(*(each.icontains(text, autoescape=True) for each in names)))
    return session().scalars(places.after(query, User, after).limit(limit)).all()


def used_by(user: User) -> Sequence[Invite]:
    """The invites that an account has used, the latest first."""
    query = select(Invite).join(Redemption).where(Redemption.user_id == user.id)
    return session().scalars(query.order_by(Redemption.redeemed_at.desc()).limit(100)).all()


def refuse_self(admin: User, user: User) -> None:
    """Raise OwnAccount where somebody would shut themselves out."""
    if admin.id == user.id:
        raise OwnAccount


def set_admin(user: User, admin: bool) -> None:
    """Mark an account as an admin of the site, or no longer: then nobody becomes one by its open invites either."""
    user.admin_at = (user.admin_at or clock.now()) if admin else None
    if not admin:
        invites.revoke_admins_by(user)


def disable(user: User) -> int:
    """Shut an account out and withdraw the open invites it made; returns how many those were."""
    user.disabled_at = user.disabled_at or clock.now()
    sessions.end_all(user)
    return invites.revoke_all_by(user)


def enable(user: User) -> None:
    """Let a disabled account in again."""
    user.disabled_at = None


def remove(user: User) -> int:
    """Delete an account: everything personal goes, an empty row stays for history's sake.

    Its sessions stay until they expire, so that one of Agentbot's calls can say that the user is
    gone; they open nothing. Returns how many open invites were withdrawn with it. Raises
    OwnsProjects, since a project cannot be without an owner.
    """
    owned = select(Project.slug).join(Member).where(Member.user_id == user.id, Member.role == "owner")
    if slugs := session().scalars(owned).all():
        raise OwnsProjects([slug for slug in slugs if slug])
    user.deleted_at = clock.now()
    user.username = user.email = user.email_verified_at = None
    user.display_name = user.password_hash = user.admin_at = None
    session().execute(delete(Member).where(Member.user_id == user.id))
    return invites.revoke_all_by(user)


def reset_link(user: User) -> str:
    """A link with which a new password can be set, once and within a day. It proves nothing about an address."""
    return _reset_link(user, RESET_TTL, None)


def mailed_reset_link(user: User, lifetime: timedelta) -> str:
    """Likewise, for the account's mailbox alone: using it proves the address."""
    return _reset_link(user, lifetime, user.email)


def of_reset(token: str) -> User:
    """The account that a reset link is for; raises ResetInvalid or ResetExpired."""
    return _read_reset(token)[0]


def reset(token: str, password_hash: str) -> User:
    """Set a new password with a reset link: all sessions end, and wrong passwords are forgiven."""
    user, proven = _read_reset(token)
    if proven:
        addresses.prove(user, proven)
    user.password_hash = password_hash
    sessions.end_all(user)
    counters.clear("login", user.id)
    return user


def _reset_link(user: User, lifetime: timedelta, proves: str | None) -> str:
    payload = [user.id, _fingerprint(user), (clock.now() + lifetime).timestamp(), proves]
    return f"{settings().public_url}/password/reset?{tokens.sign('password reset', payload)}"


def _read_reset(token: str) -> tuple[User, str | None]:
    """The account that a reset link is for, and the address that it proves."""
    payload = tokens.unsign("password reset", token)
    user = session().get(User, payload[0], with_for_update=True) if payload else None
    if user is None or user.deleted_at or payload[1] != _fingerprint(user) or payload[3] not in (None, user.email):
        raise ResetInvalid
    if datetime.fromtimestamp(payload[2], UTC) <= clock.now():
        raise ResetExpired
    return user, payload[3]


def _by_name(name: str) -> User | None:
    name = fields.typed_name(name)
    return session().scalar(select(User).where(or_(User.username == name, User.email == name)))


def _fingerprint(user: User) -> str:
    """Changes with the password, so that a link cannot be used twice."""
    return tokens.digest(user.password_hash or "")[:16]
