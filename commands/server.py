"""`invite-api serve` and `routes`: the service itself. What is slow to load is loaded here only when it is run."""

import gc
import os
from collections.abc import Iterable
from typing import Any

import click

import config
import database
import terminal
from commands.base import Examples, Refused, json_option, say
from terminal import Cell, Facts, Kind


def _row(route: Any) -> list[Cell]:
    return [route.methods, route.path, route.guard.__name__, route.limit or "no limit"]


def _facts(route: Any) -> Facts:
    return {
        "methods": route.methods.split(),
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
        say(line)


@click.command(cls=Examples, example="invite-api serve --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for any.")
def serve(host: str, port: int) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    os.umask(0o077)
    settings = config.load()
    with database.using(settings):
        _serve(settings, host, port)


def _serve(settings: config.Settings, host: str, port: int) -> None:
    import logs
    from app import create_app
    from caretaker import Caretaker
    from delivery.outbox import Postman
    from server import Server

    logs.start()
    app = create_app(settings)
    house = app.extensions["invite_api"]
    opened = house.database
    try:
        server = Server(app, host, port, _lanes(settings.threads, house))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "there is no such address"
        raise Refused(f"cannot listen on {host}:{port}: {why}; try another --host or --port") from error
    click.echo(f"invite-api listens on {server.address}, its database is {database.called(settings)}", err=True)
    if settings.public_url == config.LOCAL_URL != server.address:
        click.echo(f"links will start with {settings.public_url}: set INVITE_API_PUBLIC_URL", err=True)
    helpers: list[Postman | Caretaker] = [Postman(opened, settings), Caretaker(opened)]
    for each in helpers:
        each.start()
    _keep_what_is_loaded()
    server.run()
    for each in helpers:
        each.stop()
    opened.close()


def _lanes(threads: int, house: Any) -> Any:
    """Who answers what: a file is asked in no time and takes one writer; for a server many wait at once."""
    from app import HASHING, LOOKING, QUICK, QUICK_UNCOUNTED, QUICK_WITH_FILE, STREAMING, WRITING
    from rules import passwords
    from server import Lane, Lanes

    others = Lane(HASHING, passwords.ROOM + 1), Lane(STREAMING, threads), Lane(LOOKING, 1)
    on_file, waits = house.database.answers_at_once, house.flood.is_shared  # to count waits for another machine
    quick = QUICK_UNCOUNTED if waits else QUICK_WITH_FILE if on_file else QUICK
    writing = Lane(WRITING, 1, None if waits else house.database.together) if on_file else Lane(WRITING, threads)
    return Lanes(threads, quick, *others, writing)


def _keep_what_is_loaded() -> None:
    """Look through it for garbage no more: else requests that make many objects wait for that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
