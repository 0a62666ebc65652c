"""The `invite-api` command. It shares models and rules with the server, which may run meanwhile or not.

Results go to stdout, everything else to stderr; exit 0 done, 1 refused, 2 wrong usage.
"""

import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click

import config
import database
import terminal
from config import ConfigError
from database import Unavailable
from rules import accounts, fields, invites, keys, listing, outbox, projects
from rules.accounts import Names
from rules.listing import Filter
from rules.projects import Plan
from rules.refusals import EmailInUse, Invalid, InviteNotFound, Refusal, UserNotFound

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Examples(click.Command):
    """A command whose help ends with an example, given as `example=`."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Example"):
            formatter.write(f"  $ {self.example}\n")


class Group(click.Group):
    """A group of such commands; what goes wrong in one is said in a sentence, not a stack trace."""

    command_class = Examples
    group_class = type

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise _Misused(f"these settings cannot be used:\n{error}") from error
        except Invalid as error:
            raise _Refused("\n".join(f"--{p.field.replace('_', '-')}: {p.message}" for p in error.problems)) from error
        except UnicodeError as error:
            raise _Misused("what was typed is not UTF-8") from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read along has seen enough: Click ends quietly
                raise
            raise _Refused(f"the result cannot be written: {error.strerror}") from error
        except (Refusal, Unavailable) as error:
            raise _Refused(_WORDS.get(type(error), str(error))) from error


# What whoever runs the place needs to hear, where the refusal speaks to a guest.
_WORDS: dict[type[Exception], str] = {
    InviteNotFound: "no such invite: name one by its id, its token or its whole link; see invite-api invite list",
    UserNotFound: "no such account: name one by its id, user name or address; see invite-api user list",
    EmailInUse: "there is an account with this address already; see invite-api user show ADDRESS",
}


class _Refused(click.ClickException):
    """A refusal in words: exit 1."""


class _Misused(click.ClickException):
    """What cannot be understood: exit 2."""

    exit_code = 2


@contextmanager
def _house() -> Iterator[database.Database]:
    """The database of the settings in the environment, with these settings in force."""
    os.umask(0o077)
    with config.using(config.load()) as settings:
        yield database.open_database(settings)


class Note(str):
    """A line for the person at the terminal, beside the results."""


def writes(command: Callable[..., list[str]]) -> Callable[..., None]:
    """Run a command in one unit of work that changes something; then print the lines it returns."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with _house() as house:
            with house.writing():
                lines = command(*args, **options)
            for line in lines:  # only what is on disk is told
                click.echo(line, err=isinstance(line, Note))

    return run


def reads(command: Callable[..., Iterable[str]]) -> Callable[..., None]:
    """Run a command in one unit of work that only looks; print the lines it gives as they come."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with _house() as house, house.reading():
            for line in command(*args, **options):
                click.echo(line)

    return run


limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


@click.group(cls=Group, context_settings=HELP)
def main() -> None:
    """Make invites, and see who used them.

    create, list and delete manage the API keys of programs, as prosodyctl's mod_invites_api does;
    the groups do the rest.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a letter gets it as an escape
        sys.stdout.reconfigure(errors="backslashreplace")


@main.command(example='invite-api create "My test key"')
@click.argument("name", required=False)
@writes
def create(name: str | None) -> list[str]:
    """Make an API key and print it: ID/SECRET. It is shown only now."""
    return [keys.create(name)]


@main.command(name="list", example="invite-api list")
@json_option
@reads
def list_keys(as_json: bool) -> Iterable[str]:
    """List the API keys: id, tab, name."""
    return terminal.listing(keys.newest(), terminal.key_row, terminal.key_facts, as_json)


@main.command(example="invite-api delete HTwALnKL")
@click.argument("key_id")
@writes
def delete(key_id: str) -> list[str]:
    """Delete an API key: programs that use it are refused from now on. What it made stays."""
    keys.delete(key_id)
    return []


@main.group()
def invite() -> None:
    """Make, list, show and withdraw invites."""


@invite.command(name="create", example="invite-api invite create --name Anne --ttl 3d")
@click.option("--name", help="Whom it is for.")
@click.option("--email", help="Bind it to this address.")
@click.option("--project", help="The slug of the project to join.")
@click.option("--role", help="member or admin of the project.")
@click.option("--plan", help="A label for the program that verifies the invite. [solo]")
@click.option("--ttl", help="How long it lives: 3d, 12h, 2 weeks, or never. [INVITE_API_INVITE_TTL]")
@click.option("--uses", help="How many people may use it. [1]")
@click.option("--redirect-url", help="Where they may go afterwards.")
@click.option("--note", help="Your own words; never shown to the guest.")
@click.option("--admin", is_flag=True, help="Whoever uses it becomes an admin of this site (at most 24h, one use).")
@click.option("--mail", is_flag=True, help="Mail it to its address, too, with a link of its own.")
@writes
def create_invite(admin: bool, mail: bool, **given: str | None) -> list[str]:
    """Make an invite and print its link."""
    made = invites.create(invites.read(given, makes_admin=admin), invites.SHELL, mailed=mail)
    return [invites.link(invites.token(made))]


