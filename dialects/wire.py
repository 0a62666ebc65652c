"""What the dialects share: reading requests strictly, and shaping answers."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import msgspec
from flask import Request, Response, g, jsonify, request
from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, UnsupportedMediaType

from config import settings
from dialects.shapes import Refused
from rules import fields, refusals
from rules.refusals import N_, Invalid, Refusal, problem

T = TypeVar("T")

DEEPEST = 16
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
PRIVILEGED = ("makes_admin", "is_admin", "verified", "email_verified")

# What browsers are told with every answer, whatever it is.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

# The status of each refusal where a dialect's own documentation says nothing else.
STATUS: Mapping[type[Refusal], int] = {
    refusals.Invalid: 400,
    refusals.KeyRefused: 403,
    refusals.NoSuchKey: 404,
    refusals.KeyMade: 409,
    refusals.NotSignedIn: 401,
    refusals.InvalidCredentials: 401,
    refusals.UserNotFound: 404,
    refusals.Forbidden: 403,
    refusals.CrossSite: 403,
    refusals.ResetInvalid: 400,
    refusals.ResetExpired: 400,
    refusals.RegistrationClosed: 403,
    refusals.NoCode: 400,
    refusals.InvalidCode: 400,
    refusals.CodeExpired: 400,
    refusals.TooManyAttempts: 400,
    refusals.EmailAlreadyVerified: 400,
    refusals.EmailNotVerified: 401,
    refusals.LetterNotFound: 404,
    refusals.LegacyCodesOff: 410,
    refusals.InviteNotFound: 404,
    refusals.InviteUsed: 410,
    refusals.InviteExpired: 404,
    refusals.InviteAlreadyExists: 400,
    refusals.ProjectNotFound: 404,
    refusals.MemberNotFound: 404,
    refusals.NotProjectMember: 403,
    refusals.NotAllowed: 403,
    refusals.OwnAccount: 409,
    refusals.OwnsProjects: 409,
    refusals.AlreadyMember: 400,
    refusals.EmailMismatch: 400,
    refusals.EmailInUse: 400,
    refusals.UsernameInvalid: 400,
    refusals.UsernameTaken: 409,
    refusals.LinkLost: 409,
    refusals.Overloaded: 503,
    refusals.RateLimited: 429,
}


def dumps(value: Any) -> str:
    """JSON as all answers have it: compact."""
    return msgspec.json.encode(value).decode()


def refusal(error: Refusal | HTTPException, statuses: Mapping[type[Refusal], int] = STATUS) -> Response:
    """The JSON answer ``{"error": TEXT, "code": CODE}``, with ``errors`` for invalid fields."""
    return with_status(jsonify(told(error)), error, statuses)


def told(error: Refusal | HTTPException) -> Refused:
    """What programs are told of an error."""
    body: Refused = {"error": sentence(error), "code": code(error)}
    if isinstance(error, Invalid):
        body["errors"] = [
            {"message": f"{p.field}: {p.message}", "rule": p.rule, "field": p.field} for p in error.problems
        ]
    return body


def with_status(response: Response, error: Refusal | HTTPException, statuses: Mapping[type[Refusal], int]) -> Response:
    """Give an answer the status, and the headers, that go with an error."""
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    retry_after = getattr(error, "retry_after", None) or (2 if isinstance(error, refusals.Overloaded) else None)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    if isinstance(error, refusals.NotSignedIn):
        response.headers["WWW-Authenticate"] = "Bearer"
    response.status_code = statuses[type(error)] if isinstance(error, Refusal) else error.code or 500
    return response


def sentence(error: Refusal | HTTPException) -> str:
    """An error in one sentence for a person."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, MethodNotAllowed):
        return f"This address takes {' and '.join(sorted(set(error.valid_methods or ()) - {'HEAD', 'OPTIONS'}))} only."
    return _SENTENCES.get(error.code or 500, error.description or "This request cannot be understood.")


def code(error: Refusal | HTTPException) -> str:
    """An error in one word for a program."""
    return error.code if isinstance(error, Refusal) else error.name.upper().replace(" ", "_")


_SENTENCES = {
    404: N_("There is nothing at this address."),
    413: N_("This is too much: send at most 64 KiB."),
    500: N_("Something went wrong here. It has been written to the log; nothing was changed."),
    503: N_("The invitations cannot be reached right now. Try again in a few seconds: nothing can be used twice."),
}


def json_object() -> dict[str, Any]:
    """The JSON object that was sent. 415 for what is not JSON, 400 for what cannot be read."""
    if not asked().is_json:
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    body = _json_body()
    for name, value in body.items():
        _refuse_unspeakable(value, name)
    return body


def query(names: Iterable[str]) -> dict[str, str]:
    """The named parameters of the query, without the empty ones; raises Invalid for one given twice."""
    given = {}
    for name in names:
        if value := _only(name, request.args.getlist(name)):
            given[name] = value
    return given


