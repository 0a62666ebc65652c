"""The way of a browser into an app behind the gate: from the app to a page of ours, and back with a pass.

What stands under ``/.invite/`` is at the app's own host, whose proxy hands it to us: a page there loads nothing from
that host, since the app may be anything, and says nothing of who reads it.
"""

from collections.abc import Mapping

from flask import Response, make_response, request
from werkzeug.exceptions import HTTPException

from dialects.shapes.values import Slug
from rules import gate, sessions, waiting, way_in
from rules.gate import App
from rules.refusals import NotProjectMember, PassNeeded, Refusal
from rules.sessions import SignedIn
from settings import settings
from web import at_app, cookies, errors, html, return_to
from web.html import page

HEADERS: Mapping[str, str] = html.HEADERS

AT_APP = "/.invite/"


def enter(slug: Slug) -> Response:
    """Where the gate leads a browser without a pass: on to us, and what it asked for is kept in a cookie.

    With a good pass it goes on to what it asked for. If it comes back at once, the gate does not get its cookies.
    """
    app, path = _app(slug), way_in.path(request.query_string)
    mark = gate.cookie_name("mark", slug, app.origin)
    if _has_pass(slug):
        if way_in.is_marked(slug, app.origin, path, request.cookies.get(mark, "")):
            return at_app.page("kept")
        response = _led(303, f"{app.origin}{path}")
        cookies.keep(response, app.origin, mark, way_in.mark(slug, app.origin, path), way_in.MARK_LIFETIME)
        return response
    visit = way_in.begin(slug, app.origin)
    response = _led(302, f"{settings().public_url}/pass/{slug}?{way_in.state(visit)}")
    for each in way_in.surplus(slug, app.origin, request.cookies):
        cookies.drop(response, app.origin, each)
    cookies.keep(response, app.origin, visit.cookie, way_in.kept(visit, path), way_in.LIFETIME)
    return response


def done(slug: Slug) -> Response:
    """Give the browser that comes back its pass, and lead it on to what it asked for.

    A browser that has not kept the state gets a page, and is never led anywhere: it could go round in circles.
    """
    app = _app(slug)
    arrived = way_in.finish(slug, app, _query(), request.cookies)
    if arrived is None:
        return at_app.page("lost")
    response = _led(303, f"{app.origin}{arrived.path}")
    cookies.drop(response, app.origin, arrived.visit.cookie)
    name = gate.cookie_name("pass", slug, app.origin)
    cookies.keep(response, app.origin, name, arrived.browser_pass, sessions.LIFETIME)
    return response


def leave(slug: Slug) -> Response:  # noqa: ARG001
    """Lead to the page on which one signs out; nothing is changed by coming here."""
    return _led(303, f"{settings().public_url}/logout")


def show_pass(caller: SignedIn | None, slug: Slug) -> Response | str:
    """Lead a member back to the app with a ticket. Others can sign in, or enter a code, and go on to the app then."""
    state = _query().partition("&")[0]
    visit = way_in.of_state(state)
    app = gate.app(slug, visit.origin if visit else None)
    if visit is None or (visit.slug, visit.origin) != (slug, app.origin):
        return page("gate/over.html", app=app, expired=bool(state) and cookies.FLAG not in request.args)
    if caller and gate.is_member(slug, caller.account):
        return _led(303, f"{app.origin}{AT_APP}{slug}/done?{way_in.ticket(visit, app, caller.session_id)}")
    return_to.set_path(f"/pass/{slug}?{state}")
    if caller is None:
        return page("login.html", token="", app=app)
    awaited = [each for each in waiting.of_account(caller.account.id) if each.invitation.project == slug]
    facts = {"app": app, "awaited": awaited[:1], "email": caller.account.email}
    made = make_response(page("gate/stranger.html", **facts))
    return errors.with_status(made, NotProjectMember(), html.STATUS)


def refusal(error: Refusal | HTTPException) -> Response:
    """What went wrong: at the app's host on a page that stands alone, at ours as on every page."""
    if not request.path.startswith(AT_APP):
        return html.refusal(error)
    return at_app.refused(at_app.explained(error, request.headers))


def _app(slug: str) -> App:
    return gate.find(slug, request.headers.get("X-Forwarded-Host", ""))


def _query() -> str:
    return request.query_string.decode("ascii", "replace")


def _has_pass(slug: str) -> bool:
    """Whether this browser shows a pass with which the gate would let it in."""
    try:
        gate.admit(slug, request.headers.get("X-Forwarded-Host", ""), request.cookies.getlist)
    except (PassNeeded, NotProjectMember):
        return False
    return True


def _led(status: int, where: str) -> Response:
    return Response(status=status, headers={"Location": where})
