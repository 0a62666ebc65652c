"""The description of the API: for programs as it is, for people as a page.

The page is in English, whoever reads it: so is what it is made from.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app

from dialects import html
from dialects.contract import Document
from rules.sessions import SignedIn

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
_PLAIN = {"string": "text", "integer": "whole number", "boolean": "true or false", "null": "null", "object": "object"}


@dataclass(frozen=True)
class Member:
    """A parameter, or a member of a body."""

    name: str
    kind: str
    needed: bool
    said: str


@dataclass(frozen=True)
class Told:
    """An answer: what it may look like, and the codes of what is refused with it, each with its sentence."""

    status: str
    phrase: str
    header: str
    example: str
    codes: Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """One call."""

    method: str
    path: str
    facts: Mapping[str, Any]
    parameters: list[Member]
    media: list[str]
    members: list[Member]
    answers: list[Told]

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


def document(caller: None) -> Document:  # noqa: ARG001
    """This description, in OpenAPI 3.1."""
    return Response(_description().text, headers=KEPT, mimetype="application/json")


def show(caller: SignedIn | None) -> str:  # noqa: ARG001
    """This description, as a page."""
    return html.english("docs.html", **_description().page)


def facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of an OpenAPI document: its calls by tag, and what every call may refuse."""
    calls = [_call(document, *each) for each in _operations(document)]
    groups = [(tag, [each for each in calls if tag["name"] in each.facts["tags"]]) for tag in document["tags"]]
    said = {(told.status, code): text for each in calls for told in each.answers for code, text in told.codes.items()}
    common = [(status, code, text) for (status, code), text in sorted(said.items()) if code in COMMON]
    shown = [{"place": _place(each), **each} for each in document["components"]["securitySchemes"].values()]
    return {"info": document["info"], "groups": groups, "common": common, "shown": shown}


def _place(scheme: Mapping[str, Any]) -> str:
    """Where the credentials of a security scheme stand."""
    return "Authorization: Bearer" if scheme["type"] == "http" else f"{scheme['name']}, {scheme['in']}"


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield method.upper(), path, operation


def _call(document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> Call:
    content = operation.get("requestBody", {}).get("content", {})
    schemas = document["components"]["schemas"]
    return Call(
        method,
        path,
        operation,
        [_member(each["name"], each["schema"], each.get("required", False)) for each in operation["parameters"]],
        list(content),
        [each for body in list(content.values())[:1] for each in _members(schemas, body["schema"])],
        [_told(status, answer) for status, answer in operation["responses"].items()],
    )


def _members(schemas: Mapping[str, Any], reference: Mapping[str, Any]) -> Iterator[Member]:
    schema = schemas[reference["$ref"].rpartition("/")[2]]
    for name, each in schema["properties"].items():
        yield _member(name, each, name in schema.get("required", ()))


def _member(name: str, schema: Mapping[str, Any], needed: bool) -> Member:
    return Member(name, _kind(schema), needed, schema.get("description", ""))


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a schema, in words."""
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    kinds = schema.get("type", "object")
    return " or ".join(_PLAIN[each] for each in ([kinds] if isinstance(kinds, str) else kinds))


def _told(status: str, answer: Mapping[str, Any]) -> Told:
    body = answer.get("content", {}).get("application/json", {})
    example = json.dumps(body["example"], indent=2, ensure_ascii=False) if "example" in body else ""
    codes = {code: each["value"]["error"] for code, each in body.get("examples", {}).items()}
    return Told(status, answer["description"], next(iter(answer.get("headers", ())), ""), example, codes)


def _description() -> Any:
    return current_app.extensions["openapi"]


VIEWS = document, show  # the first time they take long
