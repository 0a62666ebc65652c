"""The Flask application: the map of the API, and `answer`, which every request passes."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy
from flask import Flask, Response, current_app, g, request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.exceptions import (
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
)

import clock
import config
import database
import flood
import guards
import logs
from config import CHECKOUT, Settings
from dialects import ops, pages, prosody
from models import Base
from rules.refusals import Refusal
from rules.tokens import digest

LARGEST_BODY = 64 * 1024
RETRY_AFTER = 5

db = SQLAlchemy(metadata=Base.metadata)


class Unit(Enum):
    """What a row of the map does to the database."""

    READS = "reads"
    WRITES = "writes"
    ALONE = "does without"


class Route(NamedTuple):
    """A row of the map. `prepare` runs before the view, with no unit of work open, and feeds it."""

    methods: str
    path: str
    view: Callable[..., Any]
    guard: Callable[[], Any]
    limit: str | None
    unit: Unit
    prepare: Callable[[], Any] | None = None


READS, WRITES, ALONE = Unit.READS, Unit.WRITES, Unit.ALONE
anyone, api_key = guards.anyone, guards.api_key

# dialect: methods, path, view, who may call, how often, what it does to the database
# fmt: off
ROUTES: dict[Any, list[Route]] = {
    prosody: [
        Route("GET POST", "/invites_api", prosody.create_invite,   api_key, "600/minute", WRITES),
        Route("OPTIONS",  "/invites_api", prosody.preflight,       anyone,  "600/minute", ALONE),
    ],
    pages: [
        Route("GET",      "/",            pages.home,              anyone,  "120/minute", ALONE),
        Route("POST",     "/code",        pages.enter_code,        anyone,  "120/minute", ALONE),
        Route("GET",      "/invite",      pages.invitation,        anyone,  "120/minute", READS),
        Route("GET",      "/register",    pages.show_registration, anyone,  "120/minute", READS),
        Route("POST",     "/register",    pages.register,          anyone,  "10/minute",  WRITES,
              prepare=pages.read_registration),
    ],
    ops: [
        Route("GET",      "/health",      ops.health,              anyone,  None,         ALONE),
    ],
}
# fmt: on


class House(NamedTuple):
    """What one running service consists of."""

    settings: Settings
    database: database.Database
    flood: flood.Flood


def create_app(settings: Settings | None = None) -> Flask:
    """The service as a WSGI application, over the database its settings name.

    Raises ConfigError or Unavailable, with a sentence for the operator, if it cannot start.
    """
    settings = settings or config.load()
    app = Flask(
        "invite_api",
        instance_path=str(settings.instance),
        root_path=str(CHECKOUT),
        static_folder=str(CHECKOUT / "static"),
        template_folder=str(CHECKOUT / "templates"),
    )
    app.config.update(
        MAX_CONTENT_LENGTH=LARGEST_BODY,
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS=database.ENGINE_OPTIONS,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.jinja_env.globals.update(
        site_name=settings.site_name, root=settings.root, password_min_length=settings.password_min_length
    )
    app.jinja_env.filters.update(moment=_moment, host=lambda url: urlsplit(url).netloc)
    _ = settings.secrets  # a key file that cannot be read is found now, not at the first invite
    house = House(settings, database.open_database(settings, lambda: _engine(app)), flood.Flood(settings.limits))
    app.extensions["invite_api"] = house
    _draw(app, house)
    return app


def answer(house: House, dialect: Any, route: Route) -> Callable[..., Response]:
    """What Flask calls for a row of the map: limits, one unit of work, the guard, the view, or a refusal."""
    units: dict[Unit, Callable[[], AbstractContextManager[Any]]] = {
        READS: house.database.reading,
        WRITES: house.database.writing,
        ALONE: nullcontext,
    }
    unit = units[route.unit]

    def respond(**path: str) -> Response:
        with config.using(house.settings):
            try:
                _refuse_size()
                return _finish(dialect, _work(house, route, unit, path))
            except Exception as error:
                return _finish(dialect, dialect.refusal(_explained(error)))

    return respond


def _work(
    house: House, route: Route, unit: Callable[[], AbstractContextManager[Any]], path: dict[str, str]
) -> Response:
    name = f"{route.methods} {route.path}"
    address = flood.neighbourhood(g.client)
    credential = None if route.guard is guards.anyone else guards.credential()
    house.flood.spend(route.limit, name, address, digest(credential or ""))
    prepared = (route.prepare(),) if route.prepare else ()
    admitted = False
    try:
        with unit():
            caller = route.guard()
            admitted = True
            return current_app.make_response(route.view(caller, *prepared, **path))
    except Refusal:
        if not admitted:  # whoever tries one key after another meets the limit too
            house.flood.spend(route.limit, name, address, "refused")
        raise


def _explained(error: Exception) -> Refusal | HTTPException:
    """An error that a dialect can put into words; what nobody foresaw is logged, and only there."""
    if isinstance(error, Refusal | HTTPException):
        return error
    if isinstance(error, database.Unavailable):
        logs.log.error("the database cannot be used: %s", error, extra={"facts": {"route": _template()}})
        return ServiceUnavailable(retry_after=RETRY_AFTER)
    logs.log.error("an error nobody foresaw", exc_info=error, extra={"facts": {"route": _template()}})
    return InternalServerError()


def _finish(dialect: Any, response: Response) -> Response:
    response.headers.extend({k: v for k, v in dialect.HEADERS.items() if k not in response.headers})
    return response


def _refuse_size() -> None:
    if (request.content_length or 0) > LARGEST_BODY:
        raise RequestEntityTooLarge


def _draw(app: Flask, house: House) -> None:
    """Put the map into the application, and what surrounds every request."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    home: dict[str, Any] = {}
    for dialect, routes in ROUTES.items():
        for route in routes:
            endpoint = f"{route.methods} {route.path}"
            app.add_url_rule(
                route.path,
                endpoint,
                answer(house, dialect, route),
                methods=route.methods.split(),
                provide_automatic_options=False,
            )
            home[endpoint] = dialect
            if route.unit is WRITES:  # Flask would answer HEAD by making an invite
                for rule in app.url_map.iter_rules(endpoint):
                    (rule.methods or set()).discard("HEAD")

    def stray(error: Exception) -> Response:
        """What goes wrong before a row of the map is found: told by the dialect it was meant for."""
        dialect = home.get(_meant(app, error), pages if _browser() else ops)
        with config.using(house.settings):
            return _finish(dialect, dialect.refusal(_explained(error)))

    app.register_error_handler(Exception, stray)
    app.before_request(lambda: _arrive(house.settings))
    app.after_request(_depart)


