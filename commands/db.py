"""`invite-api db`: the database file."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

import config
import database
import terminal
from commands.base import Group, Note, Refused, house, say
from rules import invites
from upkeep import backup as copies
from upkeep import lock, upgrade
from upkeep import restore as restoring

MOST_NAMED = 50


@click.group(cls=Group)
def db() -> None:
    """The database file: back it up, restore it, check it."""


@db.command(example="invite-api db path")
def path() -> None:
    """Print where the database is."""
    click.echo(database.file_of(config.load()))


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
            "\n".join(
                [f"the database is damaged; go back to a good copy of {database.file_of(config.load())}:", *problems]
            )
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
    source = database.found_file(settings)
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
    file = database.found_file(config.load())
    with lock.alone(file), database.connect(file) as connection:
        steps = upgrade.steps(upgrade.version_of(connection))
        if not steps:
            click.echo(f"the schema is version {database.VERSION}: there is nothing to do")
            return
        made = copies.make(file, file.with_name(f"{file.stem}-before-{steps[0].stem}-{copies.moment()}.db"))
        say(Note(f"Note: the database as it was is {made}"))
        for name in upgrade.migrate(connection, steps):
            click.echo(f"{name}: done")


def _secret(settings: config.Settings) -> str:
    """Where the master secret is, and what to do with it."""
    if settings.secret_key:
        return "the master secret (INVITE_API_SECRET_KEY) is not in it: keep that as well, elsewhere"
    where = settings.secret_key_file or settings.instance / "secret.key"
    return f"the master secret, {where}, is not in it: keep a copy of that, elsewhere"


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
