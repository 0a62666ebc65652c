"""HitKey's Invites API: accounts, and invites that are viewed and accepted.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``, with ``errors`` for fields that
are not valid (422); a token pair is ``{type, token, refresh_token, expires_in}``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Response
from werkzeug.exceptions import HTTPException

from clock import iso, now
from config import settings
from dialects import shapes, wire
from dialects.contract import Created, refuses
from dialects.members import Id, Slug, Token
from rules import accounts, invites, passwords, projects, redemption, refusals, registration, sessions
from rules.accounts import Attempt, Names
from rules.redemption import Taken
from rules.refusals import (
    AlreadyMember,
    EmailInUse,
    EmailMismatch,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    MemberNotFound,
    NotAllowed,
    NotProjectMember,
    NotSignedIn,
    ProjectNotFound,
    Refusal,
)
from rules.sessions import SignedIn, Tokens

HEADERS: Mapping[str, str] = wire.HEADERS

STATUS = {
    **wire.STATUS,
    refusals.Invalid: 422,
    refusals.InviteExpired: 400,
    refusals.InviteUsed: 400,
}

DEAD = InviteNotFound, InviteExpired, InviteUsed


@dataclass(frozen=True)
class Registration:
    """A registration that is complete, its password hashed."""

    token: str = field(repr=False)
    names: Names
    password_hash: str = field(repr=False)


@dataclass(frozen=True)
class Try:
    """A try at a code that has been counted: it is the `number`-th."""

    code_id: str
    number: int
    digits: str = field(repr=False)


@dataclass(frozen=True)
class Chosen:
    """A first password, hashed."""

    email: str
    password_hash: str = field(repr=False)
    ticket: str | None = field(repr=False)


@dataclass(frozen=True)
class Reset:
    """A new password, hashed, and the token of the link that allows it."""

    token: str = field(repr=False)
    password_hash: str = field(repr=False)


@refuses(*DEAD, at=404)
def view_invite(caller: None, token: Token) -> shapes.Invitation | Response:  # noqa: ARG001
    """What whoever has the link may know; 404 where it cannot be used any more."""
    try:
        return _invitation(invites.shown(token))
    except DEAD as dead:
        answer = refusal(dead)
        answer.status_code = 404
        return answer


@refuses(*DEAD, AlreadyMember, EmailMismatch)
def accept_invite(caller: SignedIn, token: Token) -> shapes.Joined:
    """Let the account that is signed in use an invite."""
    return _joined(redemption.accept(token, caller.account))


def read_registration(body: shapes.Registration) -> Registration:
    """Hash the password of a registration."""
    names = Names(body.get("username"), body["email"], body.get("displayName"))
    password = passwords.check(body["password"], names.username)
    return Registration(body["invite_token"], names, passwords.hash(password))


@refuses(*DEAD, EmailMismatch, EmailInUse, refusals.UsernameInvalid, refusals.UsernameTaken)
def register_with_invite(caller: None, registration: Registration) -> shapes.JoinedSession:  # noqa: ARG001
    """Make an account and accept the invite, both or neither, and sign in."""
    user, invite = accounts.register(registration.token, registration.names, registration.password_hash)
    return {**_signed_in(sessions.start(user), user), **_joined(invite)}


def begin_login(caller: None, body: shapes.Credentials) -> Attempt:  # noqa: ARG001
    """Count the try to sign in, before its password is looked at."""
    return accounts.begin_login(body["email"], body["password"])


@refuses(refusals.InvalidCredentials, refusals.EmailNotVerified)
def login(caller: None, attempt: Attempt) -> shapes.Session:  # noqa: ARG001
    """Sign in with an address or a user name, and a password."""
    user = accounts.finish_login(attempt)
    return _signed_in(sessions.start(user), user)


def logout(caller: SignedIn) -> shapes.Said:
    """End the session: all its tokens are dead at once."""
    sessions.end(caller.session)
    return {"message": "Signed out."}


def me(caller: SignedIn) -> shapes.Me:
    """The account that is signed in."""
    user = caller.user
    return {
        **_user(user),
        "username": user.username,
        "emailVerified": user.email_verified_at is not None,
        "isAdmin": accounts.is_admin(user),
        "createdAt": iso(user.created_at),
    }


@refuses(NotSignedIn)
def refresh_token(caller: None, body: shapes.RefreshToken) -> shapes.Pair | Response:  # noqa: ARG001
    """A new pair of tokens for a refresh token. One that comes a second time, too late, ends the session."""
    pair = sessions.refresh(body["refresh_token"])
    return _pair(pair) if pair else refusal(NotSignedIn())


@refuses(refusals.RegistrationClosed)
def start_registration(caller: None, body: shapes.Addressed) -> shapes.Said:  # noqa: ARG001
    """Send a code to an address, whoever has it; the first of three steps to an account without an invite."""
    registration.start(body["email"])
    return {"message": "If this address can be used, a code has been sent to it."}


@refuses(refusals.RegistrationClosed, refusals.EmailAlreadyVerified, refusals.NoCode)
def resend_code(caller: SignedIn | None, body: shapes.MaybeAddressed) -> shapes.Said:
    """Send another code: to begin with, or to prove the address of the account that is signed in."""
    if caller is None:
        wire.require(body, "email")
        registration.start(body["email"])
    else:
        registration.start_proof(caller.user)
    return {"message": "If this address can be used, a code has been sent to it."}


def count_code(caller: SignedIn | None, body: shapes.MailedCode) -> Try:
    """Count a try at a code, before it is looked at. With a session it is about that account's address."""
    return Try(*registration.count_try(body["email"], caller.user if caller else None), body["code"])


