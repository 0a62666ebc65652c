"""`invite-api serve` and `routes`: the service itself. What is slow to load is loaded here only when it is run."""

import errno
import gc
import os
import shlex
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

import database
from commands import terminal
from commands.base import CommandFailed, Examples, Number, json_option
from commands.terminal import Cell, Facts, Kind
from settings import LOCAL_URL, VERSION, Settings, in_force, load_settings, settings

LONG_LIST = 4096  # bytes: a longer list of invites keeps no writer waiting while it is looked through


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
@click.option("--port", type=Number(0, 65535), help="The port; 0 for any. [INVITE_API_PORT, 8080]")
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
    from delivery.outbox import MailWorker
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
        raise CommandFailed(_cannot_listen(chosen, host, port, error)) from error
    with in_force(chosen):
        _say_where(server.address)
        with suppress(database.Unavailable):  # what is served says so, and may be there a moment later
            _say_what_next(opened, host, server.address)
    helpers = [MailWorker(opened, chosen), Caretaker(opened, chosen), *courier.threads(opened, chosen)]
    for each in helpers:
        each.start()
    _keep_what_is_loaded()
    server.run()
    BackgroundThread.stop_all(helpers)
    opened.close()
    if sys.stderr.isatty():
        click.echo("invite-api has stopped.", err=True)


def _cannot_listen(chosen: Settings, host: str, port: int, error: Exception) -> str:
    """Why the server cannot listen there, and what to do."""
    if getattr(error, "errno", None) != errno.EADDRINUSE:
        why = getattr(error, "strerror", None) or "there is no such address"
        return f"cannot listen on {host}:{port}: {why}; try another --host or --port"
    other = port + 1 if port < 65535 else port - 1
    links = f"INVITE_API_PUBLIC_URL=http://127.0.0.1:{other} " if chosen.public_url == LOCAL_URL else ""
    return f"cannot listen on {host}:{port}: this port is in use; try another: {links}{_typed()} --port {other}"


def _typed() -> str:
    """This command, as it can be typed again."""
    return f"{shlex.quote(sys.argv[0])} serve"


def _say_where(address: str) -> None:
    """Say where the service listens and where its data is: in a table on a terminal, else in the log."""
    from web import logs

    data, public = database.display_name(settings()), settings().public_url
    if not sys.stderr.isatty():
        logs.log.info("invite-api listens on %s, its database is %s", address, data)
        if public == LOCAL_URL != address:
            logs.log.warning("links begin with %s: set INVITE_API_PUBLIC_URL", public)
        return
    rows = [("Address", public), ("Admin pages", f"{public}/admin"), ("Database", data), ("Listens on", address)]
    click.echo(f"invite-api {VERSION} is running.\n", err=True)
    for line in terminal.aligned(rows[:-1] if address == public else rows):
        click.echo(f"  {line}", err=True)


def _say_what_next(opened: database.Database, host: str, address: str) -> None:
    """Say what to do next to the person who started the service, with a link that no log may have."""
    from rules import first_admin
    from web import logs

    with opened.reading():
        is_wanted = first_admin.is_wanted()
    if not sys.stderr.isatty():
        if is_wanted:
            logs.log.info("there is no admin yet: invite-api invite create --admin prints a link that makes one")
        return
    if is_wanted:
        with opened.writing():
            link = first_admin.link()
        click.echo("\nThere is no admin yet. Open this link to become the admin (once, within 24 hours):\n", err=True)
        click.echo(f"  {click.style(link, bold=True)}", err=True)
    if note := _note_on_links(host, address):
        click.echo(f"\n{note}", err=True)
    click.echo("\nCtrl-C stops it.\n", err=True)


def _note_on_links(host: str, address: str) -> str:
    """Where links do not work, and how to start the service so that they do; "" where they do."""
    public, port = settings().public_url, address.rpartition(":")[2]
    port_too = "" if port == LOCAL_URL.rpartition(":")[2] else f" --port {port}"
    if public == LOCAL_URL and port_too:
        start = f"INVITE_API_PUBLIC_URL=http://127.0.0.1:{port} {_typed()}{port_too}"
        return f"These links do not work: they begin with {public}. Start it with\n\n  {start}"
    note = terminal.loopback_note()
    if not note or host not in ("127.0.0.1", "localhost"):
        return note
    start = f"INVITE_API_PUBLIC_URL=http://{_address_here()}:{port} {_typed()} --host 0.0.0.0{port_too}"
    return f"Links open on this machine only. To open them on a phone in your network, start it with\n\n  {start}"


def _address_here() -> str:
    """The address of this machine in its network. It is looked up in the routing table; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "ADDRESS-OF-THIS-MACHINE"


def _lanes(threads: int, service: Any) -> Any:
    """Who answers what: a file is asked in no time and takes one writer; for a server many wait at once."""
    from app import ROUTES
    from rules import passwords
    from web.lanes import Lane, Lanes
    from web.map import Work, matching

    rows = [row for rows in ROUTES.values() for row in rows]
    strict = [row for dialect, rows in ROUTES.items() if getattr(dialect, "STRICT", False) for row in rows]
    lists = [row for row in strict if row.work is Work.OWN and row.methods == "POST"]
    writes = [row for row in rows if row.work is Work.WRITES]
    own = [row for row in rows if row.work is Work.OWN and row not in strict]  # some of them hash passwords

    def those(*works: Work) -> Any:
        return matching(row for row in rows if row.work in works)

    on_file, waits = service.database.answers_at_once, service.limits.is_shared  # to count waits for another machine
    if waits:
        quick = matching(row for row in rows if row.work is Work.ALONE and row.limit is None)
    else:
        quick = those(Work.ALONE, Work.LOOKS) if on_file else those(Work.ALONE)
    ready = matching(row for row in rows if row.path == "/ready")  # by itself: everything else may wait for a database
    shared = on_file and not waits
    return Lanes(
        threads,
        quick,
        Lane(ready, 1),
        Lane(matching(lists), threads, beyond=LONG_LIST if shared else -1),
        Lane(matching(own), passwords.ROOM + 1),
        Lane(those(Work.STREAMS), threads),
        Lane(matching(writes + lists), 1 if on_file else threads, service.database.group_commit if shared else None),
    )


def _large_bodies() -> Any:
    """Which requests may have a body that is larger than that of others."""
    from app import ROUTES
    from web.map import matching
    from web.reader import MAX_BODY_BYTES, LargeBodies

    large = [row for rows in ROUTES.values() for row in rows if (row.largest or 0) > MAX_BODY_BYTES]
    return LargeBodies(matching(large), max(row.largest or 0 for row in large))


def _keep_what_is_loaded() -> None:
    """Look through it for garbage no more: else requests that make many objects wait for that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
