"""For whoever runs the service, and for addresses that are nobody's: plain JSON."""

from collections.abc import Mapping
from typing import Annotated

from flask import Response, current_app, jsonify
from werkzeug.exceptions import HTTPException

from dialects import shapes, wire
from dialects.contract import Answer
from rules.refusals import Refusal

HEADERS: Mapping[str, str] = wire.HEADERS
RETRY_AFTER = 5  # seconds

STATUS = wire.STATUS

Readiness = Annotated[Response, Answer(200, shapes.Ready), Answer(503, shapes.NotReady, header="Retry-After")]
Page = Annotated[Response, Answer(200, str, "text/plain")]


def health(caller: None) -> shapes.Health:  # noqa: ARG001
    """The process answers. It says nothing about the database."""
    return {"status": "ok"}


def ready(caller: None) -> Readiness:  # noqa: ARG001
    """Whether the service can do its work; if not 503, with what is wrong by the name of each check."""
    checks = current_app.extensions["invite_api"].readiness.look()
    well = all(each == "ok" for each in checks.values())
    answer = jsonify(status="ready" if well else "not ready", checks=checks)
    if not well:
        answer.status_code = 503
        answer.headers["Retry-After"] = str(RETRY_AFTER)
    return answer


def metrics(caller: object) -> Page:  # noqa: ARG001
    """What the service counts, in Prometheus' text format."""
    page = current_app.extensions["invite_api"].metrics.page()
    return Response(page, content_type="text/plain; version=0.0.4; charset=utf-8")


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``"""
    return wire.refusal(error, STATUS)
