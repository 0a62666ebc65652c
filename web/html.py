"""What the pages share: a page in its reader's language, a form again with what is wrong in it, a way on.

A form that is refused is shown once more: `form` notes on a view how that to which it belongs is shown. What a
view puts in ``g.again`` is shown instead, as the next step is, or what is looked up in the view's own unit of work.
"""

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

import segno
from babel import negotiate_locale
from flask import Response, current_app, g, make_response, render_template, request
from flask.templating import Environment as FlaskEnvironment
from jinja2 import Environment
from werkzeug.exceptions import HTTPException

import clock
import language
from rules import refusals, tokens
from rules.refusals import N_, CrossSite, Forbidden, Invalid, NotSignedIn, Refusal
from settings import HOME, LANGUAGES, Settings, settings
from web import cookies, errors, requests, return_to
from web.answer import read_only

View = Callable[..., Any]
Shown = Callable[..., str]  # the page of a form, to be called with the problems that are to be said in it

HEADERS: Mapping[str, str] = {
    **errors.HEADERS,
    "Vary": "Authorization, Cookie, Accept-Language",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": return_to.POLICY,
}

# Refusals of a form that is shown again: 422, whatever programs are told.
STATUS = {
    **errors.STATUS,
    **dict.fromkeys(
        (
            refusals.Invalid,
            refusals.MailUnwanted,
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
            refusals.LastAdmin,
            refusals.WrongPassword,
        ),
        422,
    ),
}

# The field of a form that asks for what a rule calls by another name, where the form has none of that name.
_ASKED_AS = {"username": "user", "email": "user", "makes_admin": "admin", "code": "q"}
_ENCODED = re.compile(r"(/(?:invite|register|welcome|password/reset))(?:\?|%3f)([\w.=&-]+)", re.IGNORECASE | re.ASCII)
_IN_ADDRESS = N_("It stands in the address of this page: open the page without it.")
_NOT_SHOWN = N_("It is in a part of the form that is not shown: send the form once more, or open the page again.")
_TITLES: Mapping[type[Exception], str] = {
    refusals.AppNotFound: N_("App not found"),
    refusals.CrossSite: N_("Please try again"),
    refusals.RegistrationClosed: N_("You need an invitation"),
}
_TITLE_OF_STATUS = {
    400: N_("This request cannot be read"),
    401: N_("Sign in first"),
    403: N_("Not allowed"),
    404: N_("Page not found"),
    405: N_("Page not found"),
    413: N_("Too much data"),
    429: N_("Too many requests"),
    503: N_("Not available right now"),
}
_WAIT = N_("Too many requests from here. Try again %(when)s.")


class Templates(language.Translated, FlaskEnvironment):
    """Flask's templates, in the reader's language."""


def page(template: str, **facts: Any) -> str:
    """A page in the language that its reader asks for."""
    return _rendered(reads(), template, facts)


def english(template: str, **facts: Any) -> str:
    """A page in English, whatever the reader's language."""
    return _rendered("en", template, {"speaks": False, **facts})


def reads() -> str:
    """The code of the language that the reader has chosen, else of the one that their browser asks for.

    That of the settings where we know none of these.
    """
    if (chosen := cookies.language()) in LANGUAGES:
        return chosen
    asked = [tag.replace("-", "_") for tag, quality in request.accept_languages if quality > 0]
    return negotiate_locale(asked, LANGUAGES) or settings().language


def form(shown: Callable[[Any], Shown]) -> Callable[[View], View]:
    """Note on a view how the form that is sent to it is shown with what was typed; `shown` is given the caller."""

    def note(view: View) -> View:
        view.__dict__["form"] = shown
        return view

    return note


def refusal(error: Refusal | HTTPException) -> Response:
    """The form again, with what was typed and what is wrong; else a page that says what to do next."""
    again = g.pop("again", None) or _form_of(requests.row(), error)
    made = _again(again, error) if again and isinstance(error, Refusal) else ""
    return errors.with_status(make_response(made or _error_page(error)), error, STATUS)


