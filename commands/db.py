"""`invite-api db`: the database file."""

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import config
import database
import terminal
from commands.base import Group, Note, Refused, house, say
from database import files, lock, schema
from rules import invites
from upkeep import backup as copies
from upkeep import restore as restoring
from upkeep import transfer, upgrade

MOST_NAMED = 50


@click.group(cls=Group)
def db() -> None:
    """The database file: back it up, restore it, check it."""


@db.command(example="invite-api db path")
def path() -> None:
    """Print where the database is."""
    click.echo(database.called(config.load()))


@db.command(example="invite-api db check")
def check() -> None:
    """Look for damage, and print ok. Then the file is whole, all references hold, every use is accounted for."""
    with house() as open_house:
        problems = open_house.check()
        with open_house.reading():
            problems += [
                f"invite {each}: its uses are not the number of its redemptions" for each in invites.miscounted()
            ]
    if problems:
        raise Refused(
            "\n".join([f"the database is damaged; go back to a good copy of {open_house.called}:", *problems])
        )
    click.echo("ok")


@db.command(example="invite-api db backup today.db")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--quiet", "-q", is_flag=True, help="Say nothing if all went well, for cron.")
def backup(file: Path, quiet: bool) -> None:
    """Copy the database into one new FILE.

    It is checked, and its checksum put beside it; the server may run meanwhile. In a folder
    the copy is named after the moment. The master secret is not in it.
    """
    settings = config.load()
    source = files.found_file(settings)
    with lock.using(source):
        made = copies.make(source, file)
    if not quiet:
        say(str(made))
        say(Note(f"Note: {_secret(settings)}; without it old links are not shown again, but go on working"))


@db.command(example="invite-api db restore yesterday.db --yes")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reopen", is_flag=True, help="Let what was used, withdrawn or shut out since be open again.")
def restore(file: Path, yes: bool, reopen: bool) -> None:
    """Make a backup the database again.

    The server must be stopped. The present database is kept beside it. API keys and links are
    good as they were; everybody has to sign in again. Invites that were used or withdrawn since stay
    so, and what was made since is named.
    """
    os.umask(0o077)
    with restoring.prepared(config.load(), file.expanduser().absolute(), reopen) as ready:
        for line in _findings(ready):
            say(Note(line))
        if not yes:
            _ask(f"Replace {ready.path} by {file}?")
        kept = ready.finish()
    click.echo(ready.path)
    if kept:
        say(Note(f"Note: the former database is {kept}"))


@db.command(example="invite-api db migrate")
def migrate() -> None:
    """Bring the database to this version's schema.

    The server must be stopped; a backup is made first.
    """
    os.umask(0o077)
    settings = config.load()
    with database.alone(settings) as whole:
        steps = upgrade.steps(upgrade.version_of(whole))
        if not steps:
            click.echo(f"the schema is version {schema.VERSION}: there is nothing to do")
            return
        say(Note(_as_it_was(settings, steps[0].stem)))
        for name in upgrade.migrate(whole, steps):
            click.echo(f"{name}: done")


class _Place(click.ParamType[str]):
    """The URL of a database."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return config.database_url(value or " ")  # a setting may be empty, a place to copy to not
        except ValueError as error:
            self.fail(str(error), param, ctx)


@db.command(example="invite-api db copy --to postgresql://invites@db.example.org/invites")
@click.option("--from", "source", type=_Place(), help="The database to copy. Unset: that of the settings.")
@click.option("--to", "target", type=_Place(), required=True, help="An empty database, or a file that is not there.")
def copy(source: str | None, target: str) -> None:
    """Move everything to another database.

    From SQLite to PostgreSQL, or back. The server must be stopped.
    All of it is copied and compared, or nothing; the old database stays as it is.
    """
    os.umask(0o077)
    settings = config.load()
    old = replace(settings, database_url=source or settings.database_url)
    new = replace(settings, database_url=target)
    if old.database_url == new.database_url:
        raise Refused("--from and --to are the same database")
    with ExitStack() as shown, config.using(settings):
        copied = transfer.copy(old, new, lambda rows: shown.enter_context(_progress(rows)).update)
    for name, rows in copied.items():
        click.echo(f"{name}: {rows}")
    say(Note("Note: now set INVITE_API_DATABASE_URL to the new database, for the server and in your shell"))
    say(Note(f"Note: links are shown again under the same master secret alone: {_secret_place(settings)}"))


def _progress(rows: int) -> Any:
    """A bar at a terminal; nothing elsewhere."""
    return click.progressbar(length=rows, label="copying rows", file=sys.stderr, hidden=not sys.stderr.isatty())


def _as_it_was(settings: config.Settings, step: str) -> str:
    """Make a backup where the database is a file; what to say of it."""
    if not settings.on_sqlite:
        return "Note: no backup was made: PostgreSQL's own tools make them; each step is done as a whole or not at all"
    file = files.file_of(settings)
    made = copies.make(file, file.with_name(f"{file.stem}-before-{step}-{copies.moment()}.db"))
    return f"Note: the database as it was is {made}"


def _secret(settings: config.Settings) -> str:
    """Where the master secret is, and what to do with it."""
    where = _secret_place(settings)
    if settings.secret_key:
        return f"the master secret ({where}) is not in it: keep that as well, elsewhere"
    return f"the master secret, {where}, is not in it: keep a copy of that, elsewhere"


def _secret_place(settings: config.Settings) -> str:
    if settings.secret_key:
        return "INVITE_API_SECRET_KEY"
    return str(settings.secret_key_file or settings.instance / "secret.key")


def _findings(ready: restoring.Restore) -> Iterable[str]:
    for note in ready.notes:
        yield f"Warning: {note}"
    for heading, things in ready.named:
        yield f"Warning: {len(things)} {heading}:"
        for name, whose in things[:MOST_NAMED]:
            yield f"  {terminal.safe(name)}  {terminal.safe(whose or '')}".rstrip()
        if len(things) > MOST_NAMED:
            yield f"  … and {len(things) - MOST_NAMED} more"


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise Refused("nothing was changed: give --yes")
    if not click.confirm(question, err=True):
        raise Refused("nothing was changed")