@refuses(refusals.RegistrationClosed, EmailInUse)
@refuses(refusals.NoCode, refusals.InvalidCode, refusals.CodeExpired, refusals.TooManyAttempts)
def verify_code(caller: SignedIn | None, tried: Try) -> shapes.Ticketed:
    """The second step: the code that was mailed. With a session it proves that account's address."""
    code = registration.check(tried.code_id, tried.number, tried.digits, wire.neighbourhood())
    if caller is None:
        return {"message": "Now choose a password.", "registration_token": registration.ticket(code)}
    registration.prove(caller.user, code)
    return {"message": "This address is yours."}


def read_password(body: shapes.FirstPassword) -> Chosen:
    """Hash a first password, while no unit of work is open."""
    return Chosen(body["email"], passwords.hash(body["password"]), body.get("registration_token"))


@refuses(refusals.RegistrationClosed, refusals.NoCode, EmailInUse)
def choose_password(caller: None, chosen: Chosen) -> shapes.FirstSession:  # noqa: ARG001
    """The third step: make the account, and sign in."""
    user = registration.complete(chosen.email, chosen.password_hash, wire.neighbourhood(), chosen.ticket)
    return {"message": "Your account is ready.", **_signed_in(sessions.start(user), user)}


def forgot_password(caller: None, body: shapes.Addressed) -> shapes.Said:  # noqa: ARG001
    """Mail a link for a new password, if the address has an account; the answer is the same if not."""
    registration.send_reset(body["email"])
    return {"message": "If this address has an account, a link has been sent to it."}


def read_reset(body: shapes.NewPassword) -> Reset:
    """Hash a new password, while no unit of work is open."""
    return Reset(body["token"], passwords.hash(body["password"]))


@refuses(refusals.ResetInvalid, refusals.ResetExpired)
def reset_password(caller: None, wanted: Reset) -> shapes.Said:  # noqa: ARG001
    """Set a new password with the link that was mailed, once; every session of the account ends."""
    accounts.reset(wanted.token, wanted.password_hash)
    return {"message": "Your new password is set. Sign in with it."}


def create_project(caller: SignedIn, body: shapes.NewProject) -> Created[shapes.Project]:
    """Make a project of one's own."""
    return _project(projects.create(caller.user, projects.Plan(**body))), 201


def list_projects(caller: SignedIn) -> list[shapes.Project]:
    """The projects one belongs to."""
    return [_project(each) for each in projects.of_user(caller.user)]