def problems(error: Refusal) -> dict[str, str]:
    """What is wrong, each in a sentence, by the name of the field that it is about; "" is the form as a whole."""
    speaks = language.named(reads())
    if isinstance(error, refusals.RateLimited):  # half a second more: a little of it has passed already
        return {
            "": speaks.say(_WAIT, {"when": speaks.distance(clock.now() + (error.retry_after + 0.5) * clock.SECOND)})
        }
    said = {each.field: speaks.say(each.text, each.facts) for each in error.problems}
    return {name: refusals.ended(f"{text[:1].upper()}{text[1:]}") for name, text in said.items()}


def see_other(path: str) -> Response:
    """303, to another page of ours, by its path alone: the visit goes on at the host where it began.

    A browser forbids a redirect after a form that leaves the page's own host (form-action 'self').
    """
    return Response(status=303, headers={"Location": f"{settings().root}{path}"})


def sign_in_first(then: str) -> Response:
    """Lead to the page that signs in, and from there to this path."""
    return see_other(f"/login?{urlencode({'then': then, **cookies.note()}, safe='/')}")


def token_in_link() -> str:
    """The token in this request's query, as links have it; "" where there is none."""
    return tokens.in_query(request.query_string.decode("ascii", "replace"))


def to_invitation(token: str) -> Response:
    """To the page that says what is wrong with a token; one that cannot be a token is not repeated.

    From there a visit goes on to the app that has sent it here.
    """
    return see_other(return_to.onward(f"/invite?{token}" if tokens.is_token(token) else "/invite"))


def mended(path: str) -> str:
    """The address that was meant by a link of which a mail program has encoded the question mark; "" for others."""
    found = _ENCODED.fullmatch(path)
    return f"{found[1]}?{found[2]}" if found else ""


def here() -> str:
    """The address of the page that is shown, as a path of ours; of what a form shows, that of the page before it."""
    sent = requests.current()
    if sent.method != "POST":
        query = sent.query_string.decode("ascii", "replace")
        return f"{quote(sent.path)}?{query}" if query else quote(sent.path)
    path, token = _page_before(sent.path), _sent_token()
    if token:
        path = f"{'/invite' if path == '/' else path}?{token}"
    return return_to.added(path)


def _page_before(path: str) -> str:
    """The nearest page above the path to which a form is sent."""
    rows = current_app.create_url_adapter(requests.current())
    while path and rows:
        with suppress(HTTPException):
            rows.match(path, method="GET")
            return quote(path)
        path = path.rpartition("/")[0]
    return "/"


def _sent_token() -> str:
    with suppress(HTTPException, UnicodeDecodeError):
        token = requests.current().form.get("token", "")
        return token if re.fullmatch(r"[\w.-]+", token, re.ASCII) else ""
    return ""


def qr(link: str) -> str:
    """A link as a picture for a phone's camera, in SVG."""
    out = io.BytesIO()
    segno.make(link, micro=False).save(out, kind="svg", scale=4, border=2, light="#fff")
    return out.getvalue().decode()


def qr_png(link: str) -> bytes:
    """A link as such a picture in PNG, large enough to be printed."""
    out = io.BytesIO()
    segno.make(link, micro=False).save(out, kind="png", scale=12, border=4)
    return out.getvalue()


def set_table(environment: Environment, settings: Settings) -> None:
    """What every template knows: the settings it may show, and how a text or a moment is said."""
    language.install(environment)
    environment.globals.update(
        site_name=settings.site_name,
        public_url=settings.public_url,
        home_url=settings.home_url,
        contact=settings.contact,
        languages=[(code, language.called(code)) for code in LANGUAGES],
        here=here,
        root=settings.root,
        password_min_length=settings.password_min_length,
        mails=bool(settings.smtp_url),
        open=settings.open_registration,
        https=settings.public_url if settings.origin.startswith("https:") else None,
        accent=settings.accent,
        icon=_icon(settings.accent),
        version=version,
        form_token=form_token,
    )
    environment.filters.update(iso=clock.iso, host=lambda url: urlsplit(url).netloc or url)


