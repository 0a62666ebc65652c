"""The gate: what a reverse proxy asks before each request to an app that only members of a project use.

nginx asks by auth_request, Caddy by forward_auth, Traefik by forwardAuth. 200 lets the request pass, and says who sends
it; everything else does not. Which app is meant stands in the path. X-Forwarded-Host, -Uri and -Method are taken from
anyone: they only choose among the origins of the project, and where at one of these a browser goes on.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated
from urllib.parse import quote

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from dialects.shapes import gate as shapes
from dialects.shapes.values import Slug
from rules import gate, way_in
from rules.gate import Admitted
from rules.refusals import AppNotFound, NotProjectMember, PassNeeded, Refusal
from web import at_app, errors, requests
from web.contract import Answer, refuses

HEADERS: Mapping[str, str] = {**errors.HEADERS, "Vary": "*"}

STATUS = errors.STATUS

Decided = Annotated[Response, Answer(200, header="Remote-User"), Answer(302, header="Location")]

_SECRET = re.compile(r"(bearer|basic)[ ]+(\S+)", re.IGNORECASE)
_OURS = re.compile(r"\s*(__Host-)?invite[-.]")
_HTML = "text/html"
_PRINTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_PLAIN = re.compile("[ -$&-~]*")  # the same, for what needs no encoding, as most do not
# Programs that speak WebDAV ask for a password only when they are told that one will do; a browser would show a window.
_WEBDAV = frozenset(
    "PROPFIND REPORT OPTIONS PROPPATCH MKCOL MKCALENDAR COPY MOVE LOCK UNLOCK ACL SEARCH".split()  # noqa: SIM905
)


@refuses(PassNeeded, NotProjectMember, AppNotFound)
def ask(slug: Slug, flags: shapes.Asked) -> Decided:
    """Decide whether the sender of a request may use the app of a project. Any method is taken.

    200 with Remote-User, Remote-Name, Remote-Email and Remote-Groups, or 401 or 403; with `redirect` 302 in place of
    these for a browser that opens a page, to where it gets a pass. With `cookies` 200 has the request's own cookies,
    but none of ours: for a proxy that cannot take these out itself.
    """
    sent = requests.current()
    host = sent.headers.get("X-Forwarded-Host", "")
    try:
        response = _admitted(gate.admit(slug, host, partial(_cookies, sent), list(_secrets(sent))))
    except (PassNeeded, NotProjectMember):
        if flags["redirect"] and (where := _way_in(sent, slug, host)):
            return Response(status=302, headers={"Location": where})
        raise
    if flags["cookies"] and (others := _others(sent.headers.get("Cookie", ""))):
        response.headers["Cookie"] = others
    return response


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, and for programs how they may show a pass.

    A browser that opens a page where no app is gets a page, since proxies hand it on.
    """
    sent = requests.current()
    error = at_app.explained(error, sent.headers)
    if isinstance(error, AppNotFound) and _is_navigation(sent) and _HTML in sent.headers.get("Accept", ""):
        return at_app.refused(error)
    response = errors.refusal(error, STATUS)
    if isinstance(error, PassNeeded):
        response.headers["WWW-Authenticate"] = "Bearer"
        if _method(sent) in _WEBDAV and not {"Sec-Fetch-Mode", "Origin"} & set(sent.headers.keys()):
            slug = (sent.view_args or {})["slug"]
            response.headers.add("WWW-Authenticate", f'Basic realm="{quote(slug)}", charset="UTF-8"')
    return response


def _admitted(who: Admitted) -> Response:
    """The answer that lets a request pass: always with all four headers, so that none of the client's own is left."""
    names = {"Remote-User": who.user, "Remote-Name": who.name, "Remote-Email": who.email, "Remote-Groups": who.role}
    return Response(headers={name: _ascii(value) for name, value in names.items()})


def _ascii(value: str) -> str:
    """A text as a header has it: UTF-8, percent-encoded where it is not ASCII."""
    return value if _PLAIN.fullmatch(value) else quote(value, safe=_PRINTED)


def _cookies(sent: Request, name: str) -> list[str]:
    """All values of a cookie. Werkzeug reads every cookie for that, and takes seven times as long."""
    start = f"{name}="
    pairs = (each.strip(" \t") for each in sent.headers.get("Cookie", "").split(";"))
    return [each[len(start) :] for each in pairs if each.startswith(start)]


def _others(cookies: str) -> str:
    """A Cookie header without what is ours."""
    return "; ".join(each.strip() for each in cookies.split(";") if not _OURS.match(each))


def _secrets(sent: Request) -> Iterator[str]:
    """What could be a program's pass: a bearer token, or a password beside any user name."""
    for name in ("Authorization", "Proxy-Authorization"):
        found = _SECRET.fullmatch(sent.headers.get(name, ""))
        if found and found[1].lower() == "bearer":
            yield found[2]
        elif found:
            yield _password(found[2])


def _password(written: str) -> str:
    try:
        return base64.b64decode(written, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _way_in(sent: Request, slug: str, host: str) -> str | None:
    """Where a browser that opens a page gets a pass; None for every other request, also for one to that address."""
    if not _is_navigation(sent):
        return None
    path = way_in.path(sent.headers.get("X-Forwarded-Uri", "").encode("latin-1", "replace"))
    start = f"/.invite/{slug}/"
    return None if path.startswith(start) else f"{gate.find(slug, host).origin}{start}enter?{path}"


def _is_navigation(sent: Request) -> bool:
    if _method(sent) not in ("GET", "HEAD"):
        return False
    if mode := sent.headers.get("Sec-Fetch-Mode"):
        return mode == "navigate"
    return _HTML in sent.headers.get("Accept", "") and "X-Requested-With" not in sent.headers


def _method(sent: Request) -> str:
    """The method of the request that the proxy asks about."""
    return sent.headers.get("X-Forwarded-Method") or sent.method
