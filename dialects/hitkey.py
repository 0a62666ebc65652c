"""HitKey's Invites API: accounts, and invites that are viewed and accepted.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``, with ``errors`` for fields that
are not valid (422); a token pair is ``{type, token, refresh_token, expires_in}``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException

from clock import iso, now
from config import settings
from dialects import wire
from rules import accounts, fields, invites, passwords, projects, redemption, refusals, registration, sessions
from rules.accounts import Attempt, Names
from rules.redemption import Taken
from rules.refusals import InviteExpired, InviteNotFound, InviteUsed, NotSignedIn, Refusal
from rules.sessions import SignedIn, Tokens

HEADERS: Mapping[str, str] = wire.HEADERS

STATUS = {
    **wire.STATUS,
    refusals.Invalid: 422,
    refusals.InviteExpired: 400,
    refusals.InviteUsed: 400,
}

Body = dict[str, Any]
Created = tuple[Body, int]

_REGISTRATION: Mapping[str, Callable[[Any], Any]] = {
    "invite_token": lambda value: fields.text(value, "invite_token", 100),
    "email": fields.email,
    "password": passwords.check,
    "username": fields.username,
    "displayName": lambda value: fields.name(value, "displayName"),
}

_PROJECT: Mapping[str, Callable[[Any], Any]] = {
    "name": lambda value: fields.text(value, "name", 100),
    "description": lambda value: fields.text(value, "description", 1000),
    "is_public": lambda value: fields.boolean(value, "is_public"),
}


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


def view_invite(caller: None, token: str) -> Body | Response:  # noqa: ARG001
    """What whoever has the link may know; 404 where it cannot be used any more."""
    try:
        told = invites.shown(token)
    except (InviteNotFound, InviteExpired, InviteUsed) as dead:
        answer = refusal(dead)
        answer.status_code = 404
        return answer
    return {
        "id": told.id,
        "email": told.email,
        "role": told.role,
        "project": {"name": told.to, "slug": told.project} if told.project else None,
        "invitedBy": {"displayName": told.inviter},
        "expiresAt": iso(told.expires_at) if told.expires_at else None,
        "is_expired": False,
    }


def accept_invite(caller: SignedIn, token: str) -> Body:
    """Let the account that is signed in use an invite."""
    return _joined(redemption.accept(token, caller.user))


def read_registration() -> Registration:
    """Read a registration, saying all that is wrong with it, and hash its password."""
    body = wire.json_object()
    wire.require(body, "invite_token", "email", "password")
    username = str(body.get("username") or "").lower()
    given = fields.read({**_REGISTRATION, "password": lambda value: passwords.check(value, username)}, body)
    names = Names(given.get("username"), given["email"], given.get("displayName"))
    return Registration(given["invite_token"], names, passwords.hash(given["password"]))


def register_with_invite(caller: None, registration: Registration) -> Body:  # noqa: ARG001
    """Make an account and accept the invite, both or neither, and sign in."""
    user, invite = accounts.register(registration.token, registration.names, registration.password_hash)
    return _signed_in(sessions.start(user), user) | _joined(invite)


def begin_login(caller: None) -> Attempt:  # noqa: ARG001
    """Count the try to sign in, before its password is looked at."""
    body = wire.json_object()
    return accounts.begin_login(wire.required(body, "email"), wire.required(body, "password"))


def login(caller: None, attempt: Attempt) -> Body:  # noqa: ARG001
    """Sign in with an address or a user name, and a password."""
    user = accounts.finish_login(attempt)
    return _signed_in(sessions.start(user), user)


def logout(caller: SignedIn) -> Body:
    """End the session: all its tokens are dead at once."""
    sessions.end(caller.session)
    return {"message": "Signed out."}


def me(caller: SignedIn) -> Body:
    """The account that is signed in."""
    user = caller.user
    return {
        **_user(user),
        "username": user.username,
        "emailVerified": user.email_verified_at is not None,
        "isAdmin": accounts.is_admin(user),
        "createdAt": iso(user.created_at),
    }


def refresh_token(caller: None) -> Body | Response:  # noqa: ARG001
    """A new pair of tokens for a refresh token. One that comes a second time, too late, ends the session."""
    pair = sessions.refresh(wire.required(wire.json_object(), "refresh_token"))
    return _pair(pair) if pair else refusal(NotSignedIn())


def start_registration(caller: None) -> Body:  # noqa: ARG001
    """Send a code to an address, whoever has it; the first of three steps to an account without an invite."""
    registration.start(_email(wire.json_object()))
    return {"message": "If this address can be used, a code has been sent to it."}


def resend_code(caller: SignedIn | None) -> Body:
    """Send another code: to begin with, or to prove the address of the account that is signed in."""
    body = wire.json_object()
    if caller is None:
        registration.start(_email(body))
    else:
        registration.start_proof(caller.user)
    return {"message": "If this address can be used, a code has been sent to it."}


def count_code(caller: SignedIn | None) -> Try:
    """Count a try at a code, before it is looked at. With a session it is about that account's address."""
    body = wire.json_object()
    email, digits = _email(body), wire.required(body, "code")
    return Try(*registration.count_try(email, caller.user if caller else None), digits)


