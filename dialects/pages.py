"""Pages for people, and the form of Prosody's mod_invites_register_web.

That module's promise: ``GET /register?t=TOKEN`` shows a form; ``POST /register`` with ``user``,
``password`` and ``token`` makes the account; a dead token leads to the invitation's page. Old
programs take the token as everything after the ``?`` of the link, put ``/register`` in the place of
``/invite`` and post there. The token itself is what authorises the post, so no cookie counts.

What a form of ours does ends in a redirect to a page that may be reloaded.

https://modules.prosody.im/mod_invites_register_web
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException

from config import settings
from dialects import html, shapes, wire
from dialects.contract import Picture, Style
from dialects.html import page, see_other
from rules import accounts, fields, invites, legacy, passwords, redemption, registration, sessions, tokens
from rules.accounts import Attempt, Names
from rules.refusals import (
    EmailMismatch,
    Invalid,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    Refusal,
    ResetExpired,
    ResetInvalid,
)
from rules.sessions import SignedIn

HEADERS: Mapping[str, str] = html.HEADERS

_DEAD = (InviteNotFound, InviteExpired, InviteUsed)
_OURS = re.compile(r"/(admin|verify)(/[a-z0-9-]+)*", re.ASCII)  # where signing in may lead


@dataclass(frozen=True)
class Typed:
    """A form with a new password: its hash, or why it cannot be taken; and what else was typed."""

    token: str
    user: str
    password_hash: str = field(repr=False)
    problem: Invalid | None


@dataclass(frozen=True)
class Try:
    """A try at a mailed code that has been counted: it is the `number`-th at this code."""

    code_id: str
    number: int


def style(caller: None) -> Style:  # noqa: ARG001
    """The style sheet. Its address changes with it, so browsers may keep it."""
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(html.style(), headers=kept, mimetype="text/css")


def home(caller: SignedIn | None) -> str:
    """What this is, and a field for an invitation that came as text."""
    unproven = caller is not None and _unproven(caller) is not None
    done = caller and next((each for each in ("welcome", "confirmed") if each in request.args), None)
    return page("home.html", done=done, unproven=unproven)


def spend_try(caller: SignedIn | None) -> None:  # noqa: ARG001
    """Count a try at a short code, before it is looked at; whole tokens cannot be guessed."""
    g.again = partial(page, "home.html", typed=request.form.get("code", ""))
    if legacy.is_code(_code()):
        legacy.count_try(wire.neighbourhood())


def enter_code(caller: SignedIn | None, spent: None) -> Response:  # noqa: ARG001
    """From whatever was typed or pasted to the invitation's page; it is not spent."""
    code = _code()
    if tokens.is_token(code):
        return _to_invitation(code)
    if not legacy.is_code(code):
        raise Invalid.at(
            "code", "format", "this is not a whole invitation: copy the whole link, from https:// to its last character"
        )
    invite = legacy.find_open(code)
    legacy.forgive_try(wire.neighbourhood())
    return _to_invitation(invites.token(invite))


def invitation(caller: SignedIn | None) -> Response | str:
    """Who invites you to what; opening it changes nothing. Who has used it is welcomed once more."""
    token = _token_in_link()
    try:
        told = invites.shown(token)
    except InviteUsed:
        if caller and redemption.has_used(invites.find(token), caller.account):
            return see_other(f"/welcome?{token}")
        raise
    hindrance = redemption.hindrance(invites.find(token), caller.account, token) if caller else None
    return page("invitation.html", invitation=told, token=token, hindrance=_hindered(hindrance, told.email, caller))


def picture(caller: None) -> Picture:  # noqa: ARG001
    """The link of an invitation that can be used as a QR code, for a phone's camera."""
    token = _token_in_link()
    invites.shown(token)
    return Response(html.qr(invites.link(token)), mimetype="image/svg+xml")


def accept(caller: SignedIn | None) -> Response:
    """Let the account that is signed in use the invite; again does no harm."""
    token = wire.form_field("token")
    if caller is None:
        return see_other(f"/login?t={token}" if tokens.is_token(token) else "/login")
    if not redemption.has_used(invites.find(token), caller.account):
        redemption.accept(token, caller.account)
    return see_other(f"/welcome?{token}")


def welcome(caller: SignedIn | None) -> Response | str:
    """What follows for somebody who has used an invite; for anybody else, the invitation."""
    token = _token_in_link()
    invite = invites.find(token)
    if caller is None or not redemption.has_used(invite, caller.account):
        return _to_invitation(token)
    return page(
        "welcome.html",
        invitation=invites.told(invite),
        called=caller.account.called,
        unproven=_unproven(caller),
    )


