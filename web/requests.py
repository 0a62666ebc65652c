"""Reading requests strictly: what two programs could read differently is refused before a view runs."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qs

from flask import Request, g, request
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)

from rules import fields, idempotency, strict_json, tokens
from rules.idempotency import Once
from rules.refusals import Invalid, Refusal, problem, together
from settings import settings, texts
from web.reader import MAX_BODY_BYTES, NO_ROOM

T = TypeVar("T")

LARGEST_BODY = MAX_BODY_BYTES
RETRY_AFTER = 5  # seconds
DEEPEST = 16
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
PRIVILEGED = ("makes_admin", "is_admin", "verified", "email_verified")


class TooMuch(RequestEntityTooLarge):
    """A body that is longer than this call takes, which takes longer ones than others."""

    def __init__(self, largest: int) -> None:
        super().__init__(f"This is too much: send at most {largest // 1024} KiB.")


def json_object() -> dict[str, Any]:
    """The JSON object that was sent. 415 for what is not JSON, 400 for what cannot be read."""
    if not is_json():
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    body = _json_body()
    for name, value in body.items():
        _refuse_unspeakable(value, name)
    return body


def is_json() -> bool:
    """Whether the body is to be read as JSON: its type says so, or its dialect does not ask for the type.

    Of a caller by cookie the type is asked for: a form on another site can send any text.
    """
    if current().is_json:
        return True
    return bool(context().get("any_json")) and ("Authorization" in current().headers or not session_cookie())


def query(names: Iterable[str]) -> dict[str, str]:
    """The named parameters of the query, without the empty ones; raises Invalid for one given twice."""
    given = {}
    for name in names:
        if value := _only(name, request.args.getlist(name)):
            given[name] = value
    _refuse_lost_plus(given.get("email", ""))
    return given


def flags(names: Iterable[str]) -> dict[str, bool]:
    """Which of the named parameters are in the query, whatever their values."""
    sent = current()
    given = sent.args if sent.query_string else ()
    return {name: name in given for name in names}


def body(readers: Mapping[str, Callable[[Any], Any]], required: Sequence[str]) -> dict[str, Any]:
    """The JSON object that was sent, each of its fields read by its reader; raises Invalid with all that is wrong."""
    given = json_object()
    try:
        require(given, *required)
        return fields.read(readers, given)
    except Refusal:
        together(partial(fields.read, readers, given), partial(require, given, *required))
        raise


def given() -> dict[str, Any]:
    """The JSON object that was sent, {} for no body at all; who calls this reads its members."""
    return json_object() if current().content_length else {}


def refuse_unknown(members: Collection[str], parameters: Collection[str]) -> None:
    """Raise UnknownField for any other member of the JSON object, or parameter of the query.

    And Invalid for an empty parameter: who forgot to fill it in wants a part of what would be answered without it.
    """
    fields.refuse_unknown(current().args, parameters)
    fields.refuse_empty(current().args)
    fields.refuse_unknown(given(), members)


def require(body: Mapping[str, Any], *names: str) -> None:
    """Raise Invalid for all of these members that are missing."""
    missing = [name for name in names if body.get(name) in (None, "")]
    if missing:
        raise Invalid(*(problem(name, "required", "is missing") for name in missing))


def session_cookie() -> str:
    """A browser's session cookie, good or not; "" for none, and for what a front end at another origin sends.

    It counts only without an Authorization header.
    """
    return "" if is_from_front_end() else request.cookies.get(settings().cookie_name, "")


def is_from_front_end() -> bool:
    """Whether a page at an origin that INVITE_API_CORS_ORIGINS lists asks, and not one of ours."""
    listed = settings().cors_origins
    return bool(listed) and current().headers.get("Origin") in {*listed} - {settings().origin}


def shows_session() -> bool:
    """Whether the caller shows something to be signed in by, good or not."""
    return "Authorization" in request.headers or bool(session_cookie())


def neighbourhood() -> str:
    """Whose calls count as those of one client."""
    return str(context().neighbourhood)


def query_or_body(names: Iterable[str]) -> dict[str, object]:
    """The named parameters, from the query, a form or a JSON object; unknown ones are ignored.

    Raises Invalid for one that is given twice, and refuses bodies that are neither.
    """
    sent, given = current(), dict[str, object]()
    query, body = sent.args, _read_body(sent)
    for name in names:
        values: list[object] = [*query.getlist(name)] if name in query else []
        if name == "email" and values:
            _refuse_lost_plus(query[name])
        if name in body:
            values.extend(body[name] if isinstance(body, _Form) else [body[name]])
        if values:
            given[name] = _only(name, values)
    return given


def once(caller: str, given: Mapping[str, Any]) -> Once | None:
    """What this request creates once, by its Idempotency-Key; None without one. `given` is what was read of it."""
    sent = current()
    header = sent.headers.get("Idempotency-Key")
    if header is None:
        return None
    what = {**given, "route": f"{sent.method} {row().path}"}
    context().once = idempotency.read(header, caller, what)
    return context().once  # type: ignore[no-any-return]


def form_field(name: str) -> str:
    """One field of a posted form, "" where it is missing; raises Invalid for one given twice."""
    return _only(name, request.form.getlist(name)) or ""


def several(name: str) -> list[str]:
    """All values of a field of a posted form that may be there several times, such as a list with ticks."""
    values = request.form.getlist(name)
    for value in values:
        _refuse_unspeakable(value, name)
    return values


def typed(name: str) -> str:
    """One field of a posted form, as a person typed or pasted it: without what cannot be seen at its ends."""
    return texts.stripped(form_field(name))


def form(names: Iterable[str]) -> dict[str, str]:
    """The named fields of a posted form, "" where one is missing; raises Invalid for one given twice.

    A form that a script sends as text, or without a type, is read as well: Prosody does not ask for the type.
    """
    given = _posted()
    return {name: _only(name, given.get(name, [])) or "" for name in names}


def _posted() -> Mapping[str, list[str]]:
    sent = current()
    if sent.mimetype in ("", "text/plain") and sent.content_length:
        return parse_qs(sent.get_data(as_text=True), keep_blank_values=True)
    return sent.form.to_dict(flat=False)


def invite_token() -> str:
    """The token of the invite that this request shows, wherever it stands in it; "" where there is none."""
    sent = current()
    shown = [(sent.view_args or {}).get("token"), tokens.in_query(sent.query_string.decode("ascii", "replace"))]
    try:
        if (sent.content_length or 0) > LARGEST_BODY:
            pass  # such a body is never read
        elif is_json():
            shown.append(_json_body().get("invite_token"))
        else:
            form_ = form(("token", "code"))
            shown += [form_["token"].strip(), tokens.in_text(form_["code"])]
    except (Invalid, HTTPException):  # what cannot be read is refused elsewhere
        pass
    return next((each for each in shown if isinstance(each, str) and tokens.is_token(each)), "")


def look_over(largest: int | None = LARGEST_BODY, is_strict: bool = False) -> None:
    """Refuse a body, read or not, that is JSON and cannot be used, or names what nobody may set from outside.

    And a body of more than `largest` bytes, or one for which the server has no room now; and a NUL in a path, which
    nothing of ours has: PostgreSQL refuses to look for one. Where a call `is_strict`, or takes a longer body than
    others, that is read once its caller is known: unknown members are refused then, and a long body of strangers is
    never parsed. With None for `largest` nobody looks at the body at all.
    """
    sent = current()
    if largest is not None and largest > LARGEST_BODY:
        is_strict = True
        sent.max_content_length = sent.max_form_memory_size = largest
    if largest is not None and (sent.content_length or 0) > LARGEST_BODY:
        if (sent.content_length or 0) > largest:
            raise RequestEntityTooLarge if largest == LARGEST_BODY else TooMuch(largest)
        if NO_ROOM in sent.environ:
            raise ServiceUnavailable(retry_after=RETRY_AFTER)
    if "\0" in sent.path:
        raise BadRequest("There is a NUL in this address.")
    if sent.content_length and not is_strict and largest is not None:
        _refuse_privileged(_json_body() if is_json() else _posted())


def current() -> Request:
    """The request itself: each look at it through Flask's `request` is a search for it."""
    return request._get_current_object()  # type: ignore[attr-defined, no-any-return]


