"""`invite-api serve` and `routes`: the service itself. What is slow to load is loaded here only when it is run."""

import gc
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

import database
from commands import terminal
from commands.base import CommandFailed, Examples, json_option
from commands.terminal import Cell, Facts, Kind
from settings import LOCAL_URL, Settings, in_force, load_settings, settings


def _row(route: Any) -> list[Cell]:
    return [
        "any" if route.largest is None else route.methods,
        route.path,
        route.guard.__name__,
        route.limit or "no limit",
    ]


def _facts(route: Any) -> Facts:
    return {
        "methods": ["any"] if route.largest is None else route.methods.split(),
        "path": route.path,
        "who": route.guard.__name__,
        "limit": route.limit or None,
    }


@click.command(cls=Examples, example="invite-api routes")
@json_option
def routes(as_json: bool) -> None:
    """Print the map of the API. Its columns: methods, path, who may call, how often."""
    from app import ROUTES

    rows = [row for rows in ROUTES.values() for row in rows]
    lines: Iterable[str] = terminal.listing(rows, Kind(("METHODS", "PATH", "WHO", "LIMIT"), _row, _facts), as_json)
    for line in lines:
        click.echo(line)


@click.command(cls=Examples, example="invite-api serve --port 8080")
@click.option("--host", help="The address to listen on; :: for every one. [INVITE_API_HOST, 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0 for any. [INVITE_API_PORT, 8080]")
def serve(host: str | None, port: int | None) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    os.umask(0o077)
    chosen = load_settings()
    with database.using(chosen):
        _serve(chosen, host or chosen.host, chosen.port if port is None else port)


def _serve(chosen: Settings, host: str, port: int) -> None:
    from app import create_app
    from database.background import BackgroundThread
    from delivery import courier
    from delivery.outbox import Postman
    from upkeep.caretaker import Caretaker
    from web import logs
    from web.server import Server

    logs.start(terminal.log_line)
    app = create_app(chosen)
    service = app.extensions["invite_api"]
    opened = service.database
    try:
        server = Server(app, host, port, _lanes(chosen.threads, service), _large_bodies())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "there is no such address"
        raise CommandFailed(f"cannot listen on {host}:{port}: {why}; try another --host or --port") from error
    click.echo(f"invite-api listens on {server.address}, its database is {database.display_name(chosen)}", err=True)
    if chosen.public_url == LOCAL_URL != server.address:
        click.echo(f"links will start with {chosen.public_url}: set INVITE_API_PUBLIC_URL", err=True)
    with in_force(chosen), suppress(database.Unavailable):  # what is served says so, and may be there a moment later
        _say_what_next(opened)
    helpers = [Postman(opened, chosen), Caretaker(opened, chosen), *courier.threads(opened, chosen)]
    for each in helpers:
        each.start()
    _keep_what_is_loaded()
    server.run()
    BackgroundThread.stop_all(helpers)
    opened.close()


def _say_what_next(opened: database.Database) -> None:
    """Say what to do next to who has started the service; not in a log, which others may read, with a link."""
    from rules import first_admin
    from web import logs

    with opened.reading():
        is_wanted = first_admin.is_wanted()
    if not sys.stderr.isatty():
        if is_wanted:
            logs.log.info("there is no admin yet: invite-api invite create --admin prints a link that makes one")
        return
    click.echo(f"Admin pages: {settings().public_url}/admin", err=True)
    if is_wanted:
        with opened.writing():
            link = first_admin.link()
        click.echo(f"There is no admin yet. This link makes one; it is good for 24 hours, once:\n  {link}", err=True)
    if note := terminal.loopback_note():
        click.echo(note, err=True)
    click.echo("Ctrl-C stops it.", err=True)


def _lanes(threads: int, service: Any) -> Any:
    """Who answers what: a file is asked in no time and takes one writer; for a server many wait at once."""
    from app import ROUTES
    from rules import passwords
    from web.lanes import Lane, Lanes
    from web.map import Work, matching

    rows = [row for rows in ROUTES.values() for row in rows]
    strict = [row for dialect, rows in ROUTES.items() if getattr(dialect, "STRICT", False) for row in rows]

    def those(*works: Work) -> Any:
        return matching(row for row in rows if row.work in works)

    on_file, waits = service.database.answers_at_once, service.limits.is_shared  # to count waits for another machine
    if waits:
        quick = matching(row for row in rows if row.work is Work.ALONE and row.limit is None)
    else:
        quick = those(Work.ALONE, Work.LOOKS) if on_file else those(Work.ALONE)
    ready = matching(row for row in rows if row.path == "/ready")  # by itself: everything else may wait for a database
    writer = Lane(those(Work.WRITES), 1, None if waits else service.database.group_commit)
    return Lanes(
        threads,
        quick,
        Lane(ready, 1),
        Lane(matching(row for row in strict if row.work is Work.OWN), threads),  # of our own API: none hashes passwords
        Lane(those(Work.OWN), passwords.ROOM + 1),
        Lane(those(Work.STREAMS), threads),
        writer if on_file else Lane(those(Work.WRITES), threads),
    )


def _large_bodies() -> Any:
    """Which requests may have a body that is larger than that of others."""
    from app import ROUTES
    from web.map import matching
    from web.reader import MOST_KEPT, LargeBodies

    large = [row for rows in ROUTES.values() for row in rows if (row.largest or 0) > MOST_KEPT]
    return LargeBodies(matching(large), max(row.largest or 0 for row in large))


def _keep_what_is_loaded() -> None:
    """Look through it for garbage no more: else requests that make many objects wait for that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
