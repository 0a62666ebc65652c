"""Pages for people, and the form of Prosody's mod_invites_register_web.

That module's promise: ``GET /register?t=TOKEN`` shows a form; ``POST /register`` with ``user``,
``password`` and ``token`` makes the account; a dead token leads to the invitation's page. Old
programs take the token as everything after the ``?`` of the link, put ``/register`` in the place of
``/invite`` and post there. The token itself is what authorises the post, so no cookie counts.

https://modules.prosody.im/mod_invites_register_web
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import segno
from flask import Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from config import settings
from dialects import wire
from rules import accounts, fields, invites, passwords, refusals, tokens
from rules.refusals import Invalid, InviteExpired, InviteNotFound, InviteUsed, Overloaded, Refusal

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

_DEAD = (InviteNotFound, InviteExpired, InviteUsed)


@dataclass(frozen=True)
class Typed:
    """A registration form as it came: the password as its hash, or why it cannot be taken."""

    token: str
    user: str
    password_hash: str | None
    problem: Refusal | None


def home(caller: None) -> str:  # noqa: ARG001
    """What this is, and a field for an invitation that came as text."""
    return render_template("home.html")


def enter_code(caller: None) -> Response:  # noqa: ARG001
    """From whatever was pasted to the invitation's page."""
    g.again = partial(_render, "home.html")
    token = tokens.in_text(wire.form_field("code"))
    if not tokens.is_token(token):
        raise Invalid.field(
            "code", "format", "is not a whole invitation. Copy the whole link, from https:// to its last character"
        )
    return _to_invitation(token)


def invitation(caller: None) -> str:  # noqa: ARG001
    """Who invites you to what; opening it changes nothing."""
    token = _token_in_link()
    invite = invites.find_open(token)
    return render_template("invitation.html", invitation=invites.told(invite), token=token, qr=_qr(invites.link(token)))


def show_registration(caller: None) -> Response | str:  # noqa: ARG001
    """The form that makes an account; a dead token leads to the invitation's page."""
    token = _token_in_link()
    try:
        invite = invites.find_open(token)
    except _DEAD:
        return _to_invitation(token)
    return render_template("register.html", invitation=invites.told(invite), token=token, user="")


def read_registration() -> Typed:
    """Read the form and hash its password, while no unit of work is open."""
    token = wire.form_field("token").strip() or _token_in_link()
    user, password = wire.form_field("user").strip(), wire.form_field("password")
    try:
        checked = passwords.check(password, username=user.lower())
        return Typed(token, user, passwords.hash(checked), None)
    except (Invalid, Overloaded) as problem:
        return Typed(token, user, None, problem)


def register(caller: None, typed: Typed) -> Response | str:  # noqa: ARG001
    """Make the account and spend the invite, both or neither; nobody is signed in."""
    try:
        told = invites.told(invites.find_open(typed.token))
    except _DEAD:
        return _to_invitation(typed.token)
    g.again = partial(_render, "register.html", invitation=told, token=typed.token, user=typed.user)
    username = fields.username(typed.user)
    if typed.password_hash is None:
        raise typed.problem or Overloaded
    accounts.register(typed.token, username, typed.password_hash)
    return render_template("welcome.html", invitation=told, username=username)


def refusal(error: Refusal | HTTPException) -> Response:
    """A form again, with what was typed and what is wrong; else a page that says what to do next."""
    again: Callable[..., str] | None = g.pop("again", None)
    if again and isinstance(error, Refusal) and not isinstance(error, _DEAD):
        page = again(problem=wire.sentence(error))
    elif isinstance(error, _DEAD):
        page = render_template("dead.html", kind=_kind(error), error=error)
    else:
        page = render_template("error.html", sentence=wire.sentence(error))
    return wire.with_status(make_response(page), error, STATUS)


def _render(template: str, **values: object) -> str:
    return render_template(template, **values)


def _token_in_link() -> str:
    return tokens.in_query(request.query_string.decode("ascii", "replace"))


def _to_invitation(token: str) -> Response:
    """To the page that says what is wrong with a token; one that cannot be a token is not repeated."""
    query = f"?{token}" if tokens.is_token(token) else ""
    return Response(status=303, headers={"Location": f"{settings().public_url}/invite{query}"})


def _kind(error: Refusal) -> str:
    if isinstance(error, InviteExpired):
        return "revoked" if error.revoked_at else "expired"
    if isinstance(error, InviteUsed):
        return "used"
    return "unknown" if _token_in_link() else "missing"


def _qr(link: str) -> str:
    """A link as a picture for a phone's camera: SVG to stand in a page."""
    out = io.BytesIO()
    segno.make(link, micro=False).save(out, kind="svg", xmldecl=False, svgns=False, scale=4, border=2, light="#fff")
    return out.getvalue().decode()
