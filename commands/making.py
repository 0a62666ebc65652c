"""`invite-api invite create`: one invite, many alike, or one for each guest in a file."""

import errno
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, TypeVar

import click

import terminal
from commands.base import Examples, Note, Refused, house, say
from commands.projects import any_project
from database import Database
from models import Invite
from rules import guests, invites
from rules.guests import Desk, Row
from rules.refusals import Problem

T = TypeVar("T")

WORTH_SHOWING = 100  # invites from which on there is a progress bar


@dataclass(frozen=True)
class Manner:
    """How it is to be done."""

    dry_run: bool
    keep_going: bool
    qr: bool


Checked = tuple[Row, Invite | None, Sequence[Problem]]

EXAMPLE = """invite-api invite create --name Anne --ttl 3d
invite-api invite create --from guests.csv --project tea-garden > links.txt
  where guests.csv has a line that names its columns, and one for each guest:
  name,email,note
  Anne,anne@example.org,from the choir"""


@click.command(cls=Examples, example=EXAMPLE)
@click.option("--name", help="Whom it is for.")
@click.option("--email", help="Bind it to this address.")
@click.option("--project", help="The slug of the project to join.", shell_complete=any_project)
@click.option("--role", help="member or admin of the project.")
@click.option("--plan", help="A label for the program that verifies the invite. [solo]")
@click.option("--ttl", help="How long it lives: 3d, 12h, 2 weeks, or never. [INVITE_API_INVITE_TTL]")
@click.option("--uses", help="How many people may use it. [1]")
@click.option("--redirect-url", help="Where they may go afterwards.")
@click.option("--note", help="Your own words; never shown to the guest.")
@click.option("--admin", is_flag=True, help="Whoever uses it becomes an admin of this site (at most 24h, one use).")
@click.option("--mail/--no-mail", default=False, help="Mail it to its address, too, with a link of its own. [no]")
@click.option("--qr", is_flag=True, help="Draw the link as a QR code, too.")
@click.option("--count", type=click.IntRange(1, guests.MOST), help="Make so many, all alike.")
@click.option("--from", "source", type=click.File("rb"), help="Make one for each row of a CSV file; - is stdin.")
@click.option("--dry-run", is_flag=True, help="Only check the file.")
@click.option("--keep-going", is_flag=True, help="Make those of good rows, and print an empty line for each other.")
def create(source: BinaryIO | None, count: int | None, admin: bool, mail: bool, **given: Any) -> None:
    """Make an invite, or many, and print the links. If something is wrong with one of many, none is made.

    The columns of a file are the options name, email, project, role, plan, ttl, uses, redirect_url
    and note; an option says it for rows that do not.
    """
    manner = Manner(*(given.pop(each.name) for each in fields(Manner)))
    if source and count:
        raise click.UsageError("Give --count or --from, not both.")
    if (manner.dry_run or manner.keep_going) and not source:
        raise click.UsageError("--dry-run and --keep-going are about a file: give --from, too.")
    for name, value in given.items():
        if value == "":  # a variable of a script that is not set: the invite would be for anybody
            raise click.UsageError(f"--{name.replace('_', '-')} is empty: say what it is to be, or leave it out.")
    desk = Desk({name: value for name, value in given.items() if value}, invites.SHELL, admin, mail)
    with house() as open_house:
        if source:
            _from_file(open_house, desk, source, manner)
        else:
            _alike(open_house, desk, count or 1, manner)


def _alike(open_house: Database, desk: Desk, count: int, manner: Manner) -> None:
    with _interruptible("nothing was made"):
        draft = invites.read(desk.defaults, desk.makes_admin)
        with open_house.reading():
            prepare = (invites.prepare(draft, desk.maker, desk.mailed) for _ in range(count))
            made = list(_progress(prepare, count))
        _make(open_house, made)
    with _interruptible(_all_made(count)):
        _listen()
        for each in made:
            _tell(each, manner)


def _from_file(open_house: Database, desk: Desk, source: BinaryIO, manner: Manner) -> None:
    with _interruptible("nothing was made"):
        rows = guests.read(source.read())
        with open_house.reading():
            checked = list(_progress(desk.prepare(rows), len(rows)))
        good = [invite for _, invite, _ in checked if invite]
        wrong = len(rows) - len(good)
        if manner.dry_run or (wrong and not manner.keep_going):
            _report_only(source.name, checked, wrong)
            return
        _make(open_house, good)
    with _interruptible(_all_made(len(good))):
        _listen()
        _report(source.name, checked, manner)
    if wrong:
        raise Refused(f"{wrong} of {len(rows)} rows are wrong; {len(good)} invites were made")


def _report_only(file: str, checked: Sequence[Checked], wrong: int) -> None:
    """Say what is wrong where nothing is made."""
    for row, _, problems in checked:
        _complain(file, row, problems)
    if wrong:
        raise Refused(f"nothing was made: {wrong} of {len(checked)} rows are wrong; --keep-going makes the others")
    say(Note(f"Note: all {len(checked)} rows are good; nothing was made"))


def _report(file: str, checked: Sequence[Checked], manner: Manner) -> None:
    """For each row a line on stderr, and one on stdout: its link or nothing, so that they go with the file's."""
    for row, invite, problems in checked:
        _complain(file, row, problems)
        if invite is None:
            say("")
            continue
        whom = " ".join(each for each in (invite.name, invite.email) if each)
        say(Note(f"{file}, line {row.line}: made {invite.id} {terminal.safe(whom)}".rstrip()))
        _tell(invite, manner)


def _complain(file: str, row: Row, problems: Sequence[Problem]) -> None:
    for each in problems:
        column = f", column {row.headings.get(each.field, each.field)}" if each.field else ""
        say(Note(f"{file}, line {row.line}{terminal.safe(column)}: {terminal.safe(each.message)}"))


def _tell(invite: Invite, manner: Manner) -> None:
    link = invites.link(invites.token(invite))
    say(link)
    if manner.qr:
        terminal.qr(link)


def _make(open_house: Database, prepared: Sequence[Invite]) -> None:
    """Make them all in one unit of work. From here on a Ctrl-C waits for `_listen`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with open_house.writing():
        invites.add(prepared)


def _listen() -> None:
    """Let a Ctrl-C that came meanwhile, or comes from now on, be heard."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def _interruptible(state: str) -> Iterator[None]:
    """Let a Ctrl-C, or a disk that is full, say in which state it leaves things."""
    try:
        yield
    except KeyboardInterrupt:
        raise Refused(f"interrupted: {state}") from None
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise Refused(f"the result cannot be written: {error.strerror}; {state}") from error


def _all_made(count: int) -> str:
    return f"all {count} invites were made; invite-api invite export --with-links prints them again"


def _progress(items: Iterator[T], length: int) -> Iterator[T]:
    """The items, with a progress bar if somebody is waiting for many."""
    hidden = length < WORTH_SHOWING or not sys.stderr.isatty()
    with click.progressbar(items, length=length, label="Preparing", file=sys.stderr, hidden=hidden) as bar:
        yield from bar