def flags(names: Iterable[str]) -> dict[str, bool]:
    """Which of the named parameters are in the query, whatever their values."""
    given = asked().args
    return {name: name in given for name in names}


def body(readers: Mapping[str, Callable[[Any], Any]], required: Sequence[str]) -> dict[str, Any]:
    """The JSON object that was sent, each of its fields read by its reader; raises Invalid with all that is wrong."""
    given = json_object()
    require(given, *required)
    return fields.read(readers, given)


def require(body: Mapping[str, Any], *names: str) -> None:
    """Raise Invalid for all of these members that are missing."""
    missing = [name for name in names if body.get(name) in (None, "")]
    if missing:
        raise Invalid(*(problem(name, "required", "is missing") for name in missing))


def shows_session() -> bool:
    """Whether the caller shows something to be signed in by, good or not."""
    return "Authorization" in request.headers or bool(request.cookies.get(settings().cookie_name))


def neighbourhood() -> str:
    """Whose calls count as those of one client."""
    return str(known().neighbourhood)


def query_or_body(names: Iterable[str]) -> dict[str, object]:
    """The named parameters, from the query, a form or a JSON object; unknown ones are ignored.

    Raises Invalid for one that is given twice, and refuses bodies that are neither.
    """
    sent, given = asked(), dict[str, object]()
    query, body = sent.args, _read_body(sent)
    for name in names:
        values: list[object] = [*query.getlist(name)] if name in query else []
        if name in body:
            values.extend(body[name] if isinstance(body, _Form) else [body[name]])
        if values:
            given[name] = _only(name, values)
    return given


def form_field(name: str) -> str:
    """One field of a posted form, "" where it is missing; raises Invalid for one given twice."""
    return _only(name, request.form.getlist(name)) or ""


def form(names: Iterable[str]) -> dict[str, str]:
    """The named fields of a posted form; raises Invalid for one given twice."""
    return {name: form_field(name) for name in names}


def look_over() -> None:
    """Refuse a body, read or not, that is JSON and cannot be used, or names what nobody may set from outside.

    And a NUL in a path: nothing of ours has one, and there are databases that will not even look for it.
    """
    sent = asked()
    if "\0" in sent.path:
        raise BadRequest("There is a NUL in this address.")
    if sent.content_length:
        _refuse_privileged(_json_body() if sent.is_json else sent.form)


def asked() -> Request:
    """The request itself: each look at it through Flask's `request` is a search for it."""
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def known() -> Any:
    """What is known of it: Flask's `g` itself."""
    return g._get_current_object()


class _Form(dict[str, Any]):
    """The fields of a form; each value is the list of what was given."""


def _read_body(sent: Request) -> dict[str, Any]:
    """The JSON object or the form that was sent, if anything was."""
    if not sent.content_length:
        return {}
    if sent.is_json:
        return _json_body()
    if sent.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        raise UnsupportedMediaType("Send a form, or JSON with Content-Type: application/json.")
    return _Form(sent.form.to_dict(flat=False))


def _json_body() -> dict[str, Any]:
    """The JSON object that was sent, with nothing in it that two programs could read differently."""
    here = known()
    if "body" not in here:
        here.body = _read_json()
    return dict(here.body)


def _read_json() -> dict[str, Any]:
    try:
        body = _DECODER.decode(_raw().decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"This is not JSON that can be used: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest("A JSON object is needed, such as {}.")
    _refuse_depth(body)
    return body


def _raw() -> bytes:
    """The body as it was sent, whose length is known, and not too much: nothing need watch over how it is read."""
    sent = asked()
    body: bytes = sent.environ["wsgi.input"].read(sent.content_length)
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member is named twice")
    return dict(pairs)


def _no_constants(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _small_int(digits: str) -> int:
    if len(digits) > 19 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError("a number is beyond 64 bits")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constants, parse_int=_small_int)


def _refuse_depth(value: Any, depth: int = 1) -> None:
    if depth > DEEPEST:
        raise BadRequest(f"This JSON is nested more than {DEEPEST} levels deep.")
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            _refuse_depth(each, depth + 1)


def _refuse_privileged(body: Mapping[str, Any]) -> None:
    for name in PRIVILEGED:
        if name in body:
            raise Invalid.at(name, "forbidden", "cannot be set from outside")


def _only(name: str, values: Sequence[T]) -> T | None:
    """What was given under a name, None for nothing; raises Invalid for a second one, or text nobody wrote."""
    if len(values) > 1:
        raise Invalid.at(name, "once", "is given more than once")
    for value in values:
        _refuse_unspeakable(value, name)
    return values[0] if values else None


def _refuse_unspeakable(value: object, name: str) -> None:
    """Refuse text that no person wrote and some database would choke on."""
    if isinstance(value, str) and _UNSPEAKABLE.search(value):
        raise Invalid.at(name, "characters", "has a NUL or an unpaired surrogate in it")
