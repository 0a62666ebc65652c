"""`invite-api db`: backup, restore, check, migrate and copy the database."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import database
from commands import terminal
from commands.base import CommandFailed, Group, StderrLine, opened_database, print_result
from database import files, lock, schema
from rules import redemption
from settings import Settings, database_url, in_force, load_settings
from upkeep import backup as copies
from upkeep import restore as restoring
from upkeep import transfer, upgrade

MAX_NAMED = 50  # things of each kind that a restore warns of by name


@click.group(cls=Group)
def db() -> None:
    """The database file: back it up, restore it, check it."""


@db.command(example="invite-api db path")
def path() -> None:
    """Print where the database is."""
    click.echo(database.display_name(load_settings()))


@db.command(example="invite-api db check")
def check() -> None:
    """Check the database, and print ok. Then the file is whole, all references hold, every use is accounted for."""
    with opened_database() as opened:
        problems = opened.check()
        with opened.reading():
            problems += [
                f"invite {each}: its uses are not the number of its redemptions" for each in redemption.miscounted()
            ]
    if problems:
        raise CommandFailed(
            "\n".join([f"the database is damaged; go back to a good copy of {opened.name}:", *problems])
        )
    click.echo("ok")


class NewFile(click.Path):
    """A file that is to be created; a path that ends with a slash means a folder, which must be there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value).endswith(os.sep) and not Path(value).is_dir():
            raise CommandFailed(f"{value}: there is no such folder; create it, or name a file")
        return super().convert(value, param, ctx)


@db.command(example="invite-api db backup today.db")
@click.argument("file", type=NewFile(path_type=Path))
@click.option("--quiet", "-q", is_flag=True, help="Say nothing if all went well, for cron.")
def backup(file: Path, quiet: bool) -> None:
    """Copy the database into one new FILE.

    It is checked, and its checksum put beside it; the server may run meanwhile. In a folder
    the copy is named after the moment. The master secret is not in it.
    """
    settings = load_settings()
    source = files.existing_file(settings)
    with lock.using(source):
        made = copies.make(source, file)
    if not quiet:
        click.echo(str(made))
        click.echo(
            f"Note: {where_the_secret_is(settings)}; without it old links are not shown again, but go on working",
            err=True,
        )


@db.command(example="invite-api db restore yesterday.db --yes")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reopen", is_flag=True, help="Let what was used, revoked or disabled since be active again.")
def restore(file: Path, yes: bool, reopen: bool) -> None:
    """Replace the database by a backup.

    The server must be stopped. The present database is kept beside it. API keys and links
    work as before; everyone has to sign in again. Invites that were used or revoked since stay so, and
    what was created since is listed.
    """
    os.umask(0o077)
    with ExitStack() as stack:
        with nothing_is_changed():
            ready = stack.enter_context(restoring.prepared(load_settings(), file.expanduser().absolute(), reopen))
        for line in warnings(ready):
            click.echo(line, err=True)
        if not yes:
            confirm(f"Replace {ready.path} by {file}?")
        kept = ready.finish()
    print_result([str(ready.path), *([StderrLine(f"Note: the former database is {kept}")] if kept else [])])


@db.command(example="invite-api db migrate")
def migrate() -> None:
    """Update the database to this version's schema.

    The server must be stopped; a backup is created first.
    """
    os.umask(0o077)
    settings = load_settings()
    with database.exclusive(settings) as opened:
        steps = upgrade.steps(upgrade.version_of(opened))
        if not steps:
            click.echo(f"the schema is version {schema.VERSION}: there is nothing to do")
            return
        click.echo(backup_before(settings, steps[0].stem), err=True)
        for name in upgrade.migrate(opened, steps):
            click.echo(f"{name}: done")


class Url(click.ParamType[str]):
    """The URL of a database, or the path of a file, as in INVITE_API_DATABASE_URL."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The URL; a value that is none is wrong usage."""
        try:
            return database_url(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@db.command(example="invite-api db copy --to postgresql://invites@db.example.org/invites")
@click.option("--from", "source", type=Url(), help="The database to copy. Unset: that of the settings.")
@click.option("--to", "target", type=Url(), required=True, help="An empty database, or a file that is not there.")
def copy(source: str | None, target: str) -> None:
    """Move everything to another database.

    From SQLite to PostgreSQL, or back. The server must be stopped.
    All of it is copied and compared, or nothing; the old database stays as it is.
    """
    os.umask(0o077)
    settings = load_settings()
    old = replace(settings, database_url=source or settings.database_url)
    new = replace(settings, database_url=target)
    if old.database_url == new.database_url:
        raise CommandFailed("--from and --to are the same database")
    with ExitStack() as stack, in_force(settings):
        copied = transfer.copy(old, new, lambda rows: stack.enter_context(progress(rows)).update)
    print_result(f"{name}: {rows}" for name, rows in copied.items())
    click.echo("Note: now set INVITE_API_DATABASE_URL to the new database, for the server and in your shell", err=True)
    click.echo(f"Note: links can be shown again only with the same master secret: {secret_place(settings)}", err=True)


def progress(rows: int) -> Any:
    """A progress bar on stderr, which is hidden if that is not a terminal."""
    return click.progressbar(length=rows, label="copying rows", file=sys.stderr, hidden=not sys.stderr.isatty())


def backup_before(settings: Settings, step: str) -> str:
    """Back the database up before a step, if it is a file; returns the note on the backup."""
    if not settings.on_sqlite:
        return "Note: no backup was created: use PostgreSQL's own tools; each step is done as a whole or not at all"
    file = files.file_of(settings)
    made = copies.make(file, file.with_name(f"{file.stem}-before-{step}-{copies.moment()}.db"))
    return f"Note: the database as it was is {made}"


def where_the_secret_is(settings: Settings) -> str:
    """The note on where the master secret is, which is not in a backup, and what to do with it."""
    where = secret_place(settings)
    if settings.secret_key:
        return f"the master secret ({where}) is not in it: keep that as well, elsewhere"
    return f"the master secret, {where}, is not in it: keep a copy of that, elsewhere"


def secret_place(settings: Settings) -> str:
    """The setting or the file that holds the master secret."""
    if settings.secret_key:
        return "INVITE_API_SECRET_KEY"
    return str(settings.secret_key_file or settings.instance / "secret.key")


@contextmanager
def nothing_is_changed() -> Iterator[None]:
    """Inside, a refusal of the database also says that nothing was changed."""
    try:
        yield
    except database.Unavailable as error:
        text = str(error)
        raise CommandFailed(text if "nothing was changed" in text else f"{text}; nothing was changed") from error


def warnings(ready: restoring.Restore) -> Iterable[str]:
    """The lines that say what a restore changes; of each kind of thing at most `MAX_NAMED` are named."""
    for note in ready.notes:
        yield f"Warning: {note}"
    for heading, things in ready.findings:
        yield f"Warning: {len(things)} {heading}:"
        for name, whose in things[:MAX_NAMED]:
            yield f"  {terminal.safe(name)}  {terminal.safe(whose or '')}".rstrip()
        if len(things) > MAX_NAMED:
            yield f"  … and {len(things) - MAX_NAMED} more"


def confirm(question: str) -> None:
    """Ask at the terminal; raises CommandFailed if the answer is no, or there is no terminal to ask at."""
    if not sys.stdin.isatty():
        raise CommandFailed("nothing was changed: give --yes")
    if not click.confirm(question, err=True):
        raise CommandFailed("nothing was changed")
