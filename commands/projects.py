"""`invite-api project`: projects and who belongs to them."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
from click.core import ParameterSource

from commands import terminal
from commands.base import Group, StderrLine, completed, json_option, limit_option, reads, revoked_note, were, writes
from commands.terminal import Cell, Facts, Kind
from commands.users import any_user
from commands.users import facts as account_facts
from models import Member, Project
from rules import accounts, fields, gate, projects, proxies, urls
from rules.projects import ProjectDraft
from rules.proxies import App


def row(project: Project) -> list[Cell]:
    """The cells of a project in the list: slug, name, owner."""
    return [project.slug or "-", project.name, project.owner.called if project.owner else "-"]


def facts(project: Project) -> Facts:
    """What JSON says of a project: everything, with its owner's id."""
    return {
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": project.owner and project.owner.id,
        "join_url": project.join_url,
        "created_at": project.created_at,
    }


def member_row(member: Member) -> list[Cell]:
    """The cells of a member in the list: the account's id, role, user name, address, when it joined, and until when."""
    user = member.user
    return [user.id, member.role, user.username or "-", user.email or "-", member.joined_at, member.ends_at or "-"]


def member_facts(member: Member) -> Facts:
    """What JSON says of a member: role, when it joined, when its access ends, and the account."""
    said: Facts = {"role": member.role, "joined_at": member.joined_at, "ends_at": member.ends_at}
    return {**said, "user": account_facts(member.user)}


PROJECTS = Kind(("SLUG", "NAME", "OWNER"), row, facts)
MEMBERS = Kind(("ID", "ROLE", "USER NAME", "ADDRESS", "SINCE", "UNTIL"), member_row, member_facts)


@completed
def any_project(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a project: the slugs that begin with what was typed, and the projects' names."""
    for each in projects.starting_with(typed, limit):
        yield str(each.slug), each.name


slug_argument = click.argument("slug", shell_complete=any_project)


@click.group(cls=Group)
def project() -> None:
    """Create, list and delete projects. One is named by its slug."""


@project.command(
    name="create",
    example='invite-api project create "Tea House" --owner anne',
    lost="invite-api project list prints its slug",
)
@click.argument("name")
@click.option(
    "--owner", required=True, help="The owner: an account's id, user name or address.", shell_complete=any_user
)
@click.option("--public", is_flag=True, help="Everyone with an account may see it.")
@writes
def create(name: str, owner: str, public: bool) -> list[str]:
    """Create a project and print its slug."""
    draft = ProjectDraft(fields.text(name, "name", 100), is_public=public)
    return [str(projects.create(accounts.named(owner), draft).slug)]


@project.command(name="list", example="invite-api project list")
@limit_option
@json_option
@reads
def list_projects(limit: int, as_json: bool) -> Iterable[str]:
    """List the newest projects: slug, name, owner."""
    return terminal.listing(projects.newest(limit), PROJECTS, as_json)


@project.command(name="members", example="invite-api project members tea-garden")
@slug_argument
@json_option
@reads
def list_members(slug: str, as_json: bool) -> Iterable[str]:
    """List the members of a project, as `member list` does."""
    return terminal.listing(projects.members(projects.find(slug)), MEMBERS, as_json)


@project.command(name="owner", example="invite-api project owner tea-garden bob")
@slug_argument
@click.argument("who", shell_complete=any_user)
@writes
def hand_over(slug: str, who: str) -> list[str]:
    """Give a project another owner. The former owner becomes an admin of it.

    The former owner's active invites for admins of the project are revoked: only an owner appoints admins.
    """
    revoked = projects.hand_over(slug, accounts.named(who))
    return [StderrLine(f"Note: {were(revoked, 'invite')} revoked: only an owner appoints admins")] if revoked else []


@project.command(
    name="join-url", example='invite-api project join-url tea-garden "https://app.example.org/join?i={token}"'
)
@slug_argument
@click.argument("url", required=False)
@click.option("--off", is_flag=True, help="Let guests join on the page of the invitation again.")
@writes
def set_join_url(slug: str, url: str | None, off: bool) -> list[str]:
    """Lead the guests of a project to a program of your own.

    URL has {token} in it, once. The links of invites stay as they are, and go on to the program.
    """
    if (url is None) != off:
        raise click.UsageError("Give a URL or --off.")
    projects.join_url(projects.find_locked(slug), None if url is None else urls.join_url(url))
    return []


@project.command(
    name="gate",
    example="invite-api project gate tea-garden https://photos.example.org\n"
    "invite-api project gate tea-garden --print nginx --app 127.0.0.1:2342",
)
@slug_argument
@click.argument("origin", nargs=-1)
@click.option("--off", is_flag=True, help="Remove the gate: a proxy that still asks is refused.")
@click.option(
    "--print", "proxy", type=click.Choice([*proxies.FILES]), help="Print the whole configuration of a reverse proxy."
)
@click.option("--app", "address", default=App.address, show_default=True, help="Where the app listens, for --print.")
@click.option("--public", multiple=True, metavar="PATH", help="A path that everyone reaches, such as /share/.")
@click.option("--user-header", "header", metavar="NAME", help="Where the app reads the user's name beside Remote-User.")
@writes
def set_gate(slug: str, origin: tuple[str, ...], off: bool, proxy: str | None, **app: Any) -> list[str]:
    """Let only the members of a project use an app. Without ORIGIN print where the app is.

    ORIGIN is where people reach the app, such as https://photos.example.org. Earlier origins are replaced. A
    reverse proxy asks the gate before each request to the app.
    """
    if off and (origin or proxy):
        raise click.UsageError("Give an ORIGIN, --print or --off.")
    if not proxy:
        refuse_for_proxy()
    if origin or off:
        gate.set_origins(slug, origin)
    found = gate.origins(projects.find(slug))
    if proxy:
        printed = proxies.configuration(proxy, slug, found, proxies.app(**app))
        return [*plain_note(found), printed.rstrip("\n")]
    return plain_note(found) if origin or off else [*found]


def refuse_for_proxy() -> None:
    """Raise UsageError for an option that was typed and says only what --print prints: it changes no gate."""
    context = click.get_current_context()
    for name, option in {"address": "--app", "public": "--public", "header": "--user-header"}.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} is about what --print prints: give --print, too. Nothing was changed.")


def plain_note(origins: Iterable[str]) -> list[str]:
    """A note for each origin at which passes travel unencrypted; none for one on this machine."""
    why = "is not encrypted, so anyone on the way can read a pass and use it"
    return [StderrLine(f"Note: {each} {why}") for each in urls.unencrypted(origins)]


@project.command(name="delete", example="invite-api project delete tea-garden")
@slug_argument
@writes
def delete(slug: str) -> list[str]:
    """Delete a project, and revoke its active invites. The history stays."""
    return revoked_note(projects.delete(slug))
