"""The description of the API: OpenAPI 3.1, made from the map, the views' signatures, and what they may refuse.

`describe` is all there is to it; nothing here is written down twice. Two members are our own:
``x-who``, who may call, in words, and ``x-limit``, how often.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version
from inspect import cleandoc, get_annotations
from typing import Any
from urllib.parse import quote

from werkzeug import exceptions
from werkzeug.exceptions import HTTPException

import guards
from config import Settings
from dialects import contract, manual, shapes, wire
from dialects.contract import Answer
from rules import refusals
from rules.refusals import Refusal
from schemas import Object, Schemas

Error = Refusal | HTTPException
Row = Any  # a row of app.ROUTES; app imports us

HTML = "text/html"
TITLES = {
    "prosody": "Prosody",
    "agentbot": "Agentbot",
    "hitkey": "HitKey",
    "pages": "Pages",
    "admin_pages": "Administration",
    "ops": "Operations",
}

NOTHING: Object = {}
KEY, KEY_IN_QUERY, TOKEN, COOKIE = ({name: list[str]()} for name in ("key", "key_in_query", "token", "cookie"))


@dataclass(frozen=True)
class Who:
    """Whom a guard lets in: in words, by what they show (any of these), and how others are refused."""

    called: str
    shows: Sequence[Object] = (NOTHING,)
    refused: Sequence[type[Refusal]] = ()


_SESSION = (TOKEN, COOKIE)
WHO: Mapping[Callable[[], Any], Who] = {
    guards.anyone: Who("anybody"),
    guards.api_key: Who("a program with an API key", (KEY, KEY_IN_QUERY), (refusals.KeyRefused,)),
    guards.signed_in: Who("whoever is signed in", _SESSION, (refusals.NotSignedIn,)),
    guards.maybe: Who(
        "anybody; who is signed in, for their own address", (NOTHING, *_SESSION), (refusals.NotSignedIn,)
    ),
    guards.known: Who("whoever is signed in", _SESSION, (refusals.NotSignedIn, refusals.UserNotFound)),
    guards.admin: Who("an admin of the site", _SESSION, (refusals.Forbidden,)),
    guards.key_or_admin: Who(
        "a program with an API key, or an admin of the site",
        (KEY, KEY_IN_QUERY, *_SESSION),
        (refusals.NotSignedIn,),
    ),
    guards.visitor: Who("anybody", (NOTHING, COOKIE)),
    guards.own_form: Who("anybody, with a form of ours", (NOTHING, COOKIE)),
    guards.any_form: Who("anybody", (NOTHING, COOKIE)),
    guards.admin_visitor: Who("an admin of the site", (COOKIE,)),
    guards.admin_form: Who("an admin of the site, with a form of ours", (COOKIE,)),
}

_SHOWN = {"key": "ID/SECRET", "token": "ACCESS_TOKEN"}

# Refusals that carry facts, as they may look.
_SAMPLES: Mapping[type[Refusal], Refusal] = {
    refusals.InviteExpired: refusals.InviteExpired(datetime(2026, 3, 25, 21, tzinfo=UTC)),
    refusals.RateLimited: refusals.RateLimited(30),
}
_HEADERS = {
    401: ("WWW-Authenticate", "Bearer, where signing in would help."),
    405: ("Allow", "The methods that this address takes."),
    429: ("Retry-After", "In how many seconds to try again."),
    503: ("Retry-After", "In how many seconds to try again."),
}


_FORMATS = {"Location": {"type": "string", "format": "uri"}, "Retry-After": {"type": "string"}}


def describe(routes: Mapping[Any, Sequence[Row]], settings: Settings) -> Object:
    """The OpenAPI document of the map, for the place that these settings are about."""
    schemas, paths = Schemas(), dict[str, Object]()
    for dialect, rows in routes.items():
        for row in rows:
            for method in row.methods.split():
                call = Call(dialect, row, method, schemas, settings)
                paths.setdefault(call.path, {})[method.lower()] = call.described()
    return {
        "openapi": "3.1.0",
        "info": {"title": settings.site_name, "version": version("invite-api"), "description": _ABOUT},
        "servers": [{"url": settings.public_url}],
        "tags": [{"name": TITLES[_name(each)], "description": _first(each.__doc__)} for each in routes],
        "paths": paths,
        "components": {"schemas": schemas.named, "securitySchemes": _schemes(settings)},
    }


_ABOUT = (
    "Three public invite APIs on one set of invites: whatever one of them makes can be viewed, verified and "
    "used in the others. A body is JSON in UTF-8, of at most 64 KiB; members that are not known are ignored. "
    "A call beyond its limit is answered 429, with Retry-After."
)


@dataclass(frozen=True)
class Call:
    """One method of one row of the map."""

    dialect: Any
    row: Row
    method: str
    schemas: Schemas
    settings: Settings

    @property
    def path(self) -> str:
        """Its address, as OpenAPI writes it."""
        return str(self.row.path).replace("<", "{").replace(">", "}")

    @property
    def statuses(self) -> Mapping[type[Refusal], int] | None:
        """The status of each refusal; None for pages, which say everything in words."""
        return getattr(self.dialect, "STATUS", None)

    @property
    def taken(self) -> Mapping[str, Any]:
        """The shapes that its steps take, by where they come from."""
        steps = [each for each in (self.row.spend, self.row.prepare, self.row.view) if each]
        return {name: shape for step in steps for name, shape in contract.taken_by(step).items()}

    @property
    def answers(self) -> list[Answer]:
        """What it answers when it does not refuse."""
        return contract.answers(self.row.view) if self.statuses else contract.pages(self.row.view)

    def described(self) -> Object:
        """The operation."""
        view, who = self.row.view, WHO[self.row.guard]
        summary, _, more = cleandoc(view.__doc__).partition("\n")
        body = self.body()
        return {
            "operationId": "_".join(re.findall("[a-z_]+", f"{self.method.lower()} {self.path}")),
            "tags": [TITLES[_name(self.dialect)]],
            "summary": summary,
            **({"description": more.strip()} if more.strip() else {}),
            **({"deprecated": True} if contract.is_deprecated(view) else {}),
            "x-who": who.called,
            "x-limit": self.row.limit,
            "security": list(who.shows),
            "parameters": list(self.parameters()),
            **({"requestBody": body} if body else {}),
            "responses": {str(status): told for status, told in self.responses()},
            **({"x-codeSamples": [{"lang": "Shell", "source": self.curl()}]} if self.statuses or body else {}),
        }

    def parameters(self) -> Iterator[Object]:
        """Those in the path, then those of the query."""
        hints = get_annotations(self.row.view)
        for part in self.row.path.split("/"):
            if part.startswith("<"):
                schema = self.schemas.of(hints[part[1:-1]])
                yield {"name": part[1:-1], "in": "path", "required": True, "schema": schema}
        for name, schema in self._members("flags").items():
            yield {"name": name, "in": "query", "allowEmptyValue": True, "schema": {**schema, "type": "string"}}
        for source in ("query", "asked"):
            for name, schema in self._members(source).items():
                yield {"name": name, "in": "query", "schema": schema}

    def _members(self, source: str) -> Object:
        return Schemas().members(self.taken[source]) if source in self.taken else {}

    def body(self) -> Object:
        """The request's body; nothing where there is none."""
        taken, forms = self.taken, ("application/x-www-form-urlencoded",)
        if "body" in taken:
            return self._body(taken["body"], ("application/json",), required=True)
        if "form" in taken:
            return self._body(taken["form"], forms, required=True)
        if "asked" in taken and self.method == "POST":
            return self._body(taken["asked"], (*forms, "application/json"), required=False)
        return {}

    def _body(self, shape: Any, media: Sequence[str], required: bool) -> Object:
        schema = self.schemas.of(shape)
        content = {"schema": schema, "example": self.schemas.example(schema, sparse=True)}
        return {"required": required, "content": dict.fromkeys(media, content)}

    def responses(self) -> Iterator[tuple[int | str, Object]]:
        """All that it can answer, by status."""
        for answer in self.answers:
            yield answer.status, self._answered(answer)
        if self.statuses is None:
            said = "A page that says what is wrong and what to do; a form is shown again."
            yield "default", {"description": said, "content": {HTML: {"schema": {"type": "string"}}}}
            return
        told: dict[int, dict[str, Error]] = {}
        for status, error in self.refused(self.statuses):
            told.setdefault(status, {})[wire.code(error)] = error
        for status in sorted(told):
            yield status, self._refused(status, told[status])

    def _answered(self, answer: Answer) -> Object:
        told: Object = {"description": _phrase(answer.status)}
        if answer.header:
            told["headers"] = {answer.header: {"required": True, "schema": _FORMATS[answer.header]}}
        if answer.shape:
            schema = self.schemas.of(answer.shape)
            example = {} if answer.media != "application/json" else {"example": self.schemas.example(schema)}
            told["content"] = {answer.media: {"schema": schema, **example}}
        return told

    def _refused(self, status: int, errors: Mapping[str, Error]) -> Object:
        noted = contract.refused_by(self.row.view).values()
        shape = next((each.shape for each in noted if each.shape), shapes.Refused)
        valid = {"valid": False} if shape is shapes.NotValid else {}
        header = {_HEADERS[status][0]: _header(_HEADERS[status][1])} if status in _HEADERS else {}
        schema = self.schemas.of(shape) | {"properties": {"code": {"enum": list(errors)}}}
        examples = {code: {"value": {**valid, **wire.told(error)}} for code, error in errors.items()}
        content = {"application/json": {"schema": schema, "examples": examples}}
        return {"description": _phrase(status), **({"headers": header} if header else {}), "content": content}

    def refused(self, statuses: Mapping[type[Refusal], int]) -> Iterator[tuple[int, Error]]:
        """Every error that it may answer, with its status."""
        row, noted = self.row, contract.refused_by(self.row.view)
        every: list[type[Refusal]] = [refusals.Invalid, *WHO[row.guard].refused, *self._circumstances(), *noted]
        for refusal in every:
            status = noted[refusal].at if refusal in noted else None
            yield status or statuses[refusal], self._sample(refusal)
        for error in self._http_errors():
            yield error.code or 500, error

    def _sample(self, refusal: type[Refusal]) -> Refusal:
        if refusal is not refusals.Invalid:
            return _SAMPLES.get(refusal) or refusal()
        for member in self._members("body"):
            return refusals.Invalid.at(member, "required", "is missing")
        return refusals.Invalid.at("is_admin", "forbidden", "cannot be set from outside")

    def _circumstances(self) -> Iterator[type[Refusal]]:
        if COOKIE in WHO[self.row.guard].shows and self.method not in ("GET", "OPTIONS"):
            yield refusals.CrossSite
        if self.row.limit:
            yield refusals.RateLimited
        if self.row.prepare:
            yield refusals.Overloaded

    def _http_errors(self) -> Iterator[HTTPException]:
        yield exceptions.BadRequest("A JSON object is needed, such as {}.")
        if "<" in self.row.path:
            yield exceptions.NotFound()
        yield exceptions.MethodNotAllowed(self.row.methods.split())
        yield exceptions.RequestEntityTooLarge()
        if {"body", "asked"} & set(self.taken):
            yield exceptions.UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
        yield exceptions.InternalServerError()
        if self.row.unit.name != "ALONE":
            yield exceptions.ServiceUnavailable()

    def curl(self) -> str:
        """A line for the shell that makes this call."""
        body = self.body()
        media, content = next(iter(body["content"].items())) if body else ("", {})
        words = ["curl", *self._method(bool(body)), *self._credentials(), *_data(media, content.get("example"))]
        return " ".join(map(_quoted, [*words, self._url()]))

    def _method(self, with_body: bool) -> Sequence[str]:
        return () if self.method == ("POST" if with_body else "GET") else ("-X", self.method)

    def _credentials(self) -> Sequence[str]:
        first = next(iter(WHO[self.row.guard].shows[0]), "")
        return ("-H", f"Authorization: Bearer {_SHOWN[first]}") if first in _SHOWN else ()

    def _url(self) -> str:
        facts = {
            each["name"]: self.schemas.example(each["schema"]) for each in self.parameters() if each["in"] == "path"
        }
        return self.settings.public_url + self.path.format(**{name: quote(str(fact)) for name, fact in facts.items()})


