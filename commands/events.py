"""`invite-api events`: what happened."""

import errno
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import click

import clock
from commands import terminal
from commands.base import (
    Examples,
    StderrLine,
    limit_option,
    opened_database,
    print_line,
)
from commands.invites import any_invite
from commands.projects import any_project
from commands.terminal import Facts
from commands.users import any_user
from database import Database, once_more
from rules import activity, timeline
from rules.activity import FAMILIES, Description, Subject
from rules.events import TYPES
from rules.timeline import Filter, Happened

AT_ONCE = 500  # events that are read and printed together
PAUSE = 1  # seconds between two looks for new ones


def any_type(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001
    """Completions of the last of some types, with commas between: the types and families that begin so."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{each}" for each in (*FAMILIES, *TYPES) if each.startswith(last)]


@click.command(cls=Examples, name="events", example="invite-api events --since 2d --type invite,member.joined")
@click.option("--since", help="Only those since then: 2d, 2026-11-01, or a moment in ISO 8601 (UTC).")
@click.option("--type", help="Only of these types, or families of types such as invite.", shell_complete=any_type)
@click.option("--invite", help="Only about this invite.", shell_complete=any_invite)
@click.option("--user", help="Only by or about this account.", shell_complete=any_user)
@click.option("--project", help="Only about the project with this slug.", shell_complete=any_project)
@click.option("--actor", help="Only by this account, API key, or shell.", shell_complete=any_user)
@click.option("--follow", "-f", is_flag=True, help="Go on, and print what happens from now on, until Ctrl-C.")
@limit_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead: an object for each event.")
def events(limit: int, follow: bool, as_json: bool, **given: str | None) -> None:
    """Print what happened, the newest last.

    In a pipe the columns are: moment, type, who did it, invite, project, account, further facts, id.
    """
    with ended_by_signals() if follow else nullcontext(), opened_database() as opened:
        printed, last, are_more = once_more(partial(newest, opened, given, limit, as_json))
        for line in printed:
            click.echo(line)
        if follow:
            print_what_comes(opened, given, last, as_json)
        elif are_more:
            print_line(StderrLine("Note: there are older events; --limit shows more"))


def newest(opened: Database, given: Mapping[str, str | None], limit: int, as_json: bool) -> tuple[list[str], int, bool]:
    """The lines of the newest events, the number of the last one there is, and whether there are more."""
    settled = opened.settled()
    with opened.reading():
        last = timeline.last_number(settled)
        found = timeline.newest(activity.read(given), last + 1, limit + 1)
        return lines(found[:limit][::-1], as_json), last, len(found) > limit


def print_what_comes(opened: Database, given: Mapping[str, str | None], last: int, as_json: bool) -> None:
    """Print the events with a number above `last`, each once and in the order of commits, as they come, for ever.

    Raises OSError (EPIPE) when the reader of the pipe has ended.
    """
    with opened.reading():
        wanted = activity.read(given)
    while True:
        printed, last = once_more(partial(some_after, opened, wanted, last, as_json))
        for line in printed:
            click.echo(line)
        if len(printed) < AT_ONCE:
            wait_for_reader()


def some_after(opened: Database, wanted: Filter, last: int, as_json: bool) -> tuple[list[str], int]:
    """The lines of some events with a number above `last`, and the number above which to go on."""
    settled = opened.settled()  # on PostgreSQL it may have gone back a little
    with opened.reading():
        found = timeline.oldest(wanted, last, settled, AT_ONCE)
        seen = found[-1].number if len(found) == AT_ONCE else timeline.last_number(settled)
        return lines(found, as_json), max(last, seen)


def wait_for_reader() -> None:
    """Wait a second; raises OSError (EPIPE) as soon as the reader of the pipe has ended."""
    watched = select.poll()
    watched.register(sys.stdout.fileno(), 0)
    if any(seen & (select.POLLERR | select.POLLHUP) for _, seen in watched.poll(PAUSE * 1000)):
        raise OSError(errno.EPIPE, "the reader has ended")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside, SIGTERM ends what is done as Ctrl-C does: quietly."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def lines(found: Sequence[Happened], as_json: bool) -> list[str]:
    """The lines of some events: JSON, a sentence for each at a terminal, or in a pipe columns with tabs between."""
    if as_json:
        return [terminal.as_line(facts(each)) for each in found]
    if not terminal.is_interactive():
        return ["\t".join(map(terminal.cell_text, row(each))) for each in found]
    return [f"{clock.iso(each.at)[:16]}Z  {terminal.safe(spoken(each))}" for each in activity.describe(found)]


def facts(event: Happened) -> Facts:
    """What JSON says of an event: everything."""
    about = {name: getattr(event, name) for name in ("invite_id", "project_id", "user_id")}
    who = {"actor": event.actor, "actor_id": event.actor_id}
    return {"id": event.id, "at": event.at, "type": event.type, **who, **about, "facts": dict(event.facts)}


def row(event: Happened) -> Sequence[Any]:
    """The cells of an event in a pipe; ``-`` for what it is not about."""
    about = (getattr(event, name) or "-" for name in ("invite_id", "project_id", "user_id"))
    further = " ".join(f"{name}={value}" for name, value in event.facts.items())
    return [event.at, event.type, event.actor, *about, further or "-", event.id]


def spoken(described: Description) -> str:
    """An event as a sentence."""
    which = f"for {described.invite.called}" if described.invite.called else (described.invite.id or "")[:8]
    named = {
        "who": "Unknown account" if described.who == Subject(activity.UNKNOWN) else described.who.called,
        "user": described.user.called,
        "invite": f"the invite {which}",
        "project": described.project.called,
        "until": f"{described.until.day} {described.until:%b %Y}" if described.until else "",
    }
    return described.sentence % {**described.facts, **named}
