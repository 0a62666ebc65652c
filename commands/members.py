"""`invite-api member`: the members of a project, and until when they are."""

from collections.abc import Iterable

import click

from commands import terminal
from commands.base import Group, expiry_note, json_option, reads, revoked_note, writes
from commands.projects import MEMBERS, slug_argument
from commands.users import who_argument
from rules import accounts, fields, projects


@click.group(cls=Group)
def member() -> None:
    """List, extend and remove members of a project. One is named as an account is."""


@member.command(name="list", example="invite-api member list tea-garden")
@slug_argument
@json_option
@reads
def list_members(slug: str, as_json: bool) -> Iterable[str]:
    """List the members of a project. The columns: account's id, role, user name, address, joined, access ends."""
    return terminal.listing(projects.members(projects.find(slug)), MEMBERS, as_json)


@member.command(name="extend", example="invite-api member extend tea-garden bob 60d")
@slug_argument
@who_argument
@click.argument("access")
@writes
def extend(slug: str, who: str, access: str) -> list[str]:
    """Set when the access of a member ends, counted from now.

    ACCESS is 60d, 12 weeks, or never. It may be less than it was.
    """
    length = fields.access(access)
    found = projects.member(slug, accounts.named(who))
    projects.extend(found, length)
    return expiry_note(found.ends_at)


@member.command(name="remove", example="invite-api member remove tea-garden bob")
@slug_argument
@who_argument
@writes
def remove(slug: str, who: str) -> list[str]:
    """Remove a member from a project.

    The next request to its app is refused, their passes for it end, and the active invites to the project that they
    created are revoked. The account stays. The owner is not removed: first give the project another owner.
    """
    return revoked_note(projects.end_membership(projects.member(slug, accounts.named(who))))
