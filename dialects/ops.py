"""For whoever runs the service, and for addresses that are nobody's: plain JSON."""

from collections.abc import Mapping

from flask import Response
from werkzeug.exceptions import HTTPException

from dialects import shapes, wire
from rules.refusals import Refusal

HEADERS: Mapping[str, str] = wire.HEADERS

STATUS = wire.STATUS


def health(caller: None) -> shapes.Health:  # noqa: ARG001
    """The process answers. It says nothing about the database."""
    return {"status": "ok"}


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``"""
    return wire.refusal(error, STATUS)