def _data(media: str, example: Any) -> Iterator[str]:
    if media == "application/json":
        yield from ("-H", f"Content-Type: {media}", "-d", json.dumps(example, ensure_ascii=False))
    elif media:
        for name, value in example.items():
            yield from ("--data-urlencode", f"{name}={value}")


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _schemes(settings: Settings) -> Object:
    """What one may show to be let in."""
    return {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, `ID/SECRET`, as `invite-api create` prints it.",
        },
        "key_in_query": {"type": "apiKey", "in": "query", "name": "key", "description": "The same, in the URL."},
        "token": {"type": "http", "scheme": "bearer", "description": "An access token, from `/auth/login`."},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.cookie_name,
            "description": "A browser's, from `/login`. To write with it, send JSON from a page of this origin.",
        },
    }


def _header(said: str) -> Object:
    return {"description": said, "schema": {"type": "string"}}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _name(dialect: Any) -> str:
    return str(dialect.__name__).rpartition(".")[2]


def _first(text: str) -> str:
    """The first line of a docstring, without what would be markup elsewhere."""
    return cleandoc(text).partition("\n")[0]


class Description:
    """The document, and what is made of it, when it is first asked for."""

    def __init__(self, made: Callable[[], Object]) -> None:
        self._made = made

    @cached_property
    def document(self) -> Object:
        """The document."""
        return self._made()

    @cached_property
    def text(self) -> str:
        """Likewise, as JSON."""
        return wire.dumps(self.document)

    @cached_property
    def page(self) -> Object:
        """Likewise, as facts for a page."""
        return manual.facts(self.document)