@invite.command(name="list", example="invite-api invite list --limit 20")
@limit_option
@json_option
@reads
def list_invites(limit: int, as_json: bool) -> Iterable[str]:
    """List the newest invites: id, state, uses, for whom, until when, made by."""
    return terminal.listing(listing.page(Filter(), limit), terminal.listed_row, terminal.listed_facts, as_json)


@invite.command(name="show", example="invite-api invite show 5b0e0c6e-0000-4000-8000-000000000000")
@click.argument("which")
@json_option
@reads
def show_invite(which: str, as_json: bool) -> Iterable[str]:
    """Show all about one invite, named by its id, its token or its link."""
    return terminal.details(terminal.invite_facts(invites.named(which)), as_json)


@invite.command(name="delete", example="invite-api invite delete 5b0e0c6e-0000-4000-8000-000000000000")
@click.argument("which")
@writes
def delete_invite(which: str) -> list[str]:
    """Withdraw an invite: its link stops working. It stays in the list."""
    invites.revoke(invites.named(which))
    return []


@invite.command(name="extend", example="invite-api invite extend 5b0e0c6e-0000-4000-8000-000000000000 3d")
@click.argument("which")
@click.argument("ttl")
@writes
def extend_invite(which: str, ttl: str) -> list[str]:
    """Let an invite live for so long from now: 3d, 12h, 2 weeks, or never."""
    invites.extend(invites.named(which), fields.ttl(ttl))
    return []


@invite.command(name="resend", example="invite-api invite resend 5b0e0c6e-0000-4000-8000-000000000000")
@click.argument("which")
@writes
def resend_invite(which: str) -> list[str]:
    """Mail an invite once more, with the same link, and let it live as long as a new one."""
    invites.resend(invites.named(which))
    return []


@invite.command(name="rotate", example="invite-api invite rotate 5b0e0c6e-0000-4000-8000-000000000000")
@click.argument("which")
@writes
def rotate_invite(which: str) -> list[str]:
    """Give an invite a new link and print it: the old ones are dead. A mailed one is mailed anew."""
    found = invites.named(which)
    invites.rotate(found)
    return [invites.link(invites.token(found))]


@main.group()
def user() -> None:
    """Make, list, show and manage accounts. One is named by its id, user name or address."""


@user.command(name="create", example="invite-api user create anne --email anne@example.org")
@click.argument("username", required=False)
@click.option("--email", help="The account's address, as yet unproven.")
@click.option("--admin", is_flag=True, help="Make it an admin of this site.")
@writes
def create_user(username: str | None, email: str | None, admin: bool) -> list[str]:
    """Make an account without an invite, and print the link with which its password is set."""
    if not (username or email):
        raise click.UsageError("Give a user name, --email, or both.")
    made = accounts.create(
        Names(fields.username(username) if username else None, fields.email(email) if email else None)
    )
    accounts.set_admin(made, admin)
    return [accounts.reset_link(made)]


@user.command(name="list", example="invite-api user list")
@limit_option
@json_option
@reads
def list_users(limit: int, as_json: bool) -> Iterable[str]:
    """List the newest accounts: id, admin or user or disabled, user name, address, since when."""
    return terminal.listing(accounts.newest(limit), terminal.account_row, terminal.account_facts, as_json)


@user.command(name="show", example="invite-api user show anne")
@click.argument("who")
@json_option
@reads
def show_user(who: str, as_json: bool) -> Iterable[str]:
    """Show all about one account."""
    return terminal.details(terminal.account_facts(accounts.named(who)), as_json)


@user.command(name="admin", example="invite-api user admin anne")
@click.argument("who")
@click.option("--off", is_flag=True, help="Take admin rights away again.")
@writes
def make_admin(who: str, off: bool) -> list[str]:
    """Make an account an admin of this site."""
    accounts.set_admin(accounts.named(who), not off)
    return []


@user.command(name="disable", example="invite-api user disable anne")
@click.argument("who")
@click.option("--off", is_flag=True, help="Let the account in again.")
@writes
def disable_user(who: str, off: bool) -> list[str]:
    """Shut an account out: its sessions end, the open invites it made are withdrawn."""
    found = accounts.named(who)
    if off:
        accounts.enable(found)
        return []
    return _withdrawn(accounts.disable(found))


@user.command(name="delete", example="invite-api user delete anne")
@click.argument("who")
@writes
def delete_user(who: str) -> list[str]:
    """Delete an account and withdraw the open invites it made; what it did stays in the history."""
    return _withdrawn(accounts.remove(accounts.named(who)))