def form_token() -> str:
    """The token for a form on this page.

    Of a form that was refused before anyone looked who sends it, the one that it had.
    """
    made = g.get("form_token")
    return str(made()) if made else request.form.get("csrf", "")


def style() -> str:
    """The style sheet, in the colour of this place."""
    return f":root{{--tint:{settings().accent}}}\n{_asset('style.css')}"


@cache
def version(asset: str, accent: str = "") -> str:
    """Changes whenever a file of static/ does, so that browsers may keep it for ever."""
    return hashlib.sha256(f"{accent}{_asset(asset)}".encode()).hexdigest()[:12]


@cache
def _asset(name: str) -> str:
    return (HOME / "static" / name).read_text()


def _icon(accent: str) -> str:
    """The picture of this place, as an address of its own: one request less for every first visit."""
    return f"data:image/svg+xml,{quote(_asset('icon.svg').replace('#2f6f5e', accent))}"


def _rendered(code: str, template: str, facts: Mapping[str, Any]) -> str:
    return_to.note_form()
    with language.using(code):
        spoken = cast(Templates, current_app.jinja_env).in_language(code)
        return render_template(
            spoken.get_template(template),
            **{
                "problems": {},
                "language": language.named(code),
                "unkept": cookies.was_refused(),
                "speaks": True,
                **facts,
            },
        )


def _form_of(row: Any, error: Refusal | HTTPException) -> Shown | None:
    """How the form that was sent is shown once more; None where there is none, or another site has sent it."""
    shown = vars(row.view).get("form") if row else None
    if shown is None or isinstance(error, (HTTPException, CrossSite, NotSignedIn, Forbidden)):
        return None
    try:
        again: Shown = read_only(lambda: shown(row.guard()))
    except Refusal:
        return None
    return again


def _again(again: Shown, error: Refusal) -> str:
    """The form once more, with all that is wrong beside what was typed; "" if its page has no place to say it.

    What is about a field that the page does not show is said at the top.
    """
    wrong = problems(error)
    made = again(problems=wrong)
    placed: dict[str, list[str]] = {}
    for name, text in wrong.items():
        shown = next((each for each in (name, _ASKED_AS.get(name, "")) if each and f'for="{each}"' in made), "")
        placed.setdefault(shown, []).append(text if shown else _unshown(error, name, text))
    if placed.keys() != wrong.keys() or "" in placed:
        made = again(problems={name: " ".join(texts) for name, texts in placed.items()})
    return made if "" not in placed or 'role="alert"' in made else ""


def _unshown(error: Refusal, name: str, text: str) -> str:
    """What is wrong with a field that the page does not show, and what to do about it."""
    if not isinstance(error, Invalid):
        return text
    advice = _IN_ADDRESS if request.method == "GET" else _NOT_SHOWN
    return f"{name}: {text} {language.named(reads()).text(advice)}"


def sentence(error: Refusal | HTTPException) -> str:
    """What went wrong, in sentences for a page without a form."""
    if isinstance(error, Invalid):
        return " ".join(_unshown(error, name, text) for name, text in problems(error).items())
    if isinstance(error, Refusal):
        return " ".join(problems(error).values())
    return language.named(reads()).text(errors.sentence(error))


def title(error: Refusal | HTTPException) -> str:
    """What a page that says an error is called, by the error's status."""
    status = errors.status(error, STATUS)
    usual = N_("Something went wrong") if status >= 500 else N_("This did not work")
    return language.named(reads()).text(_TITLES.get(type(error)) or _TITLE_OF_STATUS.get(status, usual))


def _error_page(error: Refusal | HTTPException) -> str:
    path = request.path if request.method == "GET" else None
    bare = path if isinstance(error, Invalid) else None
    not_mine = path if isinstance(error, Forbidden) and g.get("visitor") else None
    facts = {"title": title(error), "sentence": sentence(error), "bare": bare, "not_mine": not_mine}
    return page("error.html", **facts, token=requests.invite_token())
