"""`invite-api invite create`: one invite, many alike, or one for each guest in a file."""

import errno
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, TypeVar

import click

import clock
from commands import terminal
from commands.base import (
    CommandFailed,
    Examples,
    Number,
    loopback_line,
    mail_note,
    opened_database,
    print_line,
    proof_note,
    were,
)
from commands.presets import field_options, preset_option
from database import Database
from models import Invite
from rules import drafts, guests, invites, presets
from rules.guests import Batch, Row
from rules.refusals import Problem

T = TypeVar("T")

WORTH_SHOWING = 100  # the least number of invites for which there is a progress bar


@dataclass(frozen=True)
class Options:
    """Options of the command that say nothing of the invite itself."""

    dry_run: bool
    keep_going: bool
    qr: bool
    ignore_unknown: bool


Checked = tuple[Row, Invite | None, Sequence[Problem]]

EXAMPLE = """invite-api invite create Anne --ttl 3d
invite-api invite create --from guests.csv --project tea-garden > links.txt
  where guests.csv has a line that names its columns, and one for each guest:
  name,email,note
  Anne,anne@example.org,from the choir"""


@click.command(cls=Examples, example=EXAMPLE, hint="Put a name that has a space in it in quotes.")
@click.argument("guest", metavar="[NAME]", required=False)
@click.option("--name", help="The guest's name; the same as NAME.")
@field_options
@preset_option
@click.option("--admin", is_flag=True, help="The guest becomes an admin of this site (at most 24h, one use).")
@click.option("--mail/--no-mail", default=False, help="Mail it to its address, too, with a link of its own. [no]")
@click.option("--qr", is_flag=True, help="Draw the link as a QR code, too.")
@click.option("--count", type=Number(1, guests.MAX_ROWS), help="Create this many, all alike.")
@click.option("--from", "source", type=click.File("rb"), help="Create one for each row of a CSV file; - is stdin.")
@click.option("--dry-run", is_flag=True, help="Only check the file.")
@click.option("--ignore-unknown", is_flag=True, help="Ignore unknown columns of the file.")
@click.option("--keep-going", is_flag=True, help="Create those of valid rows, and print an empty line for each other.")
def create(
    guest: str | None, source: BinaryIO | None, count: int | None, admin: bool, mail: bool, **given: Any
) -> None:
    """Create an invite, or many, and print the links. If one of many is wrong, none is created.

    The columns of a file are the options name, email, project, role, plan, ttl, uses, redirect_url,
    message, note, access, data, approve and preset, also in other usual spellings; an option
    applies to the rows that leave its column empty. What invite export printed is such a file, too.
    """
    if guest is not None:
        given["name"] = named_guest(guest, given["name"])
    options = Options(*(given.pop(each.name) for each in fields(Options)))
    if source and count:
        raise click.UsageError("Give --count or --from, not both.")
    if (options.dry_run or options.keep_going or options.ignore_unknown) and not source:
        raise click.UsageError("--dry-run, --keep-going and --ignore-unknown are about a file: give --from, too.")
    batch = Batch({name: value for name, value in given.items() if value is not None}, drafts.SHELL, admin, mail)
    with opened_database() as opened:
        if source:
            create_from_file(opened, batch, source, options)
        else:
            create_alike(opened, batch, count or 1, options)


def named_guest(guest: str, option: str | None) -> str:
    """The guest's name as it was typed without an option; raises UsageError beside --name, or for an address."""
    if option is not None:
        raise click.UsageError("Give NAME or --name, not both.")
    if "@" in guest:
        raise click.UsageError(f"NAME is the guest's name: give an address with --email {guest}")
    return guest


def create_alike(opened: Database, batch: Batch, count: int, options: Options) -> None:
    """Create a number of invites from the same options, and print their links; raises CommandFailed if interrupted."""
    with interruptible("nothing was created"):
        with opened.reading():
            draft = presets.draft(batch.defaults, batch.inviter, batch.makes_admin)
            prepare = (invites.prepare(draft, batch.inviter, batch.mailed) for _ in range(count))
            prepared = list(with_progress(prepare, count))
            remarks = guests.remarks([(None, prepared[0])])
        keep(opened, prepared)
    with interruptible(all_made(count)):
        allow_interrupts()
        for each in prepared:
            print_link(each, options)
        if terminal.is_interactive():
            click.echo(summary(prepared), err=True)
        print_notes(batch, prepared, *remarks.get(prepared[0].id, ()))


def create_from_file(opened: Database, batch: Batch, source: BinaryIO, options: Options) -> None:
    """Create an invite for each row of a file, and print the links.

    Raises CommandFailed if it is interrupted, or a row is wrong; then nothing is created, unless the
    others are to be.
    """
    with interruptible("nothing was created"):
        left_out: list[str] = []
        rows = guests.read(source.read(), left_out if options.ignore_unknown else None)
        with opened.reading():
            checked = list(with_progress(batch.prepare(rows), len(rows)))
            remarks = guests.remarks((row, invite) for row, invite, _ in checked if invite)
        good = [invite for _, invite, _ in checked if invite]
        wrong = len(rows) - len(good)
        if left_out:
            click.echo(f"Note: {source.name}: left out: {terminal.safe(', '.join(left_out))}", err=True)
        print_remarks(source.name, checked, remarks)
        if options.dry_run or (wrong and not options.keep_going):
            report_check(source.name, checked, wrong)
            return
        keep(opened, good)
    with interruptible(all_made(len(good))):
        allow_interrupts()
        report(source.name, checked, options)
        print_notes(batch, good)
    if wrong:
        raise CommandFailed(f"{_wrong(wrong, len(rows))}; {were(len(good), 'invite')} created")