@refuses(ProjectNotFound, NotProjectMember)
def show_project(caller: SignedIn, slug: Slug) -> shapes.Project:
    """A project one belongs to, or a public one."""
    return _project(projects.visible(slug, caller.user))


@refuses(ProjectNotFound, NotProjectMember)
def list_members(caller: SignedIn, slug: Slug) -> list[shapes.Member]:
    """Who belongs to a project, for those who do."""
    project = projects.of_member(slug, caller.user).project
    return [_member(each) for each in projects.members(project)]


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, MemberNotFound)
def remove_member(caller: SignedIn, slug: Slug, member_id: Id) -> shapes.Said:
    """Remove a member; the open invites it made there are withdrawn."""
    projects.remove(projects.of_manager(slug, caller.user), member_id)
    return {"message": "Member removed."}


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, AlreadyMember, refusals.InviteAlreadyExists)
def invite_to_project(caller: SignedIn, slug: Slug, body: shapes.ProjectInvite) -> Created[shapes.SentInvite]:
    """Invite an address to a project, as its owner or admin, by mail; without SMTP_URL the link comes back."""
    made = projects.invite(projects.of_manager(slug, caller.user), invites.Draft(project=slug, **body))
    sent = cast(shapes.SentInvite, _invite(made))
    if not settings().smtp_url:
        sent["inviteUrl"] = invites.link(invites.token(made))
    return sent, 201


@refuses(ProjectNotFound, NotProjectMember, NotAllowed)
def list_project_invites(caller: SignedIn, slug: Slug) -> list[shapes.StatedInvite]:
    """All invites to a project, for its owner and admins; without what would let somebody in."""
    project = projects.of_manager(slug, caller.user).project
    return [{**_invite(each), "status": each.state(now())} for each in projects.invites_of(project)]


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, InviteNotFound)
def cancel_invite(caller: SignedIn, slug: Slug, invite_id: Id) -> shapes.Said:
    """Withdraw an invite to a project."""
    projects.cancel(projects.of_manager(slug, caller.user), invite_id)
    return {"message": "Invite cancelled."}


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where fields are not valid."""
    return wire.refusal(error, STATUS)


def _invitation(told: invites.Invitation) -> shapes.Invitation:
    return {
        "id": told.id,
        "email": told.email,
        "role": told.role,
        "project": {"name": told.to, "slug": told.project} if told.project else None,
        "invitedBy": {"displayName": told.inviter},
        "expiresAt": iso(told.expires_at) if told.expires_at else None,
        "is_expired": False,
    }


def _joined(invite: Taken) -> shapes.Joined:
    slug, url = redemption.leads_to(invite)
    return {"project_slug": slug, "redirect_url": url}


def _signed_in(pair: Tokens, user: Any) -> shapes.Session:
    return {**_pair(pair), "user": _user(user)}


def _pair(pair: Tokens) -> shapes.Pair:
    return {
        "type": "bearer",
        "token": pair.access,
        "refresh_token": pair.refresh,
        "expires_in": pair.expires_in,
    }


def _user(user: Any) -> shapes.Person:
    return {"id": user.id, "email": user.email, "displayName": user.called}


def _project(project: Any) -> shapes.Project:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": projects.owner(project).id,
        "created_at": iso(project.created_at),
    }


def _member(member: Any) -> shapes.Member:
    user = member.user
    return {
        "id": member.id,
        "user_id": user.id,
        "role": member.role,
        "user": {"id": user.id, "email": user.email, "display_name": user.called},
        "permissions": [],
        "created_at": iso(member.joined_at),
    }


def _invite(invite: Any) -> shapes.OpenInvite:
    return {
        "id": invite.id,
        "email": invite.email,
        "role": invite.role,
        "redirect_url": invite.redirect_url,
        "expiresAt": iso(invite.expires_at) if invite.expires_at else None,
        "created_at": iso(invite.created_at),
    }


LISTS = list_projects, list_members, list_project_invites  # as long as there is anything to list