@user.command(name="reset", example="invite-api user reset anne")
@click.argument("who")
@writes
def reset_user(who: str) -> list[str]:
    """Print a link with which a new password can be set, once and within a day."""
    return [accounts.reset_link(accounts.named(who))]


@main.group()
def project() -> None:
    """Make, list and delete projects. One is named by its slug."""


@project.command(name="create", example='invite-api project create "Tea Garden" --owner anne')
@click.argument("name")
@click.option("--owner", required=True, help="Whose it is: an account's id, user name or address.")
@click.option("--public", is_flag=True, help="Let everybody who has an account see it.")
@writes
def create_project(name: str, owner: str, public: bool) -> list[str]:
    """Make a project and print its slug."""
    plan = Plan(fields.text(name, "name", 100), is_public=public)
    return [str(projects.create(accounts.named(owner), plan).slug)]


@project.command(name="list", example="invite-api project list")
@limit_option
@json_option
@reads
def list_projects(limit: int, as_json: bool) -> Iterable[str]:
    """List the newest projects: slug, name, owner."""
    return terminal.listing(projects.newest(limit), terminal.project_row, terminal.project_facts, as_json)


@project.command(name="members", example="invite-api project members tea-garden")
@click.argument("slug")
@json_option
@reads
def list_members(slug: str, as_json: bool) -> Iterable[str]:
    """List who belongs to a project: account's id, role, user name, address, since when."""
    found = projects.members(projects.find(slug))
    return terminal.listing(found, terminal.member_row, terminal.member_facts, as_json)


@project.command(name="owner", example="invite-api project owner tea-garden bob")
@click.argument("slug")
@click.argument("who")
@writes
def hand_over(slug: str, who: str) -> list[str]:
    """Make somebody else the owner of a project; who was it becomes an admin of it."""
    projects.hand_over(projects.find(slug), accounts.named(who))
    return []


@project.command(name="delete", example="invite-api project delete tea-garden")
@click.argument("slug")
@writes
def delete_project(slug: str) -> list[str]:
    """Delete a project and withdraw its open invites; what happened stays in the history."""
    return _withdrawn(projects.remove_all(projects.find(slug)))


@main.group(name="outbox")
def outbox_group() -> None:
    """The mail that was sent, and that waits."""


@outbox_group.command(name="list", example="invite-api outbox list --waiting")
@click.option("--waiting", is_flag=True, help="Only what still waits.")
@limit_option
@json_option
@reads
def list_letters(waiting: bool, limit: int, as_json: bool) -> Iterable[str]:
    """List the newest mail: id, state, kind, to whom, tries, what went wrong last."""
    found = outbox.newest(limit, waiting)
    return terminal.listing(found, terminal.letter_row, terminal.letter_facts, as_json)


@outbox_group.command(name="retry", example="invite-api outbox retry")
@click.argument("letter", required=False)
@writes
def retry_letters(letter: str | None) -> list[str]:
    """Have the server try to send one mail, or all that wait, at once."""
    return [Note(f"Note: {outbox.retry(letter)} to be tried at once by the server")]


@main.group()
def db() -> None:
    """The database file."""


@db.command(example="invite-api db path")
def path() -> None:
    """Print where the database is."""
    click.echo(database.file_of(config.load()))


@main.command(example="invite-api routes")
def routes() -> None:
    """Print the map of the API: methods, path, who may call, how often."""
    from app import ROUTES

    for rows in ROUTES.values():
        for row in rows:
            click.echo("\t".join((row.methods, row.path, row.guard.__name__, row.limit or "no limit")))


@main.command(example="invite-api serve --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for any.")
def serve(host: str, port: int) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    import logs
    from app import HASHING, STREAMING, create_app
    from delivery.outbox import Postman
    from rules import passwords
    from server import Lanes, Server

    os.umask(0o077)
    settings = config.load()
    logs.start()
    app = create_app(settings)
    lanes = Lanes(settings.threads, (HASHING, passwords.ROOM + 1), (STREAMING, settings.threads))
    try:
        server = Server(app, host, port, lanes)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "there is no such address"
        raise _Refused(f"cannot listen on {host}:{port}: {why}; try another --host or --port") from error
    click.echo(f"invite-api listens on {server.address}, its database is {database.file_of(settings)}", err=True)
    if not os.environ.get("INVITE_API_PUBLIC_URL") and server.address != settings.public_url:
        click.echo(f"links will start with {settings.public_url}: set INVITE_API_PUBLIC_URL", err=True)
    postman = Postman(app.extensions["invite_api"].database, settings)
    postman.start()
    server.run()
    postman.stop()


def _withdrawn(count: int) -> list[str]:
    return [Note(f"Note: {count} open invites were withdrawn with it")] if count else []
