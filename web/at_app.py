"""Pages at the host of an app behind the gate: they load nothing from that host, since the app may be anything."""

from flask import Response, make_response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from rules import gate
from rules.refusals import AppNotFound, Refusal
from web import errors, html

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def page(kind: str, **facts: str) -> Response:
    """A page of templates/gate/at_app.html, which says nothing of who reads it; its status is 400."""
    response = make_response(html.page("gate/at_app.html", kind=kind, **facts), 400)
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def refused(error: Refusal | HTTPException) -> Response:
    """What went wrong, as a page; where there is no app, with the origin for which a visitor has asked."""
    if isinstance(error, AppNotFound) and error.origin:
        made = page("missing", title=html.title(error), origin=error.origin)
    else:
        made = page("refused", title=html.title(error), sentence=html.sentence(error))
    return errors.with_status(made, error, html.STATUS)


def explained(error: Refusal | HTTPException, sent: Headers) -> Refusal | HTTPException:
    """The same error, with the origin that a request asks for where no app is there."""
    if not isinstance(error, AppNotFound):
        return error
    return gate.not_found(sent.get("X-Forwarded-Host", ""), sent.get("X-Forwarded-Proto", ""))
