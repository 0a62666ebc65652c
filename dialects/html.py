"""What the pages share: a page in its reader's language, a form again with what is wrong in it, a way on.

A view that shows a form says in ``g.again`` how to show it once more, before anything is refused.
"""

import hashlib
import io
from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from urllib.parse import quote, urlsplit

import segno
from babel import negotiate_locale
from flask import Response, current_app, g, make_response, render_template, request
from flask.templating import Environment as FlaskEnvironment
from jinja2 import Environment
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

import clock
import language
from config import CHECKOUT, LANGUAGES, Settings, settings
from dialects import wire
from rules import refusals
from rules.refusals import Invalid, Refusal

HEADERS: Mapping[str, str] = {
    **wire.HEADERS,
    "Vary": "Authorization, Cookie, Accept-Language",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}

# Refusals of a form that is shown again: 422, whatever programs are told.
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
            refusals.NoCode,
            refusals.InvalidCode,
            refusals.CodeExpired,
            refusals.TooManyAttempts,
            refusals.OwnsProjects,
        ),
        422,
    ),
}

# The field of a form beside which a refusal is said; "" is the form as a whole.
_BESIDE = {
    refusals.UsernameInvalid: "user",
    refusals.UsernameTaken: "user",
    refusals.EmailInUse: "user",
    refusals.InvalidCode: "code",
    refusals.InviteNotFound: "code",
    refusals.LegacyCodesOff: "code",
    refusals.UserNotFound: "owner",
}


class Templates(language.Translated, FlaskEnvironment):
    """Flask's templates, in the language of whoever reads them."""


def page(template: str, **facts: Any) -> str:
    """A page in the language that its reader asks for."""
    return _rendered(reads(), template, facts)


def english(template: str, **facts: Any) -> str:
    """A page in English, whoever reads it."""
    return _rendered("en", template, facts)


def reads() -> str:
    """The code of the language that the reader's browser asks for; that of the settings where we know none of it."""
    asked = [tag.replace("-", "_") for tag, quality in request.accept_languages if quality > 0]
    return negotiate_locale(asked, LANGUAGES) or settings().language


def refusal(error: Refusal | HTTPException) -> Response:
    """The form again, with what was typed and what is wrong; else a page that says what to do next."""
    again = g.pop("again", None)
    made = again(problems=problems(error)) if again and isinstance(error, Refusal) else _told(error)
    return wire.with_status(make_response(made), error, STATUS)


def problems(error: Refusal) -> dict[str, str]:
    """What is wrong, by the name of the field it is said beside."""
    speaks = language.named(reads())
    if not isinstance(error, Invalid):
        return {_BESIDE.get(type(error), ""): speaks.say(error.sentence, error.facts)}
    said = {each.field: speaks.say(each.text, each.facts) for each in error.problems}
    return {name: f"{text[:1].upper()}{text[1:]}." for name, text in said.items()}


def see_other(path: str) -> Response:
    """303, to another page of ours."""
    return Response(status=303, headers={"Location": f"{settings().public_url}{path}"})


def qr(link: str) -> str:
    """A link as a picture for a phone's camera, in SVG."""
    out = io.BytesIO()
    segno.make(link, micro=False).save(out, kind="svg", scale=4, border=2, light="#fff")
    return out.getvalue().decode()


def set_table(environment: Environment, settings: Settings) -> None:
    """What every template knows: the settings it may show, and how a text or a moment is said."""
    language.teach(environment)
    environment.globals.update(
        site_name=settings.site_name,
        root=settings.root,
        password_min_length=settings.password_min_length,
        mails=bool(settings.smtp_url),
        open=settings.open_registration,
        accent=settings.accent,
        icon=_icon(settings.accent),
        version=version,
    )
    environment.filters.update(iso=clock.iso, host=lambda url: urlsplit(url).netloc, bdi=_set_apart)


def style() -> str:
    """The style sheet, in the colour of this place."""
    return f":root{{--tint:{settings().accent}}}\n{_asset('style.css')}"


@cache
def version(asset: str, accent: str = "") -> str:
    """Changes whenever a file of static/ does, so that browsers may keep it for ever."""
    return hashlib.sha256(f"{accent}{_asset(asset)}".encode()).hexdigest()[:12]


@cache
def _asset(name: str) -> str:
    return (CHECKOUT / "static" / name).read_text()


def _set_apart(name: str) -> Markup:
    """Somebody's words inside of ours, whichever direction each is written in."""
    return Markup("<bdi>{}</bdi>").format(name)


def _icon(accent: str) -> str:
    """The picture of this place, as an address of its own: one request less for every first visit."""
    return f"data:image/svg+xml,{quote(_asset('icon.svg').replace('#2f6f5e', accent))}"


def _rendered(code: str, template: str, facts: Mapping[str, Any]) -> str:
    with language.using(code):
        spoken = cast(Templates, current_app.jinja_env).speaking(code)
        return render_template(
            spoken.get_template(template), **{"problems": {}, "language": language.named(code), **facts}
        )


def _told(error: Refusal | HTTPException) -> str:
    speaks = language.named(reads())
    if isinstance(error, Invalid):
        said = " ".join(f"{name}: {text}" for name, text in problems(error).items())
    elif isinstance(error, Refusal):
        said = speaks.say(error.sentence, error.facts)
    else:
        said = speaks.text(wire.sentence(error))
    return page("error.html", sentence=said)
