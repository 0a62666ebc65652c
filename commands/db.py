"""`invite-api db`: the database file."""

import click

import config
import database
from commands.base import Group, Refused, house
from rules import invites


@click.group(cls=Group)
def db() -> None:
    """The database file."""


@db.command(example="invite-api db path")
def path() -> None:
    """Print where the database is."""
    click.echo(database.file_of(config.load()))


@db.command(example="invite-api db check")
def check() -> None:
    """Look for damage, and print ok: the file is whole, all references hold, every use is accounted for."""
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
