"""`invite-api user`: accounts."""

import functools
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from commands import terminal, trees
from commands.base import (
    Group,
    StderrLine,
    completed,
    json_option,
    limit_option,
    loopback_line,
    opened_database,
    print_result,
    reads,
    revoked_note,
    writes,
)
from commands.terminal import Cell, Facts, Kind
from models import User
from rules import accounts, admins, branches, budgets, fields, first_admin, ids, own_invites, resets
from rules.accounts import Names
from rules.refusals import together


def row(user: User) -> list[Cell]:
    """The cells of an account in the list: id, role or ``disabled``, user name, address, when it was created."""
    state = "disabled" if user.disabled_at else "admin" if admins.is_admin(user) else "user"
    return [user.id, state, user.username or "-", user.email or "-", user.created_at]


def facts(user: User) -> Facts:
    """What JSON says of an account: all but the hash of its password."""
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "email_verified_at": user.email_verified_at,
        "display_name": user.display_name,
        "admin": admins.is_admin(user),
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
    }


ACCOUNTS = Kind(("ID", "STATE", "USER NAME", "ADDRESS", "SINCE"), row, facts)


@completed
def any_user(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of an account: user names, addresses and ids that begin with what was typed, and the names."""
    for each in accounts.starting_with(typed, limit):
        names = [name for name in (each.username, each.email) if name and name.startswith(typed)]
        yield (names or [each.id])[0], each.called
    for each in ids.starting_with(User, typed, limit) if typed else ():
        yield each.id, each.called


who_argument = click.argument("who", shell_complete=any_user)


def notes_last_admin(command: Callable[..., None]) -> Callable[..., None]:
    """A decorator that lets a command say on stderr that the site has no admin any more, where that is its doing."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        was_wanted = _wants_admin()
        command(*args, **options)
        if not was_wanted and _wants_admin():
            how = "invite-api invite create --admin prints a link that makes one"
            print_result([StderrLine(f"Note: this site has no admin now; {how}")])

    return run


def _wants_admin() -> bool:
    with opened_database() as opened, opened.reading():
        return first_admin.is_wanted()


@click.group(cls=Group)
def user() -> None:
    """Create, list, show and manage accounts. One is named by its id, user name or address."""


@user.command(
    name="create",
    example="invite-api user create dora --email dora@example.org",
    lost="invite-api user reset WHO prints a new link that sets its password",
)
@click.argument("username", required=False)
@click.option("--email", help="The account's address, not verified yet.")
@click.option("--admin", is_flag=True, help="Make it an admin of this site.")
@writes
def create(username: str | None, email: str | None, admin: bool) -> list[str]:
    """Create an account without an invite. Prints the link that sets its password."""
    if not (username or email):
        raise click.UsageError("Give a user name, --email, or both.")
    names = together(
        lambda: fields.username(username) if username else None, lambda: fields.email(email) if email else None
    )
    made = accounts.create(Names(*names))
    accounts.set_admin(made, admin)
    return [resets.link(made), *loopback_line()]


@user.command(name="list", example="invite-api user list")
@limit_option
@json_option
@reads
def list_users(limit: int, as_json: bool) -> Iterable[str]:
    """List the newest accounts. The columns: id, state, user name, address, creation."""
    return terminal.listing(accounts.newest(limit), ACCOUNTS, as_json)


@user.command(name="show", example="invite-api user show anne")
@who_argument
@json_option
@reads
def show(who: str, as_json: bool) -> Iterable[str]:
    """Show all about one account."""
    found = accounts.named(who)
    left = budgets.left(found)
    invites = {"inviter": found.inviter_id, "budget": found.budget or budgets.DEFAULT, "invites_left": left.places}
    return terminal.details({**facts(found), **invites, "invites_back_at": left.back_at}, as_json)


@user.command(name="admin", example="invite-api user admin anne")
@who_argument
@click.option("--off", is_flag=True, help="Take admin rights away again.")
@notes_last_admin
@writes
def make_admin(who: str, off: bool) -> list[str]:
    """Make an account an admin of this site.

    With --off its invites that make an admin are revoked, and it is said how many others stay valid.
    """
    found = accounts.named(who)
    accounts.set_admin(found, not off)
    return _left_open(own_invites.active(found), who) if off else []


def _left_open(count: int, who: str) -> list[str]:
    """The note on the active invites of a former admin; [] for none."""
    listed = f"invite-api invite list --inviter {shlex.quote(who)} --state active"
    return [StderrLine(f"Note: its active invites stay valid ({count}): {listed}")] if count else []


@user.command(name="disable", example="invite-api user disable anne")
@who_argument
@click.option("--off", is_flag=True, help="Enable the account again.")
@click.option("--branch", is_flag=True, help="Also all it invited, directly or through others; not admins.")
@click.option("--dry-run", is_flag=True, help="With --branch: only show who that is.")
@notes_last_admin
@writes
def disable(who: str, off: bool, branch: bool, dry_run: bool) -> list[str]:
    """Disable an account. Its sessions end, and the active invites that it created are revoked.

    With --branch and --off those are enabled that were disabled by the same command. Prints who that is: id, what is
    done, name.
    """
    found = accounts.named(who)
    if dry_run and not branch:
        raise click.UsageError("--dry-run is for --branch.")
    if branch:
        return trees.disable(found, off, dry_run)
    if off:
        accounts.enable(found)
        return []
    return revoked_note(accounts.disable(found))


@user.command(name="budget", example="invite-api user budget anne 5/7d")
@who_argument
@click.argument("budget")
@writes
def set_budget(who: str, budget: str) -> list[str]:
    """Set how many people an account can invite.

    BUDGET is 5/7d, 0 for none, off for any number, or default for what the settings say.
    """
    budgets.set_budget(accounts.named(who), budget)
    return []


@user.command(name="tree", example="invite-api user tree anne")
@who_argument
@json_option
@reads
def tree(who: str, as_json: bool) -> Iterable[str]:
    """Show the people whom an account invited, directly or not.

    The columns: name, state, how many it invited, how many are below it in all, id, since when.
    """
    return trees.shown(accounts.named(who), as_json)


@user.command(name="move", example="invite-api user move anne --under bob")
@who_argument
@click.option("--under", help="The account that is its inviter from now on.", shell_complete=any_user)
@click.option("--root", is_flag=True, help="From now on nobody is its inviter.")
@writes
def move(who: str, under: str | None, root: bool) -> list[str]:
    """Give an account, and with it its branch, another inviter."""
    if root == (under is not None):
        raise click.UsageError("Give --under WHOM or --root.")
    branches.move(accounts.named(who), accounts.named(under) if under is not None else None)
    return []


@user.command(name="delete", example="invite-api user delete anne")
@who_argument
@notes_last_admin
@writes
def delete(who: str) -> list[str]:
    """Delete an account, and revoke the active invites that it created. The history stays."""
    return revoked_note(accounts.remove(accounts.named(who)))


@user.command(name="reset", example="invite-api user reset anne", lost="invite-api user reset WHO prints another link")
@who_argument
@writes
def reset(who: str) -> list[str]:
    """Print a link that sets a new password. It works once, within a day."""
    return [resets.link(accounts.named(who)), *loopback_line()]
