"""The description of the API: for programs as it is, for people as a page.

The page is in English, as the description is from which it is made.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flask import Response, current_app

from web import curl, html
from web.contract import Document
from web.replies import dumps
from web.schemas import Object

KEPT = {"Cache-Control": "public, max-age=300"}
# What any call may be refused with: it is said once.
COMMON = {
    "BAD_REQUEST",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "REQUEST_ENTITY_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "RATE_LIMITED",
    "INTERNAL_SERVER_ERROR",
    "SERVICE_UNAVAILABLE",
    "OVERLOADED",
}
FIRST = ("v1", "Holds", "Prosody", "Agentbot", "HitKey")  # tags that the page shows before all others
_KEY = ("-H", "Authorization: Bearer {key}")
# What the page begins with: what one does, what comes of it, and the options, body and path of the call.
_ACTS: tuple[tuple[str, str, tuple[str, ...], Any, str], ...] = (
    (
        "Create",
        "An invite that two people can use. The answer has its `id`, `link` and `token`.",
        _KEY,
        {"note": "Tea Garden", "max_uses": 2},
        "/v1/invites",
    ),
    (
        "Check",
        "Whether a token is valid. This needs no key and changes nothing.",
        (),
        {"token": "{token}"},
        "/api/invites/verify",
    ),
    (
        "Use",
        "Use the invite for a guest whose account your own program keeps. `subject` is what it calls the guest.",
        _KEY,
        {"token": "{token}", "subject": "anne", "complete": True},
        "/v1/holds",
    ),
    ("Revoke", "The link stops working.", ("-X", "POST", *_KEY), None, "/v1/invites/{id}/revoke"),
)
_PLAIN = {
    "string": "text",
    "integer": "whole number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
    "array": "list",
}


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
        """The document as JSON."""
        return dumps(self.document)

    @cached_property
    def page(self) -> Object:
        """What the page shows of the document: see `facts`."""
        return facts(self.document)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query or the path, or a field of a body."""

    name: str
    kind: str
    needed: bool
    description: str


@dataclass(frozen=True)
class Outcome:
    """An answer: what it may look like, and the codes of what is refused with it, each with its sentence."""

    status: str
    phrase: str
    header: str
    example: str
    codes: Mapping[str, str]


@dataclass(frozen=True)
class Operation:
    """One call of the API, as the page shows it."""

    method: str
    path: str
    facts: Mapping[str, Any]
    parameters: list[Parameter]
    media: list[str]
    members: list[Parameter]
    answers: list[Outcome]

    @property
    def anchor(self) -> str:
        """Where on the page it is."""
        return str(self.facts["operationId"])

    @property
    def refusals(self) -> list[tuple[str, str, str]]:
        """Status, code and sentence of what this call may be refused with, and not every call."""
        rows = [(each.status, code, text) for each in self.answers for code, text in each.codes.items()]
        return [each for each in rows if each[1] not in COMMON]

    @property
    def curl(self) -> str:
        """A line for the shell."""
        return "".join(each["source"] for each in self.facts.get("x-codeSamples", ()))


def document() -> Document:
    """This description, in OpenAPI 3.1."""
    return Response(current_app.extensions["openapi"].text, headers=KEPT, mimetype="application/json")


def show() -> str:
    """This description, as a page."""
    return html.english("docs.html", **current_app.extensions["openapi"].page)


def facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of an OpenAPI document: its calls by tag, and what every call may refuse."""
    calls = [_operation(document, *each) for each in _operations(document)]
    tags = sorted(document["tags"], key=lambda tag: (*FIRST, tag["name"]).index(tag["name"]))  # else in their order
    groups = [(tag, [each for each in calls if tag["name"] in each.facts["tags"]]) for tag in tags]
    said = {(told.status, code): text for each in calls for told in each.answers for code, text in told.codes.items()}
    common = [(status, code, text) for (status, code), text in sorted(said.items()) if code in COMMON]
    shown = [{"place": _place(each), **each} for each in document["components"]["securitySchemes"].values()]
    acts = list(_acts(document["servers"][0]["url"]))
    return {"info": document["info"], "acts": acts, "groups": groups, "common": common, "shown": shown}


def _acts(address: str) -> Iterator[tuple[str, str, str]]:
    """What one does, what comes of it, and a line for the shell, with {key}, {token} and {id} to be replaced."""
    for act, outcome, options, body, path in _ACTS:
        media = "application/json" if body else ""
        yield act, outcome, curl.line(options, media, body, address + path)


def _place(scheme: Mapping[str, Any]) -> str:
    """Where the credentials of a security scheme stand."""
    return "Authorization: Bearer" if scheme["type"] == "http" else f"{scheme['name']}, {scheme['in']}"


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _operation(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    content = operation.get("requestBody", {}).get("content", {})
    schemas = document["components"]["schemas"]
    return Operation(
        method,
        path,
        operation,
        [_parameter(each["name"], each["schema"], each.get("required", False)) for each in operation["parameters"]],
        list(content),
        [each for body in list(content.values())[:1] for each in _members(schemas, body["schema"])],
        [_outcome(status, answer) for status, answer in operation["responses"].items()],
    )


def _members(schemas: Mapping[str, Any], reference: Mapping[str, Any]) -> Iterator[Parameter]:
    schema = schemas[reference["$ref"].rpartition("/")[2]]
    for name, each in schema["properties"].items():
        yield _parameter(name, each, name in schema.get("required", ()))


def _parameter(name: str, schema: Mapping[str, Any], needed: bool) -> Parameter:
    return Parameter(name, _kind(schema), needed, schema.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a schema, in words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    kinds = schema.get("type", "object")
    return " or ".join(_PLAIN[each] for each in ([kinds] if isinstance(kinds, str) else kinds))


def _outcome(status: str, answer: Mapping[str, Any]) -> Outcome:
    body = answer.get("content", {}).get("application/json", {})
    example = json.dumps(body["example"], indent=2, ensure_ascii=False) if "example" in body else ""
    codes = {code: each["value"]["error"] for code, each in body.get("examples", {}).items()}
    return Outcome(status, answer["description"], next(iter(answer.get("headers", ())), ""), example, codes)
