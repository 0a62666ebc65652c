"""Pages for people, and the form of Prosody's mod_invites_register_web.

That module's promise: ``GET /register?t=TOKEN`` shows a form; ``POST /register`` with ``user``,
``password`` and ``token`` makes the account; a dead token leads to the invitation's page. Old
programs take the token as everything after the ``?`` of the link, put ``/register`` in the place of
``/invite`` and post there. The token itself is what authorises the post, so no cookie counts.

A view that shows a form says in ``g.again`` how to show it once more, before anything is refused.

https://modules.prosody.im/mod_invites_register_web
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import segno
from flask import Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from config import settings
from dialects import wire
from rules import accounts, fields, invites, legacy, passwords, refusals, sessions, tokens
from rules.accounts import Attempt, Names
from rules.refusals import Invalid, InviteExpired, InviteNotFound, InviteUsed, Refusal
from rules.sessions import SignedIn

HEADERS: Mapping[str, str] = {
    **wire.HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}

STATUS = {
    **wire.STATUS,
    **dict.fromkeys(
        (
            refusals.Invalid,
            refusals.UsernameInvalid,
            refusals.UsernameTaken,
            refusals.EmailInUse,
            refusals.EmailMismatch,
            refusals.AlreadyMember,
        ),
        422,
    ),
}

_LABELS = {"code": "This", "password": "The password"}

_DEAD = (InviteNotFound, InviteExpired, InviteUsed)


@dataclass(frozen=True)
class Typed:
    """A form with a new password: its hash, or why it cannot be taken; and what else was typed."""

    token: str
    user: str
    password_hash: str = field(repr=False)
    problem: Invalid | None


def home(caller: SignedIn | None) -> str:  # noqa: ARG001
    """What this is, and a field for an invitation that came as text."""
    return render_template("home.html")


def spend_try(caller: SignedIn | None) -> None:  # noqa: ARG001
    """Count a try at a short code, before it is looked at; whole tokens cannot be guessed."""
    g.again = partial(render_template, "home.html")
    if legacy.is_code(_code()):
        legacy.count_try(wire.neighbourhood())


def enter_code(caller: SignedIn | None, spent: None) -> Response:  # noqa: ARG001
    """From whatever was typed or pasted to the invitation's page; it is not spent."""
    code = _code()
    if tokens.is_token(code):
        return _to_invitation(code)
    if not legacy.is_code(code):
        raise Invalid.field(
            "code", "format", "is not a whole invitation. Copy the whole link, from https:// to its last character"
        )
    invite = legacy.find_open(code)
    legacy.forgive_try(wire.neighbourhood())
    return _to_invitation(invites.token(invite))


def invitation(caller: SignedIn | None) -> str:  # noqa: ARG001
    """Who invites you to what; opening it changes nothing."""
    token = _token_in_link()
    invite = invites.find_open(token)
    return render_template("invitation.html", invitation=invites.told(invite), token=token, qr=_qr(invites.link(token)))


def accept(caller: SignedIn | None) -> Response | str:
    """Let the account that is signed in use the invite."""
    token = wire.form_field("token")
    if caller is None:
        return _see_other(f"/login?t={token}" if tokens.is_token(token) else "/login")
    invite = invites.accept(token, caller.user)
    return render_template("welcome.html", invitation=invites.told(invite), called=caller.user.called)


def show_registration(caller: SignedIn | None) -> Response | str:  # noqa: ARG001
    """The form that makes an account; a dead token leads to the invitation's page."""
    token = _token_in_link()
    try:
        invite = invites.find_open(token)
    except _DEAD:
        return _to_invitation(token)
    return render_template("register.html", invitation=invites.told(invite), token=token, user="")


def read_registration() -> Typed:
    """Read the form and hash its password, while no unit of work is open."""
    return _typed(wire.form_field("token").strip() or _token_in_link(), wire.form_field("user").strip())


def register(caller: bool, typed: Typed) -> Response | str:
    """Make the account and spend the invite, both or neither; only our own form signs in as well.

    `caller` says whether it came from there.
    """
    try:
        told = invites.told(invites.find_open(typed.token))
    except _DEAD:
        return _to_invitation(typed.token)
    g.again = partial(render_template, "register.html", invitation=told, token=typed.token, user=typed.user)
    names = Names(fields.username(typed.user))
    user, _ = accounts.register(typed.token, names, _hash(typed))
    page = make_response(render_template("welcome.html", invitation=told, called=user.called, username=user.username))
    return _signed_in(page, sessions.start_in_browser(user)) if caller else page


