"""One request, from its rate limit to its answer: what happens around every view of the map.

`answer` is the order in which it happens. A view of a row that is `Work.OWN` opens its units of work by
itself, with `committed` and `read_only`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, ParamSpec, TypeVar

from flask import Response, current_app
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, ServiceUnavailable

import clock
import database
from rules import events, invitations
from rules.refusals import RateLimited, Refusal
from settings import Settings, in_force
from web import contract, cookies, cors, limits, logs, requests, return_to
from web.guards import any_form, anyone, maybe, own_form, visitor
from web.map import Dialect, Route, Work
from web.metrics import Metrics
from web.readiness import Readiness
from web.replies import Reply

P = ParamSpec("P")
T = TypeVar("T")
Guard = Callable[[], Any]
View = Callable[..., Any]

MAX_BY_INVITES = "600/minute"  # from one address, however many invites it shows

# Calls with these guards are counted by address: what such a caller shows decides nothing, so it could be made up.
PUBLIC = (anyone, maybe, visitor, own_form, any_form)


class Service(NamedTuple):
    """What one running service consists of."""

    settings: Settings
    database: database.Database
    limits: limits.RateLimits
    readiness: Readiness
    metrics: Metrics


def answer(service: Service, dialect: Dialect, headers: cors.Headers, row: Route) -> Callable[..., Response]:
    """What Flask calls for a row: the rate limit, then guard and view in the row's unit of work; or why not.

    `headers` are those that all answers of the dialect have.
    """
    count = partial(service.limits.count, row.own_limit, row.endpoint)
    count_first, guard = _rate_limited(service, row, count)
    is_strict = getattr(dialect, "STRICT", False)
    view = contract.with_arguments(row.view, is_strict)
    any_json = getattr(dialect, "ANY_JSON", False) and "body" in contract.taken_by(row.view)
    run = _runners(service)[row.work]

    def answered(**path: str) -> Response:
        requests.context().row, requests.context().any_json = row, any_json
        common = headers.of_request()
        with in_force(service.settings):
            try:
                if row.refuses_head:
                    _refuse_head()
                count_first()  # before a body is parsed, which takes longer than most answers
                requests.look_over(row.largest, is_strict)
                return Reply.of(run(guard, partial(view, **path)), common)
            except Exception as error:
                return Reply.of(dialect.refusal(as_refusal(service, error)), common)

    return answered


def committed(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `work` returns, in a unit of work of its own; what it wrote is on disk by then.

    A unit that PostgreSQL interrupts, since another writer changed the same rows, is done once more.
    """
    return _in_a_unit(running().database.writing, partial(work, *given, **named))


def read_only(work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """What `work` returns from one consistent view of the database, in which nothing it changes is kept."""
    return _in_a_unit(running().database.reading, partial(work, *given, **named))


def settled() -> int:
    """The number up to which all events are there; ask it before the unit in which they are read: see `Database`."""
    return database.once_more(running().database.settled)


def count_by_account(account_id: str) -> None:
    """Count this call by the account that has signed in with it, and not by its address, if that has room.

    So only tries that fail use up the limit of an address. An account that signs in all the time is no way around it.
    """
    row = requests.row()
    counted, by_account = (row.endpoint, requests.neighbourhood()), (row.endpoint, "account", account_id)
    running().limits.move(row.own_limit, counted, by_account)


def running() -> Service:
    """The service that answers this request."""
    service: Service = current_app.extensions["invite_api"]
    return service


def as_refusal(service: Service, error: Exception) -> Refusal | HTTPException:
    """An error that a dialect can put into words; an error that nobody foresaw is logged, and only there."""
    if isinstance(error, Refusal):
        logs.note(partial(service.metrics.refused, error))
        return error
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, database.Unavailable):
        logs.note(logs.Fault(str(error), template()))
        return ServiceUnavailable(retry_after=requests.RETRY_AFTER)
    logs.log.error("an unexpected error", exc_info=error, extra={"facts": {"route": template()}})
    return InternalServerError()


def arrive(settings: Settings) -> None:
    """Note when a request came, and from which client."""
    sent, context = requests.current(), requests.context()
    context.started = clock.ticks()
    header = sent.headers.get("X-Forwarded-For") if settings.trusted_proxies else None
    forwarded = [each.strip() for each in header.split(",") if each.strip()] if header else []
    context.client = limits.client_address(sent.remote_addr or "", forwarded, settings.trusted_proxies)
    context.neighbourhood = limits.neighbourhood(context.client)