def report_check(file: str, checked: Sequence[Checked], wrong: int) -> None:
    """Print what is wrong with the rows of a file for which nothing is created; raises CommandFailed if a row is."""
    for row, _, problems in checked:
        print_problems(file, row, problems)
    if wrong:
        wrong_rows = _wrong(wrong, len(checked))
        raise CommandFailed(f"nothing was created: {wrong_rows}; --keep-going creates the others")
    click.echo(f"Note: all {len(checked)} rows are good; nothing was created", err=True)


def _wrong(wrong: int, rows: int) -> str:
    return f"{wrong} of {rows} rows {'is' if wrong == 1 else 'are'} wrong"


def report(file: str, checked: Sequence[Checked], options: Options) -> None:
    """Print for each row a line on stderr, and its link on stdout.

    For a wrong row the line on stdout is empty, so that the links are as many as the rows of the file.
    """
    for row, invite, problems in checked:
        print_problems(file, row, problems)
        if invite is None:
            click.echo("")
            continue
        whom = " ".join(each for each in (invite.name, invite.email) if each)
        click.echo(f"{file}, line {row.line}: created {invite.id} {terminal.safe(whom)}".rstrip(), err=True)
        print_link(invite, options)


def summary(made: Sequence[Invite]) -> str:
    """What was created, for the person at the terminal: ``For Anne · 1 use · expires 5 Dec (in 7 days)``."""
    invite = made[0]  # all are alike
    whom = " ".join(each for each in (invite.name, invite.email) if each) or "anyone with the link"
    uses = f"{invite.max_uses} use{'s' if invite.max_uses > 1 else ''}" + (" each" if len(made) > 1 else "")
    access = clock.spell_seconds(invite.access)
    more = [*([f"access for {access}"] if access else []), *(["needs approval"] if invite.approve else [])]
    return " · ".join([f"For {terminal.safe(whom)}", uses, terminal.expiry(invite.expires_at), *more])


def print_notes(batch: Batch, made: Sequence[Invite], *remarks: str) -> None:
    """Print on stderr what is to be known of the invites that were created, beside their links."""
    for each in remarks:
        click.echo(f"Note: {terminal.safe(each)}", err=True)
    unproven = [line for email in dict.fromkeys(each.email for each in made) for line in proof_note(email)]
    for line in [*unproven, *(mail_note() if batch.mailed else []), *loopback_line()]:
        print_line(line)


def print_remarks(file: str, checked: Sequence[Checked], remarks: Mapping[str, Sequence[str]]) -> None:
    """Print on stderr what is to be known of the guests of a file, with the lines of their rows."""
    for row, invite, _ in checked:
        for each in remarks.get(invite.id, ()) if invite else ():
            click.echo(f"Note: {file}, line {row.line}: {terminal.safe(each)}", err=True)


def print_problems(file: str, row: Row, problems: Sequence[Problem]) -> None:
    """Print on stderr what is wrong with a row, with its line in the file and the column."""
    for each in problems:
        column = f", column {row.headings.get(each.field, each.field)}" if each.field else ""
        click.echo(f"{file}, line {row.line}{terminal.safe(column)}: {terminal.safe(each.message)}", err=True)


def print_link(invite: Invite, options: Options) -> None:
    """Print the link of an invite, and draw its QR code if that was asked for."""
    link = invites.link(invites.token(invite))
    click.echo(link)
    if options.qr:
        terminal.qr(link)


def keep(opened: Database, prepared: Sequence[Invite]) -> None:
    """Store these invites in one unit of work.

    From here on Ctrl-C waits for `allow_interrupts`: otherwise it could come right after the commit, and
    the command would say that nothing was created.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with opened.writing():
        invites.add(prepared)


def allow_interrupts() -> None:
    """Let Ctrl-C interrupt again; one that came meanwhile does so now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def interruptible(state: str) -> Iterator[None]:
    """Inside, Ctrl-C or an error in writing the result becomes a CommandFailed that says `state`."""
    try:
        yield
    except KeyboardInterrupt:
        raise CommandFailed(f"interrupted: {state}") from None
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise CommandFailed(f"the result cannot be written: {error.strerror}; {state}") from error


def all_made(count: int) -> str:
    """The state after all invites were created, and how to get their links again."""
    created = "the invite was" if count == 1 else f"all {count} invites were"
    return f"{created} created; invite-api invite export --with-links prints {'it' if count == 1 else 'them'} again"


def with_progress(items: Iterator[T], length: int) -> Iterator[T]:
    """The items, with a progress bar on stderr if they are many and that is a terminal."""
    hidden = length < WORTH_SHOWING or not sys.stderr.isatty()
    with click.progressbar(items, length=length, label="Preparing", file=sys.stderr, hidden=hidden) as bar:
        yield from bar
