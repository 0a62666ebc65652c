"""Where a visit goes on after its forms: to a page of ours, or back to the app behind the gate that has sent it here.

It is the `then` of an address or a form, and stands in every form of the pages between. A browser forbids a form to
lead to another origin, be it after several redirects, unless its page names that in its Content-Security-Policy.
"""

import re
from urllib.parse import urlencode

from flask import Response, g
from werkzeug.exceptions import HTTPException

from rules import gate, way_in
from rules.gate import App
from rules.refusals import ProjectNotFound
from rules.way_in import Visit
from web import requests

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_PAGE = re.compile(r"/(account|admin|invites|verify)(/[a-z0-9-]+)*/?", re.ASCII)
_TO_APP = re.compile(r"/pass/([^/?]+)\?([\w.-]+)", re.ASCII)
_APP = re.compile(r"/pass/([a-z0-9-]+)", re.ASCII)  # the page of an app, without a visit that goes back there


def path() -> str:
    """Where this visit goes on, as a path of ours; "" if it does not say so, or names something else."""
    if "then" not in g:
        said = _requested_path()
        g.then = said if _PAGE.fullmatch(said) or _APP.fullmatch(said) or _visit(said) else ""
    return str(g.then)


def set_path(page: str) -> None:
    """Have the forms of this page lead to the page at this path."""
    g.then = page


def visit() -> Visit | None:
    """The app behind the gate to which this visit goes back; None for all other visits."""
    return _visit(path())


def app() -> App | None:
    """The app to which this visit goes; if it is no longer there, the visit goes on as if it had never been named."""
    found, page = visit(), _APP.fullmatch(path())
    try:
        if found:
            return gate.app(found.slug, found.origin)
        return gate.app(page[1]) if page else None
    except ProjectNotFound:
        set_path("")
        return None


def destination() -> str:
    """Where this visit goes on, as `path`; "" also for an app that is no longer there."""
    app()
    return path()


def onward(page: str) -> str:
    """The path of a page of ours, with what leads on from it to the app to which this visit goes back, if to any."""
    return added(page) if _is_to_app() else page


def added(page: str) -> str:
    """The path of a page of ours, with where this visit goes on, if it goes anywhere."""
    return f"{page}{'&' if '?' in page else '?'}{urlencode({'then': path()}, safe='/')}" if path() else page


def note_form() -> None:
    """Note that the answer is a page with forms, which may lead back to the app."""
    if found := visit():
        requests.context().leads_to = found.origin


def allow(response: Response) -> None:
    """Have the answer, which is such a page, permit its forms to lead to the app."""
    policy = POLICY.replace("form-action 'self'", f"form-action 'self' {requests.context().leads_to}")
    response.headers.setdefault("Content-Security-Policy", policy)


def _is_to_app() -> bool:
    return bool(visit() or _APP.fullmatch(path()))


def _requested_path() -> str:
    sent = requests.current()
    if sent.method != "POST" and b"then=" not in sent.query_string:  # to parse it takes as long as a look-up
        return ""
    try:
        return str((sent.form if sent.method == "POST" else sent.args).get("then", ""))
    except (HTTPException, UnicodeDecodeError):  # what cannot be read is refused elsewhere
        return ""


def _visit(page: str) -> Visit | None:
    found = _TO_APP.fullmatch(page)
    named = way_in.of_state(found[2]) if found else None
    return named if named and found and named.slug == found[1] else None