def show_registration(caller: SignedIn | None) -> Response | str:  # noqa: ARG001
    """The form that makes an account; a dead token leads to the invitation's page."""
    token = _token_in_link()
    if not token and settings().open_registration:
        return page("begin.html", email="")
    try:
        told = invites.shown(token)
    except _DEAD:
        return _to_invitation(token)
    return page("register.html", invitation=told, token=token, user=told.email or "")


def read_registration(form: shapes.RegistrationForm) -> Typed:
    """Hash the form's password, while no unit of work is open."""
    return _typed(form["token"].strip() or _token_in_link(), form["user"].strip())


def register(caller: bool, typed: Typed) -> Response | str:
    """Make the account and spend the invite, both or neither; only our own form signs in as well.

    `caller` says whether it came from there; then an address will do for a user name, too.
    """
    try:
        told = invites.shown(typed.token)
    except _DEAD:
        return _to_invitation(typed.token)
    g.again = partial(page, "register.html", invitation=told, token=typed.token, user=typed.user)
    user, _ = accounts.register(typed.token, _names(typed.user, caller), _hash(typed))
    if caller:
        return _signed_in(see_other(f"/welcome?{typed.token}"), sessions.start_in_browser(user))
    return page("welcome.html", invitation=told, called=user.called, username=user.username)


def start_registration(caller: SignedIn | None) -> Response | str:  # noqa: ARG001
    """Without an invite, where that is open: mail a code to an address. The answer is the same for all."""
    email = wire.form_field("email").strip()
    g.again = partial(page, "begin.html", email=email)
    address = fields.email(email)
    show = g.again = partial(page, "verify.html", known=address)  # sent twice, the first mail is on its way
    registration.start(address)
    return show(sent=True)


def show_verification(caller: SignedIn | None) -> Response | str:
    """The form for a mailed code: of the account that is signed in, or of a new one."""
    if caller is None and not settings().open_registration:
        return see_other("/login?then=/verify")
    if caller and caller.account.email_verified_at:
        return see_other("/")
    return _code_form(caller)()


def send_code(caller: SignedIn | None) -> Response | str:
    """Mail a code: to the address of the account that is signed in, or of one that is being made."""
    g.again = _code_form(caller)
    if caller:
        registration.start_proof(caller.user)
    else:
        registration.start(fields.email(wire.form_field("email")))
    return _code_form(caller)(sent=True)


def count_code(caller: SignedIn | None) -> Try:
    """Count a try at a mailed code, before it is looked at."""
    g.again = _code_form(caller)
    email = caller.account.email or "" if caller else fields.email(wire.form_field("email"))
    return Try(*registration.count_try(email, caller.user if caller else None))


def verify(caller: SignedIn | None, attempt: Try) -> Response | str:
    """What the right code leads to: a proven address, or the choice of a password."""
    digits = re.sub(r"\s", "", wire.form_field("code"))
    code = registration.check(attempt.code_id, attempt.number, digits, wire.neighbourhood())
    if caller:
        registration.prove(caller.user, code)
        return see_other("/?confirmed")
    return page("first_password.html", email=code.email, ticket=registration.ticket(code))


def choose_password(caller: SignedIn | None, typed: Typed) -> Response:  # noqa: ARG001
    """Make the account whose address was proven just now, and sign it in."""
    email = fields.email(typed.user)
    g.again = partial(page, "first_password.html", email=email, ticket=typed.token)
    user = registration.complete(email, _hash(typed), wire.neighbourhood(), typed.token)
    return _signed_in(see_other("/?welcome"), sessions.start_in_browser(user))


def read_first_password() -> Typed:
    """Read the form and hash its password, while no unit of work is open."""
    return _typed(wire.form_field("ticket"), wire.form_field("email"))


def show_login(caller: SignedIn | None) -> str:  # noqa: ARG001
    """The form that signs in."""
    token = _token_in_link()
    return page(
        "login.html",
        token=token if tokens.is_token(token) else "",
        then=_then(request.args.get("then", "")),
        done="done" in request.args,
    )


def begin_login(caller: SignedIn | None) -> Attempt:  # noqa: ARG001
    """Count the try to sign in, before its password is looked at."""
    return accounts.begin_login(wire.form_field("user"), wire.form_field("password"))


def login(caller: SignedIn | None, attempt: Attempt) -> Response:
    """Sign this browser in, and go back to where it came from; who was signed in before is out."""
    token, then = wire.form_field("token"), _then(wire.form_field("then"))
    g.again = partial(page, "login.html", token=token, then=then, user=wire.form_field("user"))
    cookie = sessions.start_in_browser(accounts.finish_login(attempt))
    if caller:
        sessions.end(caller.session)
    return _signed_in(_to_invitation(token) if tokens.is_token(token) else see_other(then or "/"), cookie)