def verify_code(caller: SignedIn | None, tried: Try) -> Body:
    """The second step: the code that was mailed. With a session it proves that account's address."""
    code = registration.check(tried.code_id, tried.number, tried.digits, wire.neighbourhood())
    if caller is None:
        return {"message": "Now choose a password.", "registration_token": registration.ticket(code)}
    registration.prove(caller.user, code)
    return {"message": "This address is yours."}


def read_password() -> Chosen:
    """Read a first password and hash it, while no unit of work is open."""
    body = wire.json_object()
    wire.require(body, "email", "password")
    given = fields.read({"email": fields.email, "password": passwords.check}, body)
    ticket = wire.required(body, "registration_token") if "registration_token" in body else None
    return Chosen(given["email"], passwords.hash(given["password"]), ticket)


def choose_password(caller: None, chosen: Chosen) -> Body:  # noqa: ARG001
    """The third step: make the account, and sign in."""
    user = registration.complete(chosen.email, chosen.password_hash, wire.neighbourhood(), chosen.ticket)
    return {"message": "Your account is ready.", **_signed_in(sessions.start(user), user)}


def forgot_password(caller: None) -> Body:  # noqa: ARG001
    """Mail a link for a new password, if the address has an account; the answer is the same if not."""
    registration.send_reset(_email(wire.json_object()))
    return {"message": "If this address has an account, a link has been sent to it."}


def read_reset() -> Reset:
    """Read a new password and hash it, while no unit of work is open."""
    body = wire.json_object()
    wire.require(body, "token", "password")
    return Reset(wire.required(body, "token"), passwords.hash(passwords.check(body["password"])))


def reset_password(caller: None, wanted: Reset) -> Body:  # noqa: ARG001
    """Set a new password with the link that was mailed, once; every session of the account ends."""
    accounts.reset(wanted.token, wanted.password_hash)
    return {"message": "Your new password is set. Sign in with it."}


def create_project(caller: SignedIn) -> Created:
    """Make a project of one's own."""
    body = wire.json_object()
    wire.require(body, "name")
    made = projects.create(caller.user, projects.Plan(**fields.read(_PROJECT, body)))
    return _project(made), 201


def list_projects(caller: SignedIn) -> Response:
    """The projects one belongs to."""
    return jsonify([_project(each) for each in projects.of_user(caller.user)])


def show_project(caller: SignedIn, slug: str) -> Body:
    """A project one belongs to, or a public one."""
    return _project(projects.visible(slug, caller.user))


def list_members(caller: SignedIn, slug: str) -> Response:
    """Who belongs to a project, for those who do."""
    project = projects.of_member(slug, caller.user).project
    return jsonify([_member(each) for each in projects.members(project)])


def remove_member(caller: SignedIn, slug: str, member_id: str) -> Body:
    """Remove a member; the open invites it made there are withdrawn."""
    projects.remove(projects.of_manager(slug, caller.user), member_id)
    return {"message": "Member removed."}


def invite_to_project(caller: SignedIn, slug: str) -> Created:
    """Invite an address to a project, as its owner or admin, by mail; without SMTP_URL the link comes back."""
    member = projects.of_manager(slug, caller.user)
    body = wire.json_object()
    wire.require(body, "email")
    given = {name: body.get(name) for name in ("email", "role", "redirect_url")}
    made = projects.invite(member, invites.read({**given, "project": slug}))
    link = {} if settings().smtp_url else {"inviteUrl": invites.link(invites.token(made))}
    return {**_invite(made), **link}, 201


def list_project_invites(caller: SignedIn, slug: str) -> Response:
    """All invites to a project, for its owner and admins; without what would let somebody in."""
    project = projects.of_manager(slug, caller.user).project
    return jsonify([{**_invite(each), "status": each.state(now())} for each in projects.invites_of(project)])


def cancel_invite(caller: SignedIn, slug: str, invite_id: str) -> Body:
    """Withdraw an invite to a project."""
    projects.cancel(projects.of_manager(slug, caller.user), invite_id)
    return {"message": "Invite cancelled."}


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where fields are not valid."""
    return wire.refusal(error, STATUS)


def _joined(invite: Taken) -> Body:
    slug, url = redemption.leads_to(invite)
    return {"project_slug": slug, "redirect_url": url}


def _signed_in(pair: Tokens, user: Any) -> Body:
    return {**_pair(pair), "user": _user(user)}


def _pair(pair: Tokens) -> Body:
    return {
        "type": "bearer",
        "token": pair.access,
        "refresh_token": pair.refresh,
        "expires_in": pair.expires_in,
    }


def _user(user: Any) -> Body:
    return {"id": user.id, "email": user.email, "displayName": user.called}


def _project(project: Any) -> Body:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": projects.owner(project).id,
        "created_at": iso(project.created_at),
    }


def _member(member: Any) -> Body:
    user = member.user
    return {
        "id": member.id,
        "user_id": user.id,
        "role": member.role,
        "user": {"id": user.id, "email": user.email, "display_name": user.called},
        "permissions": [],
        "created_at": iso(member.joined_at),
    }


def _invite(invite: Any) -> Body:
    return {
        "id": invite.id,
        "email": invite.email,
        "role": invite.role,
        "redirect_url": invite.redirect_url,
        "expiresAt": iso(invite.expires_at) if invite.expires_at else None,
        "created_at": iso(invite.created_at),
    }


def _email(body: Body) -> str:
    return fields.email(wire.required(body, "email"))
