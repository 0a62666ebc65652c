"""Whether answers are as the description of the API says; every answer that the tests' clients get is looked at."""

import copy
from functools import cache, cached_property
from typing import Any

from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, ValidationError
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.test import TestResponse

from app import ROUTES
from settings import load_settings
from web import openapi


class Undescribed(AssertionError):
    """An answer that is not as described."""


class Description:
    """A document of the API, with what checks answers by it; each validator is made once."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validator = cache(self._compiled)

    @cached_property
    def closed(self) -> dict[str, Any]:
        """The components, with no members but those that are described."""
        components = copy.deepcopy(self.document["components"])
        for schema in components["schemas"].values():
            schema["additionalProperties"] = False
        return components

    def check(self, method: str, path: str, response: TestResponse) -> None:
        """Raise Undescribed for a status, a header, a media type or a body that is not described."""
        try:
            self._check(method, path, response)
        except (KeyError, ValidationError) as error:
            said = f"{method} {path} answers {response.status} {response.mimetype}: {response.text[:300]}"
            raise Undescribed(f"{said}; {str(error).splitlines()[0]}") from error

    def _check(self, method: str, path: str, response: TestResponse) -> None:
        calls = self.document["paths"][path]
        known = method.lower() if method.lower() in calls else next(iter(calls))  # refused as that would be
        answers = calls[known]["responses"]
        status = str(response.status_code) if str(response.status_code) in answers else "default"
        for header, said in answers[status].get("headers", {}).items():
            if said.get("required"):
                _ = response.headers[header]
        media = answers[status].get("content")
        if media and media[response.mimetype] and response.is_json and method != "HEAD":
            self._validator(path, known, status).validate(response.json)
            if codes := media[response.mimetype].get("examples"):
                _ = codes[response.json["code"]]

    def _compiled(self, path: str, method: str, status: str) -> Draft202012Validator:
        schema = self.document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
        return Draft202012Validator({**schema, "components": self.closed})


@cache
def ours() -> Description:
    """The description of this service, as it is with no settings."""
    return Description(openapi.describe(ROUTES, load_settings({})))


class Client(FlaskClient):
    """The tests' client."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """One request; its answer is as described. Who wants it a piece at a time gets it so, unseen."""
        response = super().open(*args, **kwargs)
        request, whole = response.request, "buffered" not in kwargs
        preflight = request.method == "OPTIONS" and response.status_code == 204  # the browsers' own, and in no row
        if whole and not preflight and (path := self._template(request.path, request.method)):
            ours().check(request.method, path, response)
        return response

    def _template(self, path: str, method: str) -> str | None:
        """The row of the map that is meant, as the description writes it; None where there is none."""
        urls = self.application.url_map.bind("")
        try:
            rule, _ = urls.match(path, method, return_rule=True)
        except MethodNotAllowed as refused:
            rule, _ = urls.match(path, refused.valid_methods[0], return_rule=True)
        except NotFound:
            return None
        template = rule.rule.replace("<", "{").replace(">", "}")
        return template if template in ours().document["paths"] else None
