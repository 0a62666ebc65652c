"""Pages for people with an account: registering without an invite, signing in and out, codes, passwords.

What a form does ends in a redirect to a page that may be reloaded.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException

from rules import accounts, admins, fields, first_admin, invites, passwords, registration, resets, sessions, tokens
from rules.refusals import AccountDisabled, Invalid, LinkLost, Refusal, ResetExpired, ResetInvalid, together
from rules.sessions import SignedIn
from settings import settings
from web import cookies, errors, html, requests, return_to
from web.answer import committed, count_by_account, read_only
from web.contract import refuses
from web.html import Shown, page, see_other, to_invitation, token_in_link

HEADERS: Mapping[str, str] = html.HEADERS


def _begin_form(_: SignedIn | None) -> Shown:
    return partial(page, "begin.html", email=request.form.get("email", "").strip())


@html.form(_begin_form)
def start_registration() -> Response | str:
    """Without an invite, where that is open: mail a code to an address. The answer is the same for all."""
    address = fields.email(requests.typed("email"))
    show = g.again = partial(
        page, "verify.html", known=address, awaited=True
    )  # sent twice, the first mail is on its way
    registration.start(address)
    return show(sent=True)


def show_verification(caller: SignedIn | None) -> Response | str:
    """The form for a mailed code, of the account that is signed in or of a new one; before one is mailed, the offer."""
    if caller is None and not settings().open_registration:
        return html.sign_in_first("/verify")
    if caller and caller.account.email_verified_at:
        return see_other(return_to.path() or "/")
    return _code_form(caller)()


def _code_form(caller: SignedIn | None) -> Shown:
    if caller is None:
        return partial(page, "verify.html", email=request.form.get("email", ""), awaited=True)
    awaited = registration.is_code_awaited(caller.account)
    return partial(page, "verify.html", known=caller.account.email, awaited=awaited)


@html.form(_code_form)
def send_code(caller: SignedIn | None) -> Response | str:
    """Mail a code: to the address of the account that is signed in, or of one that is being created."""
    if caller:
        registration.start_proof(caller.user)
    else:
        registration.start(fields.email(requests.typed("email")))
    return _code_form(caller)(sent=True)


@html.form(_code_form)
def verify(caller: SignedIn | None) -> Response | str:
    """What the right code leads to: a proven address, or the choice of a password."""
    email, digits = together(
        lambda: caller.account.email or "" if caller else fields.email(requests.typed("email")), _typed_digits
    )
    attempt = committed(registration.count_try, email, caller.account.id if caller else None)  # before it is compared

    def check() -> tuple[str, str, str]:
        code = registration.check(*attempt, digits, requests.neighbourhood())
        went_on = registration.prove(caller.user, code) if caller else []
        return code.email, registration.ticket(code), _token_of(went_on)

    proved, ticket, token = committed(check)
    if caller is None:
        return page("first_password.html", email=proved, ticket=ticket, speaks=False)
    return see_other(f"/welcome?{token}" if token else "/?confirmed")


def _token_of(went_on: Sequence[Any]) -> str:
    """The token of the first of these invites, whose page says what has come of it; "" where none can be shown."""
    for invite in went_on:
        with suppress(LinkLost):
            return invites.token(invite)
    return ""


def _first_password_form(_: SignedIn | None) -> Shown:
    given = {name: request.form.get(name, "") for name in ("email", "ticket")}
    return partial(page, "first_password.html", **given, speaks=False)  # at no address could it be opened again


@html.form(_first_password_form)
def choose_password() -> Response:
    """Create the account whose address was verified just now, and sign it in."""
    email, ticket, password = together(
        lambda: fields.email(requests.form_field("email")), partial(requests.form_field, "ticket"), _typed_password
    )
    password_hash = passwords.hash(password)

    def complete() -> tuple[str, str]:
        user = registration.complete(email, password_hash, requests.neighbourhood(), ticket)
        return return_to.destination() or "/?welcome", sessions.start_in_browser(user)

    path, cookie = committed(complete)
    return cookies.sign_in(see_other(path), cookie)


def _login_page(token: str) -> Shown:
    facts = {"app": return_to.app(), "no_admin": first_admin.is_missed()}
    return partial(page, "login.html", token=token if tokens.is_token(token) else "", **facts)


def show_login(caller: SignedIn | None) -> Response | str:
    """The form that signs in; who is signed in goes on to where it would lead."""
    token = token_in_link()
    if caller:
        return _signed_in(token, return_to.destination(), admins.is_admin(caller.account))
    return _login_page(token)(done="done" in request.args)


def _signed_in(token: str, wanted: str, is_admin: bool) -> Response:
    """Lead a person on who has signed in: to an invitation, to where they wanted, or to their first page."""
    if tokens.is_token(token):
        return to_invitation(token)
    return see_other(wanted or ("/admin" if is_admin else "/"))


def _login_form(_: SignedIn | None) -> Shown:
    return partial(_login_page(request.form.get("token", "")), user=request.form.get("user", ""))


@html.form(_login_form)
@refuses(AccountDisabled, at=401)
def login(caller: SignedIn | None) -> Response:
    """Sign this browser in, and go back to where it came from; a session that it had before ends."""
    token, user = requests.form_field("token"), requests.typed("user")
    with passwords.room():  # first: a visitor who is sent away has not tried
        attempt = committed(accounts.begin_login, user, requests.form_field("password"))
        checked = accounts.check_password(attempt)

    def sign_in() -> tuple[str, str, bool]:
        user = accounts.finish_login(checked)
        if caller:
            sessions.end(caller.session_id)
        return_to.app()  # one that has gone is forgotten
        return user.id, sessions.start_in_browser(user), admins.is_admin(user)

    user_id, cookie, is_admin = committed(sign_in)
    count_by_account(user_id)
    return cookies.sign_in(_signed_in(token, return_to.path(), is_admin), cookie)


def show_logout() -> str:
    """The form that signs out; an app behind the gate leads here."""
    return page("logout.html")


def logout(caller: SignedIn | None) -> Response:
    """End this browser's session; from an invitation, and on the way to an app, one comes back there.

    From a page that is for others one comes to the form that signs in, and then there.
    """
    if caller:
        sessions.end(caller.session_id)
    token = requests.form_field("token")
    back = return_to.path() if return_to.app() else return_to.added("/login") if return_to.path() else "/"
    return cookies.sign_out(to_invitation(token) if tokens.is_token(token) else see_other(back))


def show_forgotten() -> str:
    """The form that asks for a link for a new password."""
    return_to.destination()
    return page("forgot.html", email="", sent="sent" in request.args)


def _forgotten_form(_: SignedIn | None) -> Shown:
    return partial(page, "forgot.html", email=request.form.get("email", "").strip())


@html.form(_forgotten_form)
def send_reset() -> Response:
    """Mail a link for a new password, if an account has this address; the answer is the same for all."""
    address, app = fields.email(requests.typed("email")), return_to.app()
    g.again = partial(page, "forgot.html", sent=True)
    registration.send_reset(address, app.project_id if app else None)
    return see_other(return_to.added("/password/forgot?sent"))


def show_reset() -> str:
    """The form for a new password, behind a link that was handed over."""
    return _reset_page(token_in_link())()


def _reset_form(_: SignedIn | None) -> Shown:
    return _reset_page(request.form.get("token", ""))


@html.form(_reset_form)
def reset() -> Response:
    """Set the new password; every session of the account ends."""
    token = requests.form_field("token")
    user = read_only(resets.find, token)
    password_hash = passwords.hash(_typed_password(user.username))
    joined = committed(lambda: _token_of(resets.use(token, password_hash)))
    # A page made now would have a form of the session that just ended.
    return see_other(return_to.added(f"/login?t={joined}&done" if joined else "/login?done"))


def refusal(error: Refusal | HTTPException) -> Response:
    """A reset link that no longer works leads to the form that asks for another; all else as on every page."""
    if not isinstance(error, (ResetInvalid, ResetExpired)):
        return html.refusal(error)
    made = page("forgot.html", email="", problems=html.problems(error))
    return errors.with_status(make_response(made), error, html.STATUS)


def _typed_password(username: str | None = None) -> str:
    return passwords.check(requests.form_field("password"), username)


def _reset_page(token: str) -> Shown:
    user = resets.find(token)
    return partial(page, "reset.html", token=token, called=user.called, user=user.username or user.email)


def _typed_digits() -> str:
    digits = fields.digits(requests.typed("code"))
    if not re.fullmatch("[0-9]{6}", digits, re.ASCII):
        raise Invalid.at("code", "format", "must be the six digits that were mailed")
    return digits
