"""The description of the API: OpenAPI 3.1, made from the map, the views' signatures, and what they may refuse.

`describe` is all there is to it; nothing here is written down twice. Two members are our own:
``x-who``, who may call, in words, and ``x-limit``, how often.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from inspect import cleandoc, get_annotations
from typing import Any
from urllib.parse import quote

from werkzeug import exceptions
from werkzeug.exceptions import HTTPException

from rules import refusals
from rules.idempotency import MAX_KEY_LENGTH
from rules.refusals import Refusal
from settings import Settings
from web import contract, curl, errors
from web.callers import COOKIE, WHO
from web.contract import Answer
from web.map import Route, Work
from web.schemas import Object, Schemas

Error = Refusal | HTTPException

HTML = "text/html"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
TITLES = {
    "v1": "v1",
    "holds": "Holds",
    "prosody": "Prosody",
    "agentbot": "Agentbot",
    "hitkey": "HitKey",
    "pages": "Pages",
    "sign_in": "Signing in",
    "account": "Your account",
    "my_invites": "Your invitations",
    "unsubscribe": "Invitations by mail",
    "admin": "Administration: invites",
    "admin_guests": "Administration: lists of guests",
    "admin_list": "Administration: the list of invites",
    "admin_keys": "Administration: API keys and presets",
    "admin_people": "Administration: people and projects",
    "admin_webhooks": "Administration: webhooks",
    "admin_growth": "Administration: growth",
    "admin_activity": "Administration: activity",
    "gate": "Gate",
    "gate_pages": "Gate: pages",
    "site": "Pages: site",
    "ops": "Operations",
}

HEADINGS = {"v1": "/v1, the API of this service"}  # of tags whose names, which clients have in theirs, say little

_SHOWN = {"key": "ID/SECRET", "token": "ACCESS_TOKEN"}

# Refusals that carry facts, as they may look.
_SAMPLES: Mapping[type[Refusal], Refusal] = {
    refusals.InviteExpired: refusals.InviteExpired(datetime(2026, 3, 25, 21, tzinfo=UTC)),
    refusals.InviteHeld: refusals.InviteHeld(datetime(2026, 3, 25, 21, tzinfo=UTC)),
    refusals.BudgetSpent: refusals.BudgetSpent(0, 1, datetime(2026, 3, 25, 21, tzinfo=UTC)),
    refusals.RateLimited: refusals.RateLimited(30),
    refusals.MailLimit: refusals.MailLimit(50, datetime(2026, 3, 25, 21, tzinfo=UTC)),
}
_AGAIN = {"Retry-After": {"description": "In how many seconds to try again.", "schema": {"type": "string"}}}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "Bearer, where signing in would help.", "schema": {"type": "string"}}},
    405: {"Allow": {"description": "The methods that this address takes.", "schema": {"type": "string"}}},
    429: _AGAIN,
    503: _AGAIN,
}

_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same call with the same key creates nothing more, and is answered the same.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_KEY_LENGTH,
        "examples": ["5b0e0c6e-1-anne"],
    },
}
_FORMATS = {
    "Link": {"type": "string", "examples": ['<https://invite.example.org/v1/invites?cursor=…>; rel="next"']},
    "Location": {"type": "string", "format": "uri-reference"},
    "Retry-After": {"type": "string"},
    "Remote-User": {"type": "string"},
    "X-Invites-Left": {"type": "string", "pattern": "^[0-9]+$"},
}
_SOMETIMES = ("Link", "X-Invites-Left")


def describe(routes: Mapping[Any, Sequence[Route]], settings: Settings) -> Object:
    """The OpenAPI document of the map, for the place that these settings are about."""
    schemas, paths = Schemas(), dict[str, Object]()
    for dialect, rows in routes.items():
        for row in rows:
            for method in row.methods.split():
                call = Operation(dialect, row, method, schemas, settings)
                paths.setdefault(call.path, {})[method.lower()] = call.described()
    return {
        "openapi": "3.1.0",
        "info": {"title": "invite-api", "version": version("invite-api"), "description": _ABOUT},
        "servers": [{"url": settings.public_url}],
        "tags": [_tag(each) for each in routes],
        "paths": paths,
        "components": {"schemas": schemas.named, "securitySchemes": _schemes(settings)},
    }


def _tag(dialect: Any) -> Object:
    name = _name(dialect)
    heading = {"x-displayName": HEADINGS[name]} if name in HEADINGS else {}
    return {"name": TITLES[name], **heading, "description": _first(dialect.__doc__)}


_ABOUT = (
    "The API of this service, /v1, and three public invite APIs on the same invites: an invite that is created in one "
    "can be viewed, checked and used in all. A body is JSON in UTF-8, of at most 64 KiB. Unknown fields are ignored; "
    "/v1 refuses them. A call beyond its rate limit is answered 429, with Retry-After. A limit of 10/minute "
    "120/invite: an address may call 10 times a minute; beyond that, calls that show an active invite are still "
    "answered, up to 120 a minute for that invite."
)


@dataclass(frozen=True)
class Operation:
    """One method of one row of the map."""

    dialect: Any
    row: Route
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
        """The shapes that its view takes, by where they come from."""
        return contract.taken_by(self.row.view)

    @property
    def answers(self) -> list[Answer]:
        """What it answers when it does not refuse."""
        return contract.answers(self.row.view) if self.statuses else contract.pages(self.row.view)

    def described(self) -> Object:
        """The operation."""
        view, who = self.row.view, WHO[self.row.guard]
        summary, _, more = cleandoc(view.__doc__ or "").partition("\n")
        body = self.body()
        return {
            "operationId": "_".join(re.findall("[a-z0-9_]+", f"{self.method.lower()} {self.path}")),
            "tags": [TITLES[_name(self.dialect)]],
            "summary": summary,
            **({"description": more.strip()} if more.strip() else {}),
            **({"deprecated": True} if contract.is_deprecated(view) else {}),
            "x-who": who.called,
            "x-limit": self.row.limit,
            "security": list(who.shows),
            "parameters": list(self.parameters()),
            **({"requestBody": body} if body else {}),
            "responses": {str(status): response for status, response in self.responses()},
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
        if contract.creates_once(self.row.view):
            yield _IDEMPOTENCY_KEY
        for source in ("query",) if self.body() else ("query", "parameters"):  # never the same in the query and a body
            for name, schema in self._members(source).items():
                yield {"name": name, "in": "query", "schema": schema}

    def _members(self, source: str) -> Object:
        return Schemas().members(self.taken[source]) if source in self.taken else {}

    def body(self) -> Object:
        """The request's body; nothing where there is none."""
        taken = self.taken
        for source in {"body", "given"} & set(taken):
            return {"required": True, "content": {JSON: self._content(self.schemas.of(taken[source]))}}
        if "form" in taken:
            return {"required": True, "content": {FORM: self._content(self.schemas.of(taken["form"]))}}
        if "parameters" in taken and self.method == "POST":
            schemas = {FORM: self.schemas.of_form(taken["parameters"]), JSON: self.schemas.of(taken["parameters"])}
            return {"required": False, "content": {media: self._content(each) for media, each in schemas.items()}}
        return {}

    def _content(self, schema: Object) -> Object:
        return {"schema": schema, "example": self.schemas.example(schema, sparse=True)}

    def responses(self) -> Iterator[tuple[int | str, Object]]:
        """All that it can answer, by status."""
        for answer in self.answers:
            yield answer.status, self._answered(answer)
        if self.statuses is None:
            said = "A page that says what is wrong and what to do; a form is shown again."
            yield "default", {"description": said, "content": {HTML: {"schema": {"type": "string"}}}}
            return
        by_status: dict[int, dict[str, Error]] = {}
        for status, error in self.refused(self.statuses):
            by_status.setdefault(status, {})[errors.code(error)] = error
        for status in sorted(set(by_status) - {answer.status for answer in self.answers}):
            yield status, self._refused(status, by_status[status])

    def _answered(self, answer: Answer) -> Object:
        told: Object = {"description": _phrase(answer.status)}
        if answer.header:
            told["headers"] = {
                answer.header: {"required": answer.header not in _SOMETIMES, "schema": _FORMATS[answer.header]}
            }
        if not answer.media.startswith(("text/", JSON)):  # what makes typed clients stumbles over a picture
            told["description"] += f": {answer.media}"
        elif answer.shape:
            schema = self.schemas.of(answer.shape)
            example = {} if answer.media != JSON else {"example": self.schemas.example(schema)}
            told["content"] = {answer.media: {"schema": schema, **example}}
        return told

    def _refused(self, status: int, by_code: Mapping[str, Error]) -> Object:
        noted = contract.refused_by(self.row.view).values()
        shape = next((each.shape for each in noted if each.shape), errors.ErrorBody)
        valid = {"valid": False} if "valid" in shape.__annotations__ else {}
        header = _AGAIN if refusals.InviteHeld.code in by_code else _HEADERS.get(status, {})
        examples = {code: {"value": {**valid, **errors.body(error)}} for code, error in by_code.items()}
        content = {JSON: {"schema": self.schemas.of(shape), "examples": examples}}
        if refusals.AppNotFound.code in by_code:  # a browser that opens a page gets one
            content[HTML] = {"schema": {"type": "string"}}
        return {"description": _phrase(status), **({"headers": header} if header else {}), "content": content}

    def refused(self, statuses: Mapping[type[Refusal], int]) -> Iterator[tuple[int, Error]]:
        """Every error that it may answer, with its status."""
        row, noted = self.row, contract.refused_by(self.row.view)
        every: list[type[Refusal]] = [refusals.Invalid, *WHO[row.guard].refused, *self._circumstances(), *noted]
        for refusal in every:
            yield contract.status_of(refusal, row.view, statuses), self._sample(refusal)
        for error in self._http_errors():
            yield error.code or 500, error

    def _sample(self, refusal: type[Refusal]) -> Refusal:
        if refusal is refusals.InviteNotFound:
            return refusals.InviteNotFound(by_id="<invite_id>" in self.row.path)
        if refusal is not refusals.Invalid:
            return _SAMPLES.get(refusal) or refusal()
        if refusal is refusals.UnknownField:
            return refusals.UnknownField(refusals.problem("nmae", "unknown", "is unknown; did you mean name?"))
        for member in self._members("body"):
            return refusals.Invalid.at(member, "required", "is missing")
        return refusals.Invalid.at("is_admin", "forbidden", "cannot be set from outside")

    def _circumstances(self) -> Iterator[type[Refusal]]:
        if COOKIE in WHO[self.row.guard].shows and self.method not in ("GET", "OPTIONS"):
            yield refusals.CrossSite
        if self.row.limit:
            yield refusals.RateLimited
        if contract.creates_once(self.row.view):
            yield from (refusals.IdempotencyKeyReused, refusals.LinkLost)
        if getattr(self.dialect, "STRICT", False):
            yield refusals.UnknownField

    def _http_errors(self) -> Iterator[HTTPException]:
        yield exceptions.BadRequest("A JSON object is needed, such as {}.")
        if "<" in self.row.path:
            yield exceptions.NotFound()
        yield exceptions.MethodNotAllowed(self.row.methods.split())
        yield exceptions.RequestEntityTooLarge()
        if {"body", "given", "parameters"} & set(self.taken):
            yield exceptions.UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
        yield exceptions.InternalServerError()
        if self.row.work is not Work.ALONE:
            yield exceptions.ServiceUnavailable()

    def curl(self) -> str:
        """A line for the shell that makes this call."""
        body = self.body()
        media, content = next(iter(body["content"].items())) if body else ("", {})
        method = [] if self.method == ("POST" if body else "GET") else ["-X", self.method]
        shown = [*method, *self._credentials()]
        return curl.line(shown, media, content.get("example"), self._url())

    def _credentials(self) -> Sequence[str]:
        first = next(iter(WHO[self.row.guard].shows[0]), "")
        return ("-H", f"Authorization: Bearer {_SHOWN[first]}") if first in _SHOWN else ()

    def _url(self) -> str:
        facts = {
            each["name"]: self.schemas.example(each["schema"]) for each in self.parameters() if each["in"] == "path"
        }
        return self.settings.public_url + self.path.format(**{name: quote(str(fact)) for name, fact in facts.items()})


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


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _name(dialect: Any) -> str:
    return str(dialect.__name__).rpartition(".")[2]


def _first(text: str) -> str:
    """The first line of a docstring, without what would be markup elsewhere."""
    return cleandoc(text).partition("\n")[0]