def context() -> Any:
    """What is kept for this request while it is answered: Flask's `g` itself."""
    return g._get_current_object()


def row() -> Any:
    """The row of the map that answers this request; None if none was found."""
    return g.get("row")


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
    given = sent.form.to_dict(flat=False)
    begins = next(iter(given), "").lstrip("\N{BYTE ORDER MARK} \t\r\n")
    if begins.startswith(("{", "[")):  # curl -d '{…}' says by itself that this is a form
        raise UnsupportedMediaType("This is JSON that says it is a form: send it with Content-Type: application/json.")
    return _Form(given)


def _json_body() -> dict[str, Any]:
    """The JSON object that was sent, with nothing in it that two programs could read differently."""
    here = context()
    if "body" not in here:
        here.body = _read_json()
    return dict(here.body)


def _read_json() -> dict[str, Any]:
    sent = current()
    raw: bytes = sent.environ["wsgi.input"].read(sent.content_length)  # look_over() has refused a body that is too long
    try:
        body = strict_json.decode(raw.decode("utf-8-sig"))  # with a byte order mark, as Windows writes it
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"This is not JSON that can be used: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest("A JSON object is needed, such as {}.")
    _refuse_depth(body)
    return body


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


def _refuse_lost_plus(address: str) -> None:
    """Refuse an address in a query whose plus sign was sent as it is, since in a query that is a space."""
    if " " in address.partition("@")[0].strip() and b"+" in current().query_string:
        raise Invalid.at("email", "email", "has a space in it: in a query write a plus sign as %%2B")


def _refuse_unspeakable(value: object, name: str) -> None:
    """Refuse text that no person wrote and some database would choke on."""
    if isinstance(value, str) and _UNSPEAKABLE.search(value):
        raise Invalid.at(name, "characters", "has a NUL or an unpaired surrogate in it")
