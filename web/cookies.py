"""The browser's cookies: the one that says who is signed in, one to know a visitor's forms by, those of apps.

And the language that a visitor has chosen.
"""

from datetime import timedelta
from typing import Any

from flask import Response, g, request

import clock
from rules import sessions
from settings import settings

VISIT = "invite-visit"  # needed over plain http only, so that no name or attribute that asks for https fits
LANGUAGE = "invite-language"
FLAG = "entered"  # in the address to which signing in leads: when that was, in seconds since 1970
FRESH = 300  # seconds; later the address stands in a bookmark, or was gone back to


def sign_in(response: Response, cookie: str) -> Response:
    """Have this answer, which leads on, sign the browser in with what `sessions.start_in_browser` returned.

    The page to which it leads is told, so that it can say why nobody is signed in if the browser keeps no cookie.
    """
    where = response.headers["Location"]
    response.headers["Location"] = f"{where}{'&' if '?' in where else '?'}{FLAG}={int(clock.now().timestamp())}"
    lifetime = int(sessions.LIFETIME.total_seconds())
    response.set_cookie(settings().cookie_name, cookie, max_age=lifetime, **_attributes())
    return response


def note() -> dict[str, str]:
    """What the query of this request says about signing in, for an address to which it leads on; {} for nothing."""
    since = _since()
    return {FLAG: since} if since else {}


def was_refused() -> bool:
    """Whether this visitor has just signed in and shows no cookie: the browser has not kept it."""
    since = _since()
    is_stranger = g.get("visitor", "unknown") is None
    return is_stranger and since.isdecimal() and abs(clock.now().timestamp() - int(since[:12])) <= FRESH


def visit() -> str:
    """A text that only this visitor's browser has, for its forms; "" for a browser that says which site a form is of.

    Over plain http none says that, so that another site could sign a visitor in as another person.
    """
    if "Sec-Fetch-Site" in request.headers:
        return ""
    if "visit" not in g:
        g.visit = shown_visit() or clock.random_text(16)
    return str(g.visit)


def shown_visit() -> str:
    """The text in the cookie of a visitor, "" without one."""
    return request.cookies.get(VISIT, "")


def keep_visit(response: Response) -> None:
    """Have the answer with a new visitor's first form give its browser the cookie."""
    if request.method == "GET" and "visit" in g and g.visit != shown_visit():
        response.set_cookie(VISIT, g.visit, **{**_attributes(), "secure": False})


def language() -> str:
    """The code of the language that the visitor has chosen, "" if none was; it is not known to be one of ours."""
    return request.cookies.get(LANGUAGE, "")


def keep_language(response: Response, code: str) -> Response:
    """Have the browser keep the language that its user has chosen, for a year."""
    response.set_cookie(LANGUAGE, code, max_age=int(clock.DAY.total_seconds()) * 365, **_attributes())
    return response


def sign_out(response: Response) -> Response:
    """Have this answer take the cookie away."""
    response.delete_cookie(settings().cookie_name, **_attributes())
    return response


def keep(response: Response, origin: str, name: str, value: str, lifetime: timedelta) -> None:
    """Have the browser keep a cookie at the origin of an app, to whose host alone it belongs."""
    response.set_cookie(name, value, max_age=int(lifetime.total_seconds()), **_attributes(origin))


def drop(response: Response, origin: str, name: str) -> None:
    """Have the browser forget a cookie at the origin of an app."""
    response.delete_cookie(name, **_attributes(origin))


def _since() -> str:
    if FLAG.encode() not in request.query_string:  # to parse it takes as long as a look-up
        return ""
    try:
        return request.args.get(FLAG, "")
    except UnicodeDecodeError:  # a query that is no text; the page says what is wrong with it
        return ""


def _attributes(origin: str | None = None) -> dict[str, Any]:
    is_safe = (origin or settings().origin).startswith("https:")
    return {"path": "/", "secure": is_safe, "httponly": True, "samesite": "Lax"}
