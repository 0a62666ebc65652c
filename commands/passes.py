"""`invite-api pass`: passes, with which programs of members open an app behind the gate."""

from collections.abc import Iterable, Iterator

import click

from commands import terminal
from commands.base import Group, StderrLine, completed, expiry_note, json_option, limit_option, reads, writes
from commands.invites import SOME_ID
from commands.projects import slug_argument
from commands.terminal import Cell, Facts, Kind
from commands.users import any_user, who_argument
from commands.users import facts as account_facts
from models import Pass
from rules import accounts, fields, passes, projects
from rules.refusals import Invalid


def row(found: Pass) -> list[Cell]:
    """The cells of a pass in the list: id, whose it is, project, name, when it was created and expires."""
    times = [found.created_at, found.expires_at or "never"]
    return [found.id, found.user.called, found.project.slug or "-", found.name or "-", *times]


def facts(found: Pass) -> Facts:
    """What JSON says of a pass: all but the pass itself."""
    return {
        "id": found.id,
        "name": found.name,
        "project": found.project.slug,
        "user": account_facts(found.user),
        "created_at": found.created_at,
        "expires_at": found.expires_at,
    }


PASSES = Kind(("ID", "WHO", "PROJECT", "NAME", "CREATED", "EXPIRES"), row, facts)


@completed
def any_pass(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a pass: the ids that begin with what was typed, and whose passes they are."""
    for each in passes.starting_with(typed, limit):
        yield each.id, f"{each.user.called}, {each.name or each.project.slug}"


@click.group(cls=Group, name="pass")
def pass_() -> None:
    """Create, list and delete passes of programs."""


@pass_.command(
    name="create",
    example="invite-api pass create bob tea-garden --ttl 90d --name calendar",
    lost="invite-api pass list names the pass, which is not shown again; delete it, and create another",
)
@who_argument
@slug_argument
@click.option("--ttl", default="never", help="Expires after: 90d, 12 weeks, or never. [never]")
@click.option("--name", help="What it is for.")
@writes
def create(who: str, slug: str, ttl: str, name: str | None) -> list[str]:
    """Create a pass for a program of a member, and print it. It is shown only once.

    The program sends it as the password of its user, or as a bearer token. Signing out does not end it; a new password
    of the account does, and the end of the membership.
    """
    lifetime = fields.access(ttl, "ttl")
    user = accounts.named(who)
    accounts.lock(user)
    if not user.may_sign_in:
        raise Invalid.at("who", "disabled", "is disabled: enable the account first, or name another one")
    made, secret = passes.create(projects.member(slug, user), name, lifetime)
    told = terminal.safe(f"Note: {user.called}'s programs use it as a password, and it is not shown again")
    return [secret, StderrLine(told), *expiry_note(made.expires_at)]


@pass_.command(name="list", example="invite-api pass list bob")
@click.argument("who", required=False, shell_complete=any_user)
@limit_option
@json_option
@reads
def list_passes(who: str | None, limit: int, as_json: bool) -> Iterable[str]:
    """List the newest passes, of all accounts or of one.

    The columns: id, whose it is, project, name, when it was created and expires.
    """
    found = passes.newest(limit, accounts.named(who) if who else None)
    return terminal.listing(found, PASSES, as_json)


@pass_.command(name="delete", example=f"invite-api pass delete {SOME_ID}")
@click.argument("pass_id", metavar="ID", shell_complete=any_pass)
@writes
def delete(pass_id: str) -> list[str]:
    """Delete a pass: the program that has it is refused from now on. You may give the pass instead of its ID."""
    passes.delete(passes.named(pass_id).id)
    return []
