"""The Flask application: the map of the API, and `answer`, which every request passes."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

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
import logs
import openapi
from config import CHECKOUT, Settings
from dialects import admin_pages, agentbot, contract, hitkey, html, manual, ops, pages, prosody, wire
from guards import (
    admin,
    admin_form,
    admin_visitor,
    any_form,
    anyone,
    api_key,
    key_or_admin,
    known,
    maybe,
    own_form,
    signed_in,
    visitor,
)
from metrics import Metrics
from models import Base
from readiness import Readiness
from replies import Common, Reply, Service
from rules import accounts, passwords
from rules.refusals import Refusal

Count = Callable[..., None]

LARGEST_BODY = 64 * 1024
RETRY_AFTER = 5

# Flask-SQLAlchemy keeps the engine of each application; the session of a unit of work is database.session().
db = SQLAlchemy(metadata=Base.metadata)


class Unit(Enum):
    """What a row of the map does to the database."""

    READS = "reads"
    WRITES = "writes"
    STREAMS = "reads a chunk at a time"
    ALONE = "does without"


class Dialect(Protocol):
    """A module of dialects/: what all its answers have in their headers, and how it refuses."""

    HEADERS: Mapping[str, str]

    def refusal(self, error: Refusal | HTTPException) -> Response:
        """The answer that says an error in this dialect's words and status."""


class Route(NamedTuple):
    """A row of the map.

    Two steps may run before the view: `spend`, with the caller, in a unit of work of its own that is
    kept whatever the view does; `prepare` with none open, to hash a password. Each is fed with what
    the one before returned, and the view with the last.
    """

    methods: str
    path: str
    view: Callable[..., Any]
    guard: Callable[[], Any]
    limit: str | None
    unit: Unit
    spend: Callable[..., Any] | None = None
    prepare: Callable[..., Any] | None = None

    def fed(self) -> "Route":
        """The same row, each of its steps given what its signature names of the request."""
        spend, prepare = (contract.fed(step) if step else None for step in (self.spend, self.prepare))
        return self._replace(view=contract.fed(self.view), spend=spend, prepare=prepare)


READS, WRITES, STREAMS, ALONE = Unit.READS, Unit.WRITES, Unit.STREAMS, Unit.ALONE