def depart(service: Service, response: Response) -> Response:
    """Count and log a request that is answered."""
    context, method, status = requests.context(), requests.current().method, response.status_code
    route, seconds = template(), clock.ticks() - context.started
    if "visit" in context:
        with in_force(service.settings):
            cookies.keep_visit(response)
    if "leads_to" in context:
        return_to.allow(response)
    if "once" in context and context.once.replayed and status < 400:
        response.headers["Idempotency-Replayed"] = "true"
    client = context.client

    def record() -> None:
        service.metrics.answered(method, route, status, seconds)
        logs.request(method=method, route=route, status=status, ms=round(seconds * 1000, 1), client=client)

    logs.note(record)
    return response


def template() -> str:
    """The template of the request's route, never the address itself: it may have a secret in it."""
    row, rule = requests.row(), requests.current().url_rule
    return str(row.path if row else rule.rule if rule else "unknown")


def _refuse_head() -> None:
    """Raise MethodNotAllowed for HEAD: Flask would answer it as a GET, and create an invite or read all of a list."""
    sent = requests.current()
    if sent.method == "HEAD":
        adapter = current_app.create_url_adapter(sent)
        raise MethodNotAllowed(adapter.allowed_methods() if adapter else ())


def _rate_limited(service: Service, row: Route, count: Callable[..., None]) -> tuple[Callable[[], None], Guard]:
    """What counts a call before its unit of work, and the guard inside of it."""

    def by_address() -> None:
        try:
            count(requests.neighbourhood())
        except RateLimited as limited:
            _count_by_invite(service, row, limited)

    def by_caller() -> Any:
        try:
            caller = row.guard()
        except Refusal:  # so that who tries one key after another meets the limit too
            count("refused", requests.neighbourhood())
            raise
        count(caller.identity)
        return caller

    def by_caller_beforehand() -> None:
        with service.database.reading():
            by_caller()

    if row.guard in PUBLIC:
        return by_address, row.guard
    if service.limits.is_shared:  # to count waits for another machine, and must keep no writer waiting
        return by_caller_beforehand, row.guard
    return (lambda: None), by_caller


def _count_by_invite(service: Service, row: Route, limited: RateLimited) -> None:
    """Count a call beyond the limit of its address by the active invite that it shows; raises `limited` without one.

    An unknown token is never counted for itself: anyone can make up as many as they like.
    """
    if row.limit_of_invite is None:
        raise limited
    try:
        with service.database.reading():
            invite_id = invitations.find(requests.invite_token()).id
    except Refusal:
        raise limited from None
    service.limits.count(row.limit_of_invite, row.endpoint, "invite", invite_id)
    service.limits.count(MAX_BY_INVITES, row.endpoint, "invites", requests.neighbourhood())


def _runners(service: Service) -> dict[Work, Callable[[Guard, View], Response]]:
    """How guard and view are run, by what their row does to the database."""
    reading, writing = service.database.reading, service.database.writing

    def respond(guard: Guard, view: View) -> Response:
        return _call_view(guard(), view)

    def read(guard: Guard, view: View) -> Response:
        return _in_a_unit(reading, lambda: respond(guard, view))

    def own(guard: Guard, view: View) -> Response:
        return _call_view(guard() if guard is anyone else _in_a_unit(reading, guard), view)

    return {
        Work.ALONE: respond,
        Work.LOOKS: read,
        Work.READS: read,
        Work.WRITES: lambda guard, view: _in_a_unit(writing, lambda: respond(guard, view)),
        Work.STREAMS: partial(_in_chunks, service),
        Work.OWN: own,
    }


def _call_view(caller: Any, view: View) -> Response:
    """What a view answers to a caller, who is the one that does what happens in it."""
    with events.acting(caller.actor if caller else events.GUEST):
        return current_app.make_response(view(caller))


def _in_chunks(service: Service, guard: Guard, view: View) -> Response:
    """A view that gives its answer in chunks, each made in a unit of work of its own as the reader takes it."""

    def rest() -> Iterator[str]:
        while True:
            with in_force(service.settings), service.database.reading():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    with service.database.reading():
        chunks = view(guard())
        if isinstance(chunks, Response):
            return chunks
        first = next(chunks)  # what goes wrong so far can still be said properly
    return Response(chain([first], rest()), mimetype="application/json")


def _in_a_unit(opened: Callable[[], AbstractContextManager[Any]], work: Callable[[], T]) -> T:
    """What `work` returns in a unit of work; a unit that was interrupted is done once more.

    A refusal undoes the unit, unless it says that it `keeps` it.
    """

    def attempt() -> T:
        with opened():
            try:
                return work()
            except Refusal as refusal:
                if not refusal.keeps:
                    raise
                kept = refusal
        raise kept

    def log(error: database.Interrupted) -> None:
        logs.log.warning("tried once more: %s", error, extra={"facts": {"route": template()}})

    return database.once_more(attempt, log)