def logout(caller: SignedIn | None) -> Response:
    """End this browser's session; from an invitation one comes back to it."""
    if caller:
        sessions.end(caller.session)
    token = wire.form_field("token")
    response = _to_invitation(token) if tokens.is_token(token) else see_other("/")
    response.delete_cookie(settings().cookie_name, **_cookie_manners())
    return response


def show_forgotten(caller: SignedIn | None) -> str:  # noqa: ARG001
    """The form that asks for a link for a new password."""
    return page("forgot.html", email="", sent="sent" in request.args)


def send_reset(caller: SignedIn | None) -> Response:  # noqa: ARG001
    """Mail a link for a new password, if an account has this address; the answer is the same for all."""
    email = wire.form_field("email").strip()
    g.again = partial(page, "forgot.html", email=email)
    address = fields.email(email)
    g.again = partial(page, "forgot.html", sent=True)
    registration.send_reset(address)
    return see_other("/password/forgot?sent")


def show_reset(caller: SignedIn | None) -> str:  # noqa: ARG001
    """The form for a new password, behind a link that was handed over."""
    token = _token_in_link()
    return page("reset.html", token=token, called=accounts.of_reset(token).called)


def read_reset() -> Typed:
    """Read the form and hash its password, while no unit of work is open."""
    return _typed(wire.form_field("token"), "")


def reset(caller: SignedIn | None, typed: Typed) -> Response:  # noqa: ARG001
    """Set the new password; every session of the account ends."""
    user = accounts.of_reset(typed.token)
    g.again = partial(page, "reset.html", token=typed.token, called=user.called)
    accounts.reset(typed.token, _hash(typed))
    return see_other("/login?done")  # a page made now would have a form of the session that just ended


def refusal(error: Refusal | HTTPException) -> Response:
    """A dead link says why it is one and what to do; all else is said as on every page."""
    if isinstance(error, (ResetInvalid, ResetExpired)):
        made = page("forgot.html", email="", problems=html.problems(error))
    elif isinstance(error, _DEAD):
        made = page("dead.html", kind=_kind(error), error=error)
    else:
        return html.refusal(error)
    return wire.with_status(make_response(made), error, html.STATUS)


def _names(typed: str, by_address: bool) -> Names:
    return Names(email=fields.email(typed)) if by_address and "@" in typed else Names(fields.username(typed))


def _typed(token: str, user: str) -> Typed:
    try:
        checked = passwords.check(wire.form_field("password"), username=user.lower())
        return Typed(token, user, passwords.hash(checked), None)
    except Invalid as problem:
        return Typed(token, user, "", problem)


def _hash(typed: Typed) -> str:
    if typed.problem:
        raise typed.problem
    return typed.password_hash


def _code() -> str:
    return tokens.in_text(wire.form_field("code"))


def _code_form(caller: SignedIn | None) -> Callable[..., str]:
    email = request.form.get("email", "") if request.method == "POST" else ""
    return partial(page, "verify.html", known=caller.account.email if caller else None, email=email)


def _unproven(caller: SignedIn) -> str | None:
    """The address that an account could still prove, where mail can be sent."""
    return caller.account.email if settings().smtp_url and not caller.account.email_verified_at else None


def _hindered(why: Refusal | None, wanted: str | None, caller: SignedIn | None) -> str | None:
    """What keeps somebody from an invite, in a word for the template: ``again``, ``unproven``, ``stranger``."""
    if isinstance(why, EmailMismatch) and caller:
        return "unproven" if caller.account.email == wanted and settings().smtp_url else "stranger"
    return "again" if why else None


def _then(path: str) -> str:
    return path if _OURS.fullmatch(path) else ""


def _signed_in(response: Response, cookie: str) -> Response:
    lifetime = int(sessions.LIFETIME.total_seconds())
    response.set_cookie(settings().cookie_name, cookie, max_age=lifetime, **_cookie_manners())
    return response


def _cookie_manners() -> dict[str, Any]:
    return {"path": "/", "secure": settings().origin.startswith("https:"), "httponly": True, "samesite": "Lax"}


def _token_in_link() -> str:
    return tokens.in_query(request.query_string.decode("ascii", "replace"))


def _to_invitation(token: str) -> Response:
    """To the page that says what is wrong with a token; one that cannot be a token is not repeated."""
    return see_other(f"/invite?{token}" if tokens.is_token(token) else "/invite")


def _kind(error: Refusal) -> str:
    if isinstance(error, InviteExpired):
        return "revoked" if error.revoked_at else "expired"
    if isinstance(error, InviteUsed):
        return "used"
    return "missing" if request.method == "GET" and not request.query_string else "unknown"
