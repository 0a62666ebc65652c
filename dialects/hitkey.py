"""HitKey's Invites API: accounts, and invites that are viewed and accepted.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``, with ``errors`` for fields that
are not valid (422); a token pair is ``{type, token, refresh_token, expires_in}``.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

from flask import Response
from werkzeug.exceptions import HTTPException

from clock import iso
from dialects.shapes import hitkey as shapes
from dialects.shapes.values import Addressed, Token
from rules import (
    accounts,
    admins,
    budgets,
    invitations,
    passwords,
    redemption,
    refusals,
    registration,
    resets,
    sessions,
)
from rules.accounts import Names
from rules.redemption import Used
from rules.refusals import (
    AlreadyMember,
    EmailInUse,
    EmailMismatch,
    InviteExpired,
    InviteHeld,
    InviteNotFound,
    InviteUsed,
    NotSignedIn,
    Overloaded,
    Refusal,
)
from rules.sessions import SignedIn, Tokens
from web import errors, requests
from web.answer import committed, count_by_account, read_only
from web.contract import refuses

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
    """Show an invite to anyone who has its link; 404 if it can no longer be used."""
    return _invitation(invitations.find(token))


@refuses(*DEAD, InviteHeld, AlreadyMember, EmailMismatch)
def accept_invite(caller: SignedIn, token: Token) -> shapes.Joined | tuple[shapes.WaitingUse, Literal[202]]:
    """Use an invite, as the account that is signed in; 202 if the use waits for approval or for a proof."""
    used = redemption.accept(token, caller.account)
    return (_waits(used.waiting_for), 202) if used.waiting_for else _joined(used)


@refuses(*DEAD, InviteHeld, EmailMismatch, EmailInUse, refusals.UsernameInvalid, refusals.UsernameTaken, Overloaded)
def register_with_invite(body: shapes.Registration) -> shapes.JoinedSignIn:
    """Create an account with an invite and sign in, all or nothing. The use may wait for approval or for a proof."""
    names = Names(body.get("username"), body["email"], body.get("displayName"))
    password_hash = passwords.hash(passwords.check(body["password"], names.username))

    def register() -> shapes.JoinedSignIn:
        user, used = accounts.register(body["invite_token"], names, password_hash)
        became = _waits(used.waiting_for) if used.waiting_for else _joined(used)
        return cast(shapes.JoinedSignIn, {**_signed_in(sessions.start(user), user), **became})

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
    count_by_account(signed_in["user"]["id"])
    return signed_in


def logout(caller: SignedIn) -> shapes.Notice:
    """End the session: none of its tokens works any more."""
    sessions.end(caller.session_id)
    return {"message": "Signed out."}


def me(caller: SignedIn) -> shapes.Me:
    """The account that is signed in."""
    user, left = caller.user, budgets.left(caller.account)
    return {
        **_user(user),
        "username": user.username,
        "emailVerified": user.email_verified_at is not None,
        "isAdmin": admins.is_admin(user),
        "createdAt": iso(user.created_at),
        "updatedAt": iso(user.created_at),
        "name": user.called,
        "emails": _emails(user),
        "totpEnabled": False,
        "surname": None,
        "givenNames": None,
        "nativeScript": None,
        "preferredOrder": None,
        "invitesLeft": left.places,
        "invitesBackAt": iso(left.back_at) if left.back_at else None,
    }


@refuses(NotSignedIn)
def refresh_token(body: shapes.RefreshToken) -> shapes.TokenPair:
    """Exchange a refresh token for a new pair. Sent again after ten seconds, the old one ends the session."""
    pair = committed(sessions.refresh, body["refresh_token"])
    if pair is None:  # the session has ended, and stays so
        raise NotSignedIn
    return _pair(pair)


@refuses(refusals.RegistrationClosed)
def start_registration(body: Addressed) -> shapes.Notice:
    """Send a code to any address; the first of three steps to an account without an invite."""
    registration.start(body["email"])
    return {"message": "If this address can be used, a code has been sent to it."}


@refuses(refusals.RegistrationClosed, refusals.EmailAlreadyVerified, refusals.NoCode)
def resend_code(caller: SignedIn | None, body: shapes.MaybeAddressed) -> shapes.Notice:
    """Send a code again: for a registration, or to prove the address of the account that is signed in."""
    if caller is None:
        requests.require(body, "email")
        registration.start(body["email"])
    else:
        registration.start_proof(caller.user)
    return {"message": "If this address can be used, a code has been sent to it."}


@refuses(refusals.RegistrationClosed, EmailInUse)
@refuses(refusals.NoCode, refusals.InvalidCode, refusals.CodeExpired, refusals.TooManyAttempts)
def verify_code(caller: SignedIn | None, body: shapes.MailedCode) -> shapes.VerifiedCode:
    """Check the mailed code, the second step. With a session this proves the address of that account."""
    user_id = caller.account.id if caller else None
    attempt = committed(registration.count_try, body["email"], user_id)  # counted before the code is looked at

    def check() -> shapes.VerifiedCode:
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


def forgot_password(body: Addressed) -> shapes.Notice:
    """Mail a link for a new password, if the address has an account; the answer is the same if not."""
    registration.send_reset(body["email"])
    return {"message": "If this address has an account, a link has been sent to it."}


@refuses(refusals.ResetInvalid, refusals.ResetExpired, Overloaded)
@refuses(refusals.AccountDisabled, at=400)
def reset_password(body: shapes.NewPassword) -> shapes.Notice:
    """Set a new password with the link that was mailed, once; every session of the account ends."""
    username = read_only(resets.find, body["token"]).username
    committed(resets.use, body["token"], passwords.hash(passwords.check(body["password"], username)))
    return {"message": "Your new password is set. Sign in with it."}


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where fields are not valid."""
    return errors.refusal(error, STATUS)


def _invitation(invitation: invitations.Invitation) -> shapes.Invitation:
    return {
        "id": invitation.id,
        "email": invitation.email,
        "role": invitation.role,
        "project": {"name": invitation.to, "slug": invitation.project} if invitation.project else None,
        "invitedBy": {"displayName": invitation.inviter},
        "expiresAt": iso(invitation.expires_at) if invitation.expires_at else None,
        "is_expired": False,
    }


def _joined(used: Used) -> shapes.Joined:
    slug, url = redemption.destination(used.invite)
    return {"project_slug": slug, "redirect_url": url}


def _waits(waiting_for: str) -> shapes.WaitingUse:
    return {"project_slug": None, "redirect_url": None, "state": "waiting", "waiting_for": waiting_for}


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