def show_login(caller: SignedIn | None) -> str:  # noqa: ARG001
    """The form that signs in."""
    token = _token_in_link()
    return render_template(
        "login.html", token=token if tokens.is_token(token) else "", user="", done="done" in request.args
    )


def begin_login(caller: SignedIn | None) -> Attempt:  # noqa: ARG001
    """Count the try to sign in, before its password is looked at."""
    return accounts.begin_login(wire.form_field("user"), wire.form_field("password"))


def login(caller: SignedIn | None, attempt: Attempt) -> Response:
    """Sign this browser in, and go back to the invitation it came from; who was signed in before is out."""
    token = wire.form_field("token")
    g.again = partial(render_template, "login.html", token=token, user=wire.form_field("user"))
    cookie = sessions.start_in_browser(accounts.finish_login(attempt))
    if caller:
        sessions.end(caller.session)
    return _signed_in(_to_invitation(token) if tokens.is_token(token) else _see_other("/"), cookie)


def logout(caller: SignedIn | None) -> Response:
    """End this browser's session."""
    if caller:
        sessions.end(caller.session)
    response = _see_other("/")
    response.delete_cookie(settings().cookie_name, **_cookie_manners())
    return response


def show_reset(caller: SignedIn | None) -> str:  # noqa: ARG001
    """The form for a new password, behind a link that was handed over."""
    token = _token_in_link()
    return render_template("reset.html", token=token, called=accounts.of_reset(token).called)


def read_reset() -> Typed:
    """Read the form and hash its password, while no unit of work is open."""
    return _typed(wire.form_field("token"), "")


def reset(caller: SignedIn | None, typed: Typed) -> Response:  # noqa: ARG001
    """Set the new password; every session of the account ends."""
    user = accounts.of_reset(typed.token)
    g.again = partial(render_template, "reset.html", token=typed.token, called=user.called)
    accounts.reset(typed.token, _hash(typed))
    return _see_other("/login?done")  # a page made now would have a form of the session that just ended


def refusal(error: Refusal | HTTPException) -> Response:
    """A form again, with what was typed and what is wrong; else a page that says what to do next."""
    again: Callable[..., str] | None = g.pop("again", None)
    if again and isinstance(error, Refusal) and not isinstance(error, _DEAD):
        page = again(problem=_sentence(error))
    elif isinstance(error, _DEAD):
        page = render_template("dead.html", kind=_kind(error), error=error)
    else:
        page = render_template("error.html", sentence=_sentence(error))
    return wire.with_status(make_response(page), error, STATUS)


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


def _signed_in(response: Response, cookie: str) -> Response:
    lifetime = int(sessions.LIFETIME.total_seconds())
    response.set_cookie(settings().cookie_name, cookie, max_age=lifetime, **_cookie_manners())
    return response


def _cookie_manners() -> dict[str, Any]:
    return {"path": "/", "secure": settings().origin.startswith("https:"), "httponly": True, "samesite": "Lax"}


def _see_other(path: str) -> Response:
    return Response(status=303, headers={"Location": f"{settings().public_url}{path}"})


def _token_in_link() -> str:
    return tokens.in_query(request.query_string.decode("ascii", "replace"))


def _to_invitation(token: str) -> Response:
    """To the page that says what is wrong with a token; one that cannot be a token is not repeated."""
    return _see_other(f"/invite?{token}" if tokens.is_token(token) else "/invite")


def _kind(error: Refusal) -> str:
    if isinstance(error, InviteExpired):
        return "revoked" if error.revoked_at else "expired"
    if isinstance(error, InviteUsed):
        return "used"
    return "missing" if request.method == "GET" and not request.query_string else "unknown"


def _sentence(error: Refusal | HTTPException) -> str:
    """An error in words that fit beside a form's fields."""
    if isinstance(error, Invalid):
        return " ".join(f"{_LABELS.get(each.field, each.field)} {each.message}." for each in error.problems)
    return wire.sentence(error)


def _qr(link: str) -> str:
    """A link as a picture for a phone's camera: SVG to stand in a page."""
    out = io.BytesIO()
    segno.make(link, micro=False).save(out, kind="svg", xmldecl=False, svgns=False, scale=4, border=2, light="#fff")
    return out.getvalue().decode()
