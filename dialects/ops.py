"""The operator's calls, and the answers at addresses that no dialect has: plain JSON."""

from collections.abc import Mapping
from typing import Annotated

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException

from dialects.shapes import ops as shapes
from rules.refusals import Refusal
from web import errors
from web.answer import running
from web.contract import Answer
from web.requests import RETRY_AFTER

HEADERS: Mapping[str, str] = errors.HEADERS

STATUS = errors.STATUS

Readiness = Annotated[Response, Answer(200, shapes.Ready), Answer(503, shapes.NotReady, header="Retry-After")]
Page = Annotated[Response, Answer(200, str, "text/plain")]


def health() -> shapes.Health:
    """The process answers. It says nothing about the database."""
    return {"status": "ok"}


def ready() -> Readiness:
    """Whether the service can do its work; if not 503, with what is wrong by the name of each check."""
    checks = running().readiness.look()
    well = all(each == "ok" for each in checks.values())
    answer = jsonify(status="ready" if well else "not ready", checks=checks)
    if not well:
        answer.status_code = 503
        answer.headers["Retry-After"] = str(RETRY_AFTER)
    return answer


def metrics() -> Page:
    """What the service counts, in Prometheus' text format."""
    page = running().metrics.page()
    return Response(page, content_type="text/plain; version=0.0.4; charset=utf-8")


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``"""
    return errors.refusal(error, STATUS)
