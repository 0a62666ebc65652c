"""HitKey's Invites API: accounts, and invites that are viewed and accepted.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``, with ``errors`` for fields that
are not valid (422); a token pair is ``{type, token, refresh_token, expires_in}``.
"""

from collections.abc import Mapping
from typing import Any, cast

from flask import Response
from werkzeug.exceptions import HTTPException

from clock import iso, now
from dialects.shapes import hitkey as shapes
from dialects.shapes.values import Addressed, Id, Slug, Token
from rules import (
    accounts,
    invitations,
    invites,
    passwords,
    presets,
    projects,
    redemption,
    refusals,
    registration,
    resets,
    sessions,
)
from rules.accounts import Names
from rules.idempotency import Once
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
    Overloaded,
    ProjectNotFound,
    Refusal,
)
from rules.sessions import SignedIn, Tokens
from settings import settings
from web import errors, requests
from web.answer import committed, forgive, read_only
from web.contract import Created, refuses

HEADERS: Mapping[str, str] = errors.HEADERS

FOR_FRONT_ENDS = True  # see web/cors.py

STATUS = {
    **errors.STATUS,
    refusals.Invalid: 422,
    refusals.InviteExpired: 400,
    refusals.InviteUsed: 400,
}

DEAD = InviteNotFound, InviteExpired, InviteUsed


@refuses(*DEAD, at=404)
def view_invite(token: Token) -> shapes.Invitation:
    """What anyone with the link may know; 404 for an invite that can no longer be used."""
    return _invitation(invitations.find(token))


@refuses(*DEAD, AlreadyMember, EmailMismatch)
def accept_invite(caller: SignedIn, token: Token) -> shapes.Joined:
    """Use an invite, as the account that is signed in."""
    return _joined(redemption.accept(token, caller.account))


@refuses(*DEAD, EmailMismatch, EmailInUse, refusals.UsernameInvalid, refusals.UsernameTaken, Overloaded)
def register_with_invite(body: shapes.Registration) -> shapes.JoinedSignIn:
    """Create an account and accept the invite, both or neither, and sign in."""
    names = Names(body.get("username"), body["email"], body.get("displayName"))
    password_hash = passwords.hash(passwords.check(body["password"], names.username))

    def register() -> shapes.JoinedSignIn:
        user, invite = accounts.register(body["invite_token"], names, password_hash)
        return {**_signed_in(sessions.start(user), user), **_joined(invite)}

    return committed(register)


@refuses(refusals.InvalidCredentials, refusals.EmailNotVerified, Overloaded)
@refuses(refusals.AccountDisabled, at=401)
def login(body: shapes.Credentials) -> shapes.SignIn:
    """Sign in with an address or a user name, and a password."""
    with passwords.room():  # first: a caller who is sent away has not tried
        attempt = committed(accounts.begin_login, body["email"], body["password"])
        checked = accounts.check_password(attempt)

    def sign_in() -> shapes.SignIn:
        user = accounts.finish_login(checked)
        return _signed_in(sessions.start(user), user)

    signed_in = committed(sign_in)
    forgive(signed_in["user"]["id"])
    return signed_in


def logout(caller: SignedIn) -> shapes.Said:
    """End the session: none of its tokens works any more."""
    sessions.end(caller.session_id)
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
        "updatedAt": iso(user.created_at),
        "name": user.called,
        "emails": _emails(user),
        "totpEnabled": False,
        "surname": None,
        "givenNames": None,
        "nativeScript": None,
        "preferredOrder": None,
    }


@refuses(NotSignedIn)
def refresh_token(body: shapes.RefreshToken) -> shapes.TokenPair:
    """A new pair of tokens for a refresh token. One that comes a second time, too late, ends the session."""
    pair = committed(sessions.refresh, body["refresh_token"])
    if pair is None:  # the session has ended, and stays so
        raise NotSignedIn
    return _pair(pair)


@refuses(refusals.RegistrationClosed)
def start_registration(body: Addressed) -> shapes.Said:
    """Send a code to any address; the first of three steps to an account without an invite."""
    registration.start(body["email"])
    return {"message": "If this address can be used, a code has been sent to it."}


@refuses(refusals.RegistrationClosed, refusals.EmailAlreadyVerified, refusals.NoCode)
def resend_code(caller: SignedIn | None, body: shapes.MaybeAddressed) -> shapes.Said:
    """Send another code: to begin with, or to prove the address of the account that is signed in."""
    if caller is None:
        requests.require(body, "email")
        registration.start(body["email"])
    else:
        registration.start_proof(caller.user)
    return {"message": "If this address can be used, a code has been sent to it."}


@refuses(refusals.RegistrationClosed, EmailInUse)
@refuses(refusals.NoCode, refusals.InvalidCode, refusals.CodeExpired, refusals.TooManyAttempts)
def verify_code(caller: SignedIn | None, body: shapes.MailedCode) -> shapes.Ticketed:
    """The second step: the code that was mailed. With a session it proves that account's address."""
    user_id = caller.account.id if caller else None
    attempt = committed(registration.count_try, body["email"], user_id)  # counted before the code is looked at

    def check() -> shapes.Ticketed:
        code = registration.check(*attempt, body["code"], requests.neighbourhood())
        if caller is None:
            return {"message": "Now choose a password.", "registration_token": registration.ticket(code)}
        registration.prove(caller.user, code)
        return {"message": "This address is yours."}

    return committed(check)


