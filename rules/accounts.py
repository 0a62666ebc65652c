"""Accounts: how one is created, signs in, is made admin, gets a new password, is disabled and deleted."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

import clock
from database import session
from models import Invite, Member, Project, Redemption, SchemaVersion, User
from rules import (
    addresses,
    admins,
    changing,
    counters,
    cursors,
    drafts,
    events,
    fields,
    forbidden_names,
    ids,
    invites,
    joining,
    passwords,
    redemption,
    searching,
    sessions,
    tokens,
    uses,
)
from rules.refusals import (
    AccountDisabled,
    EmailInUse,
    EmailMismatch,
    EmailNotVerified,
    Invalid,
    InvalidCredentials,
    OwnAccount,
    OwnsProjects,
    UsernameTaken,
    UserNotFound,
)
from rules.uses import Taken

MAX_FAILURES = 100


@dataclass(frozen=True)
class Names:
    """The names of a new account: a user name, an address, or both, and perhaps a name to show."""

    username: str | None = None
    email: str | None = None
    display_name: str | None = None


@dataclass(frozen=True)
class Attempt:
    """A try to sign in that has been counted; `user_id` is None if there is no such account.

    `verified` says that the password was right, `is_unfinished` that a registration with this address was begun.
    """

    password: str = field(repr=False)
    user_id: str | None
    password_hash: str | None = field(default=None, repr=False)
    verified: bool = False
    is_unfinished: bool = False


def register(token: str, names: Names, password_hash: str) -> tuple[User, redemption.Used]:
    """Create an account with an invite: both happen, or neither. Returns the account, and how it has used the invite.

    An invite for one address gives that address to the account. It counts as verified only if the token came from the
    mail to that address: the invite's other link can be seen without access to that mailbox.

    One for a whole domain needs an address there, and its use waits until that is proved; one with `approve` waits for
    an admin's yes. The account may sign in meanwhile.

    Raises what `redemption.accept` does, UsernameTaken, EmailInUse, or Invalid where an address is needed.
    """
    found = invites.find(token)
    redemption.lock_claim(token)
    if found.approve or fields.is_domain(found.email):
        return _register_later(found, token, names, password_hash)
    invite = uses.take(token)
    _refuse_other_address(invite, names)
    user = _create_invited(invite, names, token, password_hash)
    redemption.settle(invite, user)
    return user, redemption.Used(invite)


def _register_later(invite: Invite, token: str, names: Names, password_hash: str) -> tuple[User, redemption.Used]:
    uses.lock(invite)
    uses.refuse_unusable(invite)
    _refuse_other_address(invite, names)
    if fields.is_domain(invite.email):
        user = create(names, password_hash, inviter_id=invite.maker_id)
        return user, redemption.wait_for_proof(invite, user)
    user = _create_invited(invite, names, token, password_hash)
    uses.wait(invite, "approval", None, user_id=user.id)
    return user, redemption.Used(invite, "approval")


def _create_invited(invite: Invite | uses.Taken, names: Names, token: str, password_hash: str) -> User:
    """Create the account of a guest; it has the address of the invite, proved if this is the token that was mailed."""
    proven = redemption.proves_mailbox(invite, token)
    return create(replace(names, email=invite.email or names.email), password_hash, proven, invite.maker_id)


def refuse_names(token: str, names: Names) -> Names:
    """The same names, if `register` would take them now; raises EmailMismatch, UsernameTaken or EmailInUse if not.

    For saying what is wrong before anything slow is done. Only who has an active invite may learn it: raises
    InviteNotFound for an unknown one.
    """
    invite = invites.find(token)
    _refuse_other_address(invite, names)
    if names.username and session().scalar(select(User.id).where(User.username == names.username)):
        raise UsernameTaken
    email = names.email if fields.is_domain(invite.email) else invite.email or names.email
    held_by = addresses.holder(email) if email else None
    if held_by and (held_by.email_verified_at or not redemption.proves_mailbox(invite, token)):
        raise EmailInUse
    return names


def create(names: Names, password_hash: str | None = None, proven: bool = False, inviter_id: str | None = None) -> User:
    """Create an account and return it; if `proven`, its address counts as verified.

    `inviter_id` is the account by whose invite it is created, and stays so; None for an invite of the shell or an API
    key, and for none. Without a password it can be signed in to once a reset link was used. Raises UsernameTaken,
    EmailInUse, or Invalid without a name, or with that of the site.
    """
    if not (names.username or names.email):
        raise Invalid.at("username", "required", "or an e-mail address is needed")
    forbidden_names.refuse_name_of_site(names.display_name)
    if proven and names.email:
        addresses.release(names.email)
    user = User(
        id=clock.new_id(),
        username=names.username,
        email=names.email,
        email_verified_at=clock.now() if proven and names.email else None,
        display_name=names.display_name,
        folded=searching.stored(names.display_name),
        password_hash=password_hash,
        created_at=clock.now(),
        inviter_id=inviter_id,
    )
    try:
        with session().begin_nested():
            session().add(user)
    except IntegrityError:
        if names.username and session().scalar(select(User.id).where(User.username == names.username)):
            raise UsernameTaken from None
        raise EmailInUse from None
    if names.username and forbidden_names.was_given(names.username):  # now, since this may have waited for its deletion
        raise UsernameTaken
    events.record("user.created", user_id=user.id, by=events.person(user) if events.actor() == events.GUEST else None)
    return user


def begin_login(name: str, password: str) -> Attempt:
    """Count a try to sign in with this user name or address, before the password is compared."""
    user, unfinished = find(name), addresses.is_registering(name)
    return replace(begin_check(user, password), is_unfinished=unfinished)


def begin_check(user: User | None, password: str) -> Attempt:
    """Count a try at the password of an account, before it is compared; without an account it is of an unknown name.

    After 100 failures since the last success the attempt carries no hash, so that every password fails.
    """
    # An unknown name is counted, too, so that the time it takes does not show that it is unknown.
    tries = counters.count("login", user.id if user else "nobody")
    compared = user.password_hash if user and tries <= MAX_FAILURES else None
    return Attempt(password, user.id if user else None, compared)


def check_password(attempt: Attempt) -> Attempt:
    """The attempt with `verified` set by comparing its password.

    Slow, and as slow for an unknown name; call it inside `passwords.room`, and not inside a unit of work.
    """
    return replace(attempt, verified=passwords.verify(attempt.password, attempt.password_hash))


def finish_login(attempt: Attempt) -> User:
    """The account that signed in, with its failures forgotten.

    Raises AccountDisabled if the password was right and the account is disabled; for any other attempt that failed,
    EmailNotVerified if a registration with this address is not finished, else InvalidCredentials. An account that was
    deleted, or got a new password, since the attempt began has failed too.
    """
    user = None
    if attempt.verified and attempt.user_id:
        user = session().get(User, attempt.user_id, with_for_update=True)
    if user is None or user.deleted_at or user.password_hash != attempt.password_hash:
        raise EmailNotVerified if attempt.is_unfinished else InvalidCredentials
    if user.disabled_at:
        raise AccountDisabled
    counters.clear("login", user.id)
    return user


def as_inviter(user: User | sessions.Account) -> drafts.Inviter:
    """The Inviter of the invites that an account creates."""
    return drafts.Inviter(user.called, trusted=admins.is_admin(user), user=user)


def find(name: str) -> User | None:
    """The account with this user name or address as it was typed; None if there is none."""
    name = fields.typed_name(name)
    return session().scalar(select(User).where(or_(User.username == name, User.email == name)))


def named(text: str) -> User:
    """The account typed at a shell by user name, address, id or the beginning of its id.

    Raises UserNotFound, or Invalid where an account has a name with which the id of another one begins.
    """
    called = find(text)
    with_id = ids.find(User, text) if called is None or len(text) >= ids.SHORTEST else None
    if called and with_id and called is not with_id:
        raise Invalid.at("who", "ambiguous", "is the name of one account and the id of another: give the whole id")
    user = called or with_id
    if user is None or user.deleted_at:
        raise UserNotFound
    return user


def newest(limit: int) -> Sequence[User]:
    """At most `limit` accounts, the newest first, without the deleted ones."""
    query = select(User).where(User.deleted_at.is_(None)).order_by(User.created_at.desc(), User.id).limit(limit)
    return session().scalars(query).all()


def starting_with(text: str, limit: int) -> Sequence[User]:
    """At most `limit` accounts whose user name or address starts with a text."""
    names = (each.startswith(text, autoescape=True) for each in (User.username, User.email))
    return session().scalars(select(User).where(User.deleted_at.is_(None), or_(*names)).limit(limit)).all()


def search(text: str | None, after: cursors.Cursor | None, limit: int) -> Sequence[User]:
    """At most `limit` accounts, the newest first, that come after a cursor.

    With a text, only those that have it in their user name, address or display name, in capitals or not.
    """
    query = select(User).where(User.deleted_at.is_(None)).order_by(*cursors.newest(User))
    if text:
        query = query.where(
            or_(
                searching.found(text, User.folded, User.display_name),
                *(each.icontains(searching.as_stored(text), autoescape=True) for each in (User.username, User.email)),
            )
        )
    return session().scalars(cursors.after(query, User, after).limit(limit)).all()


def one_admin_at_a_time() -> None:
    """Let admins who change accounts wait for one another until this unit ends.

    Two who disable each other would each hold their own account, and want the other's.
    """
    session().execute(select(SchemaVersion).with_for_update(key_share=True))


def lock(user: User) -> None:
    """Lock an account until this unit ends: nothing is created in its name meanwhile.

    Its row is changed last, after all else is locked: who registers under its name waits, and may hold its invites.
    """
    session().flush()  # or what was just changed of it would be forgotten
    session().refresh(user, with_for_update={"key_share": True})


def refuse_self(admin: User, user: User) -> None:
    """Raise OwnAccount if an admin would disable, delete or demote their own account."""
    if admin.id == user.id:
        raise OwnAccount


def set_admin(user: User, admin: bool) -> None:
    """Make an account an admin of the site, or end that; then its invites that make admins are revoked, too."""
    if not admin:
        lock(user)
        changing.revoke_admins_by(user)
    if admin != (user.admin_at is not None):
        events.record("user.admin", user_id=user.id, facts={"admin": admin})
    user.admin_at = (user.admin_at or clock.now()) if admin else None


def disable(user: User) -> int:
    """Disable an account: end its sessions, passes and uses that wait; revoke its invites, and return how many."""
    lock(user)
    revoked, waits = 0, Redemption.user_id == user.id
    if changing.lock_all_by(user, uses.have_waiting(waits)):
        revoked = changing.revoke_all_by(user)
        uses.give_back_all(waits, "released")
    sessions.end_all(user)
    user.disabled_event = None  # it does not come back with its branch any more
    if user.disabled_at is None:
        user.disabled_at = clock.now()
        events.record("user.disabled", user_id=user.id)
    return revoked


def enable(user: User) -> None:
    """Enable a disabled account again; its sessions, passes and invites do not come back."""
    if user.disabled_at:
        user.disabled_at = user.disabled_event = None
        events.record("user.enabled", user_id=user.id)


def remove(user: User) -> int:
    """Delete an account; returns how many of its invites were revoked with it. Raises OwnsProjects.

    Everything personal is erased, and nobody gets its user name again. An empty row stays, since invites and uses refer
    to it; its sessions stay until they expire, so that Agentbot's call can say that the account is gone.
    """
    session().flush()  # or what was just changed of it would be forgotten
    session().refresh(user, with_for_update=True)  # it gets no project between this look at what it owns and its end
    owned = select(Project.slug).join(Member).where(Member.user_id == user.id, Member.role == "owner")
    if slugs := session().scalars(owned).all():
        raise OwnsProjects([slug for slug in slugs if slug])
    changing.lock_all_by(user, uses.have_waiting(Redemption.user_id == user.id))
    revoked = changing.revoke_all_by(user)
    uses.give_back_all(Redemption.user_id == user.id, "released")
    joining.leave_all(user)
    user.deleted_at = clock.now()
    user.former_name = tokens.name_hashes(user.username)[0] if user.username else None
    user.username = user.email = user.email_verified_at = None
    user.display_name = user.folded = user.password_hash = user.admin_at = None
    events.record("user.deleted", user_id=user.id)
    events.erase(user.id)
    return revoked


def _refuse_other_address(invite: Invite | Taken, names: Names) -> None:
    if fields.is_domain(invite.email):
        if names.email is None:
            raise Invalid.at(
                "email", "required", "is needed: this invitation is for addresses at %(domain)s", domain=invite.email
            )
        if not fields.is_at(names.email, str(invite.email)):
            raise EmailMismatch(bound_to=invite.email)
    elif invite.email and names.email not in (None, invite.email):
        raise EmailMismatch(bound_to=invite.email)