# dialect: methods, path, view, who may call, how often, what it does to the database
# fmt: off
ROUTES: dict[Dialect, list[Route]] = {
    prosody: [
        Route("GET POST", "/invites_api",                         prosody.create_invite,         api_key,       "600/minute", WRITES),
        Route("OPTIONS",  "/invites_api",                         prosody.preflight,             anyone,        "600/minute", ALONE),
    ],
    agentbot: [
        Route("POST",     "/api/invite",                          agentbot.create_invite,        known,         "120/minute", WRITES),
        Route("POST",     "/api/invites/verify",                  agentbot.verify,               anyone,        "120/minute", READS),
        Route("GET",      "/api/admin/invites",                   agentbot.list_invites,         admin,         "120/minute", STREAMS),
        Route("POST",     "/api/admin/invites",                   agentbot.create_for_address,   admin,         "120/minute", WRITES),
        Route("POST",     "/api/invite/generate",                 agentbot.generate,             key_or_admin,  "600/minute", WRITES),
        Route("POST",     "/api/invite/validate",                 agentbot.validate,             anyone,        "120/minute", WRITES,
              spend=agentbot.spend_try),
    ],
    hitkey: [
        Route("GET",      "/invites/<token>",                     hitkey.view_invite,            anyone,        "120/minute", READS),
        Route("POST",     "/invites/<token>/accept",              hitkey.accept_invite,          signed_in,     "120/minute", WRITES),
        Route("POST",     "/auth/register/with-invite",           hitkey.register_with_invite,   anyone,        "10/minute",  WRITES,
              prepare=hitkey.read_registration),
        Route("POST",     "/auth/login",                          hitkey.login,                  anyone,        "10/minute",  WRITES,
              spend=hitkey.begin_login, prepare=accounts.check_password),
        Route("POST",     "/auth/logout",                         hitkey.logout,                 signed_in,     "120/minute", WRITES),
        Route("GET",      "/auth/me",                             hitkey.me,                     signed_in,     "120/minute", READS),
        Route("POST",     "/auth/token/refresh",                  hitkey.refresh_token,          anyone,        "120/minute", WRITES),
        Route("POST",     "/auth/register/start",                 hitkey.start_registration,     anyone,        "10/minute",  WRITES),
        Route("POST",     "/auth/register/resend",                hitkey.resend_code,            maybe,         "10/minute",  WRITES),
        Route("POST",     "/auth/register/verify",                hitkey.verify_code,            maybe,         "10/minute",  WRITES,
              spend=hitkey.count_code),
        Route("POST",     "/auth/register/password",              hitkey.choose_password,        anyone,        "10/minute",  WRITES,
              prepare=hitkey.read_password),
        Route("POST",     "/auth/password/forgot",                hitkey.forgot_password,        anyone,        "10/minute",  WRITES),
        Route("POST",     "/auth/password/reset",                 hitkey.reset_password,         anyone,        "10/minute",  WRITES,
              prepare=hitkey.read_reset),
        Route("POST",     "/projects/",                           hitkey.create_project,         signed_in,     "120/minute", WRITES),
        Route("GET",      "/projects/",                           hitkey.list_projects,          signed_in,     "120/minute", READS),
        Route("GET",      "/projects/<slug>",                     hitkey.show_project,           signed_in,     "120/minute", READS),
        Route("GET",      "/projects/<slug>/members",             hitkey.list_members,           signed_in,     "120/minute", READS),
        Route("DELETE",   "/projects/<slug>/members/<member_id>", hitkey.remove_member,          signed_in,     "120/minute", WRITES),
        Route("POST",     "/projects/<slug>/invites",             hitkey.invite_to_project,      signed_in,     "120/minute", WRITES),
        Route("GET",      "/projects/<slug>/invites",             hitkey.list_project_invites,   signed_in,     "120/minute", READS),
        Route("DELETE",   "/projects/<slug>/invites/<invite_id>", hitkey.cancel_invite,          signed_in,     "120/minute", WRITES),
    ],
    pages: [
        Route("GET",      "/style.css",                           pages.style,                   anyone,        "600/minute", ALONE),
        Route("GET",      "/",                                    pages.home,                    visitor,       "120/minute", READS),
        Route("GET",      "/code",                                pages.home,                    visitor,       "120/minute", READS),
        Route("POST",     "/code",                                pages.enter_code,              visitor,       "120/minute", WRITES,
              spend=pages.spend_try),
        Route("GET",      "/invite",                              pages.invitation,              visitor,       "120/minute", READS),
        Route("GET",      "/qr",                                  pages.picture,                 anyone,        "120/minute", READS),
        Route("POST",     "/accept",                              pages.accept,                  own_form,      "120/minute", WRITES),
        Route("GET",      "/welcome",                             pages.welcome,                 visitor,       "120/minute", READS),
        Route("GET",      "/register",                            pages.show_registration,       visitor,       "120/minute", READS),
        Route("POST",     "/register",                            pages.register,                any_form,      "10/minute",  WRITES,
              prepare=pages.read_registration),
        Route("POST",     "/register/start",                      pages.start_registration,      own_form,      "10/minute",  WRITES),
        Route("POST",     "/register/password",                   pages.choose_password,         own_form,      "10/minute",  WRITES,
              prepare=pages.read_first_password),
        Route("GET",      "/verify",                              pages.show_verification,       visitor,       "120/minute", READS),
        Route("POST",     "/verify",                              pages.verify,                  own_form,      "10/minute",  WRITES,
              spend=pages.count_code),
        Route("POST",     "/verify/send",                         pages.send_code,               own_form,      "10/minute",  WRITES),
        Route("GET",      "/login",                               pages.show_login,              visitor,       "120/minute", READS),
        Route("POST",     "/login",                               pages.login,                   own_form,      "10/minute",  WRITES,
              spend=pages.begin_login, prepare=accounts.check_password),
        Route("POST",     "/logout",                              pages.logout,                  own_form,      "120/minute", WRITES),
        Route("GET",      "/password/forgot",                     pages.show_forgotten,          visitor,       "120/minute", READS),
        Route("POST",     "/password/forgot",                     pages.send_reset,              own_form,      "10/minute",  WRITES),
        Route("GET",      "/password/reset",                      pages.show_reset,              visitor,       "120/minute", READS),
        Route("POST",     "/password/reset",                      pages.reset,                   visitor,       "10/minute",  WRITES,
              prepare=pages.read_reset),
        Route("GET",      "/docs",                                manual.show,                   visitor,       "120/minute", READS),
    ],
    admin_pages: [
        Route("GET",      "/admin",                               admin_pages.list_invites,      admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/invites",                       admin_pages.create_invites,    admin_form,    "120/minute", WRITES),
        Route("GET",      "/admin/invites/new",                   admin_pages.new_invite,        admin_visitor, "120/minute", READS),
        Route("GET",      "/admin/made",                          admin_pages.made,              admin_visitor, "120/minute", READS),
        Route("GET",      "/admin/invites/<invite_id>",           admin_pages.show_invite,       admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/invites/<invite_id>/revoke",    admin_pages.revoke_invite,     admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/extend",    admin_pages.extend_invite,     admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/send",      admin_pages.send_invite,       admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/invites/<invite_id>/rotate",    admin_pages.rotate_invite,     admin_form,    "120/minute", WRITES),
        Route("GET",      "/admin/keys",                          admin_pages.list_keys,         admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/keys",                          admin_pages.create_key,        admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/keys/<key_id>/delete",          admin_pages.delete_key,        admin_form,    "120/minute", WRITES),
        Route("GET",      "/admin/people",                        admin_pages.list_people,       admin_visitor, "120/minute", READS),
        Route("GET",      "/admin/people/<user_id>",              admin_pages.show_person,       admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/people/<user_id>/admin",        admin_pages.make_admin,        admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/disable",      admin_pages.disable_person,    admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/delete",       admin_pages.delete_person,     admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/people/<user_id>/reset",        admin_pages.reset_person,      admin_form,    "120/minute", READS),
        Route("GET",      "/admin/projects",                      admin_pages.list_projects,     admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/projects",                      admin_pages.create_project,    admin_form,    "120/minute", WRITES),
        Route("GET",      "/admin/projects/<slug>",               admin_pages.show_project,      admin_visitor, "120/minute", READS),
        Route("POST",     "/admin/projects/<slug>/owner",         admin_pages.hand_over_project, admin_form,    "120/minute", WRITES),
        Route("POST",     "/admin/projects/<slug>/delete",        admin_pages.delete_project,    admin_form,    "120/minute", WRITES),
    ],
    ops: [
        Route("GET",      "/openapi.json",                        manual.document,               anyone,        "120/minute", ALONE),
        Route("GET",      "/swagger.json",                        manual.document,               anyone,        "120/minute", ALONE),
        Route("GET",      "/health",                              ops.health,                    anyone,        None,         ALONE),
        Route("GET",      "/ready",                               ops.ready,                     anyone,        None,         ALONE),
        Route("GET",      "/metrics",                             ops.metrics,                   key_or_admin,  "120/minute", READS),
    ],
}
# fmt: on


_COMMON = {dialect: Common(dialect.HEADERS) for dialect in ROUTES}

# Whoever calls these is counted by address: what they show decides nothing, so it could be made up.
PUBLIC = (anyone, maybe, visitor, own_form, any_form)


def _requests(chosen: Callable[[Route], Any]) -> re.Pattern[str]:
    """What matches ``METHOD /path`` of the rows that are chosen, without the slash that some end in."""

    def written(row: Route) -> str:
        path = row.path.rstrip("/") or "/"
        return f"(?:{row.methods.replace(' ', '|')}) {re.sub('<[a-z_]+>', '[^/]+', re.escape(path))}"

    return re.compile("|".join(written(row) for rows in ROUTES.values() for row in rows if chosen(row)))


def _is_quick(row: Route) -> bool:
    """Whether it is answered in no time: but for lists and searches, and what counts whole tables."""
    slow = (*hitkey.LISTS, *manual.VIEWS, ops.metrics, ops.ready)
    return row.guard not in (admin_visitor, admin_form) and row.view not in slow


# Requests that the server answers at once: what needs no database, and what looks something up in a file;
# where calls are counted in a Redis, only what is not counted.
QUICK_UNCOUNTED = _requests(lambda row: row.unit is ALONE and row.limit is None and _is_quick(row))
QUICK = _requests(lambda row: row.unit is ALONE and _is_quick(row))
QUICK_WITH_FILE = _requests(lambda row: row.unit in (READS, ALONE) and _is_quick(row))
# Requests that have threads of their own: those that hash a password, those whose answer may be slowly
# read, and those that write: to a file one after the other, so that they have one, and wait for no lock.
# And to be told that a database hangs one should not wait behind those who wait for it.
HASHING = _requests(lambda row: row.prepare)
STREAMING = _requests(lambda row: row.unit is STREAMS)
WRITING = _requests(lambda row: row.unit is WRITES or row.spend)
LOOKING = _requests(lambda row: row.view is ops.ready)


class House(NamedTuple):
    """What one running service consists of."""

    settings: Settings
    database: database.Database
    flood: flood.Flood
    readiness: Readiness
    metrics: Metrics


def create_app(settings: Settings | None = None) -> Flask:
    """The service as a WSGI application, over the database its settings name.

    Raises ConfigError or Unavailable, with a sentence for the operator, if it cannot start.
    """
    settings = settings or config.load()
    app = Service(
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
        SQLALCHEMY_ENGINE_OPTIONS=database.engine_options(settings),
    )
    app.jinja_environment = html.Templates
    html.set_table(app.jinja_env, settings)
    _ = settings.secrets  # a key file that cannot be read is found now, not at the first invite
    opened = database.open_database(settings, lambda: _engine(app))
    readiness = Readiness(opened, settings)
    house = House(settings, opened, flood.Flood(settings.limits, settings.limits_url), readiness, Metrics(readiness))
    app.extensions["invite_api"] = house
    app.extensions["openapi"] = openapi.Description(lambda: openapi.describe(ROUTES, settings))
    _draw(app, house)
    return app


def answer(house: House, dialect: Dialect, route: Route) -> Callable[..., Response]:
    """What Flask calls for a row of the map: limits, one unit of work, the guard, the view, or a refusal."""

    def respond(**path: str) -> Response:
        with config.using(house.settings):
            try:
                _refuse_size()
                return _finish(dialect, _work(house, route, path))
            except Exception as error:
                return _finish(dialect, dialect.refusal(_explained(house, error)))

    return respond


def _work(house: House, route: Route, path: dict[str, str]) -> Response:
    """Limits, then what comes before the view, then the view in its unit of work."""
    wire.look_over()
    count: Count = partial(house.flood.spend, route.limit, f"{route.methods} {route.path}")
    if route.guard in PUBLIC:
        count(wire.known().neighbourhood)
    elif house.flood.is_shared:  # to count waits for another machine, and must keep no writer waiting
        with house.database.reading():
            _counted(route.guard, count)
    inside = None if route.guard in PUBLIC or house.flood.is_shared else count
    fed = _before(house, route) if route.spend or route.prepare else []
    return database.once_more(lambda: _viewed(house, route, inside, fed, path), _again)


def _viewed(house: House, route: Route, count: Count | None, fed: list[Any], path: dict[str, str]) -> Response:
    with _unit(house, route.unit):
        caller = _counted(route.guard, count) if count else route.guard()
        made = route.view(caller, *fed, **path)
        return _streamed(house, made) if route.unit is STREAMS else current_app.make_response(made)


def _counted(guard: Callable[[], Any], count: Count) -> Any:
    """The caller, the key or user for whom the call counts.

    Those that the guard refuses count for the address they come from, so that who tries one key after
    another meets the limit too.
    """
    try:
        caller = guard()
    except Refusal:
        count("refused", wire.known().neighbourhood)
        raise
    count(caller.identity)
    return caller


def _again(error: database.Interrupted) -> None:
    logs.log.warning("tried once more: %s", error, extra={"facts": {"route": _template()}})


def _before(house: House, route: Route) -> list[Any]:
    """What the steps before the view feed it with: nothing, or one thing."""
    fed: list[Any] = []
    with passwords.room() if route.prepare else nullcontext():
        if route.spend:
            fed = [database.once_more(lambda: _spent(house, route), _again)]
        if route.prepare:
            fed = [route.prepare(*fed)]
    return fed


def _spent(house: House, route: Route) -> Any:
    with house.database.writing():
        return route.spend(route.guard()) if route.spend else None


def _unit(house: House, unit: Unit) -> AbstractContextManager[Any]:
    if unit is ALONE:
        return nullcontext()
    return house.database.writing() if unit is WRITES else house.database.reading()


def _streamed(house: House, made: Response | Iterator[str]) -> Response:
    if isinstance(made, Response):
        return made
    first = next(made)  # what goes wrong so far can still be said properly
    return Response(chain([first], _chunks(house, made)), mimetype="application/json")


def _chunks(house: House, made: Iterator[str]) -> Iterator[str]:
    """The rest of a stream, each chunk in a unit of work of its own."""
    while True:
        with config.using(house.settings), house.database.reading():
            chunk = next(made, None)
        if chunk is None:
            return
        yield chunk


def _explained(house: House, error: Exception) -> Refusal | HTTPException:
    """An error that a dialect can put into words; what nobody foresaw is logged, and only there."""
    if isinstance(error, Refusal):
        house.metrics.refused(error)
        return error
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, database.Unavailable):
        logs.log.error("the database cannot be used: %s", error, extra={"facts": {"route": _template()}})
        return ServiceUnavailable(retry_after=RETRY_AFTER)
    logs.log.error("an error nobody foresaw", exc_info=error, extra={"facts": {"route": _template()}})
    return InternalServerError()


def _finish(dialect: Dialect, response: Response) -> Reply:
    return Reply.of(response, _COMMON[dialect])


def _refuse_size() -> None:
    if (wire.asked().content_length or 0) > LARGEST_BODY:
        raise RequestEntityTooLarge


def _draw(app: Flask, house: House) -> None:
    """Put the map into the application, and what surrounds every request."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    spoken: dict[str, Dialect] = {}
    for dialect, routes in ROUTES.items():
        for route in routes:
            spoken[_add(app, route, answer(house, dialect, route.fed()))] = dialect

    def stray(error: Exception) -> Response:
        """What goes wrong before a row of the map is found: told by the dialect it was meant for."""
        dialect = spoken.get(_meant(app, error), pages if _browser() else ops)
        with config.using(house.settings):
            return _finish(dialect, dialect.refusal(_explained(house, error)))

    app.register_error_handler(Exception, stray)
    app.before_request(lambda: _arrive(house.settings))
    app.after_request(partial(_depart, house))


def _add(app: Flask, route: Route, respond: Callable[..., Response]) -> str:
    """Add a row of the map to the application; its endpoint."""
    endpoint = f"{route.methods} {route.path}"
    app.add_url_rule(route.path, endpoint, respond, methods=route.methods.split(), provide_automatic_options=False)
    if route.unit in (WRITES, STREAMS):  # Flask would answer HEAD by making an invite, or by all of a list
        for rule in app.url_map.iter_rules(endpoint):
            (rule.methods or set()).discard("HEAD")
    return endpoint


def _meant(app: Flask, error: Exception) -> str:
    """The endpoint that lives at this address under another method; its template goes into the log."""
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
    app.teardown_appcontext_funcs.clear()  # it would end a session of its own after each request: there is none
    with app.app_context():
        return db.engine


def _arrive(settings: Settings) -> None:
    asked, known = wire.asked(), wire.known()
    known.started = clock.ticks()
    header = asked.headers.get("X-Forwarded-For") if settings.trusted_proxies else None
    forwarded = [each.strip() for each in header.split(",") if each.strip()] if header else []
    known.client = flood.client_address(asked.remote_addr or "", forwarded, settings.trusted_proxies)
    known.neighbourhood = flood.neighbourhood(known.client)


def _template() -> str:
    """The route's template, never the address itself: it may have a secret in it."""
    rule = wire.asked().url_rule
    return wire.known().get("template") or (rule.rule if rule else "unknown")


def _depart(house: House, response: Response) -> Response:
    known, method, status = wire.known(), wire.asked().method, response.status_code
    route, seconds = _template(), clock.ticks() - known.started
    house.metrics.answered(method, route, status, seconds)
    logs.request(method=method, route=route, status=status, ms=round(seconds * 1000, 1), client=known.client)
    return response