@refuses(refusals.RegistrationClosed, refusals.NoCode, EmailInUse, Overloaded)
def choose_password(body: shapes.FirstPassword) -> shapes.FirstSignIn:
    """The third step: create the account, and sign in."""
    password_hash, ticket = passwords.hash(body["password"]), body.get("registration_token")

    def complete() -> shapes.FirstSignIn:
        user = registration.complete(body["email"], password_hash, requests.neighbourhood(), ticket)
        return {"message": "Your account is ready.", **_signed_in(sessions.start(user), user)}

    return committed(complete)


def forgot_password(body: Addressed) -> shapes.Said:
    """Mail a link for a new password, if the address has an account; the answer is the same if not."""
    registration.send_reset(body["email"])
    return {"message": "If this address has an account, a link has been sent to it."}


@refuses(refusals.ResetInvalid, refusals.ResetExpired, Overloaded)
@refuses(refusals.AccountDisabled, at=400)
def reset_password(body: shapes.NewPassword) -> shapes.Said:
    """Set a new password with the link that was mailed, once; every session of the account ends."""
    username = read_only(resets.find, body["token"]).username
    committed(resets.use, body["token"], passwords.hash(passwords.check(body["password"], username)))
    return {"message": "Your new password is set. Sign in with it."}


def create_project(caller: SignedIn, body: shapes.ProjectDraft) -> Created[shapes.Project]:
    """Create a project, as its owner."""
    return _project(projects.create(caller.user, projects.Plan(**body))), 201


def list_projects(caller: SignedIn) -> list[shapes.Project]:
    """The projects of which the caller is a member."""
    return [_project(each) for each in projects.of_user(caller.user)]


@refuses(ProjectNotFound, NotProjectMember)
def show_project(caller: SignedIn, slug: Slug) -> shapes.Project:
    """A project of which the caller is a member, or a public one."""
    return _project(projects.visible(slug, caller.user))


@refuses(ProjectNotFound, NotProjectMember)
def list_members(caller: SignedIn, slug: Slug) -> list[shapes.ProjectMember]:
    """The members of a project, for its members."""
    project = projects.of_member(slug, caller.user).project
    return [_member(each) for each in projects.members(project)]


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, MemberNotFound)
def remove_member(caller: SignedIn, slug: Slug, member_id: Id) -> shapes.Said:
    """Remove a member; the open invites that it created there are revoked."""
    projects.remove(projects.of_manager(slug, caller.user), member_id)
    return {"message": "Member removed."}


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, AlreadyMember, refusals.InviteAlreadyExists)
def invite_to_project(
    caller: SignedIn, slug: Slug, body: shapes.ProjectInvite, once: Once | None
) -> Created[shapes.SentInvite]:
    """Invite an address to a project, as its owner or admin, by mail; without SMTP_URL the link comes back."""
    manager = projects.of_manager(slug, caller.user)
    draft = presets.draft({**body, "project": slug}, accounts.as_maker(caller.account), once=once)
    made = projects.invite(manager, draft, once)
    sent = cast(shapes.SentInvite, _invite(made))
    if not settings().smtp_url:
        sent["inviteUrl"] = invites.link(invites.token(made))
    return sent, 201


@refuses(ProjectNotFound, NotProjectMember, NotAllowed)
def list_project_invites(caller: SignedIn, slug: Slug) -> list[shapes.StatedInvite]:
    """All invites to a project, for its owner and admins; without their links."""
    project = projects.of_manager(slug, caller.user).project
    return [{**_invite(each), "status": each.state(now())} for each in projects.invites_of(project)]


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, InviteNotFound)
def cancel_invite(caller: SignedIn, slug: Slug, invite_id: Id) -> shapes.Said:
    """Revoke an invite to a project."""
    projects.revoke_invite(projects.of_manager(slug, caller.user), invite_id)
    return {"message": "Invite cancelled."}


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where fields are not valid."""
    return errors.refusal(error, STATUS)


def _invitation(told: invitations.Invitation) -> shapes.Invitation:
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
    slug, url = redemption.destination(invite)
    return {"project_slug": slug, "redirect_url": url}


def _signed_in(pair: Tokens, user: Any) -> shapes.SignIn:
    return {**_pair(pair), "user": _user(user)}


def _pair(pair: Tokens) -> shapes.TokenPair:
    return {
        "type": "bearer",
        "token": pair.access,
        "refresh_token": pair.refresh,
        "expires_in": pair.expires_in,
    }


def _user(user: Any) -> shapes.Person:
    return {"id": user.id, "email": user.email, "displayName": user.called}


def _emails(user: Any) -> list[shapes.Address]:
    """The address of an account, as HitKey lists several."""
    if user.email is None:
        return []
    return [{"id": user.id, "email": user.email, "isDefault": True, "isVerified": user.email_verified_at is not None}]


def _project(project: Any) -> shapes.Project:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": project.owner.id if project.owner else None,
        "created_at": iso(project.created_at),
    }


def _member(member: Any) -> shapes.ProjectMember:
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