def _meant(app: Flask, error: Exception) -> str:
    """The endpoint that lives at this address under another method."""
    if isinstance(error, MethodNotAllowed):
        for method in error.valid_methods or ():
            try:
                rule, _ = app.url_map.bind("").match(request.path, method=method, return_rule=True)
            except (NotFound, MethodNotAllowed):
                continue
            g.template = rule.rule
            return str(rule.endpoint)
    return ""


def _browser() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _engine(app: Flask) -> sqlalchemy.Engine:
    db.init_app(app)
    with app.app_context():
        return db.engine


def _moment(value: Any) -> str:
    """A moment for people, in UTC: 28 November 2026, 09:05 UTC."""
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def _arrive(settings: Settings) -> None:
    g.started = clock.ticks()
    forwarded = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
    g.client = flood.client_address(request.remote_addr or "", forwarded, settings.trusted_proxies)


def _template() -> str:
    """The route's template, never the address itself: it may have a secret in it."""
    return g.get("template") or (request.url_rule.rule if request.url_rule else "unknown")


def _depart(response: Response) -> Response:
    response.status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"  # not in capitals
    facts = {
        "method": request.method,
        "route": _template(),
        "status": response.status_code,
        "ms": round((clock.ticks() - g.started) * 1000, 1),
        "client": g.client,
    }
    logs.access.info("request", extra={"facts": facts})
    return response
