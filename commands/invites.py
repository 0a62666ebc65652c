"""`invite-api invite`: list, show, export and manage invites. Making them is in making.py."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import click

import clock
import terminal
from commands.base import Group, Note, completed, house, json_option, limit_option, reads, say, writes
from commands.making import create
from commands.projects import any_project
from models import Invite, Redemption
from rules import fields, history, ids, invites, listing, places
from rules.history import Event
from rules.listing import STATES, Filter, Listed
from rules.refusals import LinkLost
from terminal import Cell, Facts, Kind

SOME_ID = "5b0e0c6e-0000-4000-8000-000000000000"


def row(each: Listed) -> list[Cell]:
    """Id, state, uses, for whom, until when, made by."""
    who, until = each.email or each.name or "-", each.expires_at or "never"
    return [each.id, each.state, f"{each.uses}/{each.max_uses}", who, until, each.made_by]


def listed_facts(each: Listed) -> Facts:
    """All but what would let somebody in."""
    return {name: value for name, value in vars(each).items() if name not in ("token", "legacy_code")}


LISTED = Kind(("ID", "STATE", "USES", "FOR", "EXPIRES", "MADE BY"), row, listed_facts)


def facts(invite: Invite) -> Facts:
    """Everything, with the link, who used it, and what has happened."""
    return {
        "id": invite.id,
        "state": invite.state(clock.now()),
        "uses": invite.uses,
        "max_uses": invite.max_uses,
        "name": invite.name,
        "email": invite.email,
        "project": invite.project.slug or invite.project.name if invite.project else None,
        "role": invite.role,
        "plan": invite.plan,
        "makes_admin": invite.makes_admin,
        "redirect_url": invite.redirect_url,
        "note": invite.note,
        "made_by": invite.made_by,
        "created_at": invite.created_at,
        "expires_at": invite.expires_at,
        "revoked_at": invite.revoked_at,
        "link": _link(invite),
        "used_by": [_use(each) for each in invite.redemptions],
        "timeline": [_event(each) for each in history.of(invite)],
    }


@completed
def any_invite(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """The ids that begin so, with whom they are for."""
    for each in ids.beginning(Invite, typed, limit):
        yield each.id, each.email or each.name or ""


which_argument = click.argument("which", shell_complete=any_invite)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which invites are meant; `listing.read` understands them."""
    for option in (
        click.option("--text", "q", help="Only those with this in their name, address or note."),
        click.option("--email", help="Only those bound to this address."),
        click.option("--maker", help="Only those that this account, API key or shell made."),
        click.option("--project", help="Only those to the project with this slug.", shell_complete=any_project),
        click.option("--state", "status", type=click.Choice(list(STATES)), help="Only those in this state."),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def invite() -> None:
    """Make, list, show and withdraw invites. One is named by its id, its token or its whole link."""


invite.add_command(create)


@invite.command(name="list", example="invite-api invite list --state active --maker anne")
@filters
@click.option("--after", metavar="ID", help="Go on after this invite.", shell_complete=any_invite)
@limit_option
@json_option
@reads
def list_invites(after: str | None, limit: int, as_json: bool, **given: str | None) -> Iterable[str]:
    """List the newest invites. The columns: id, state, uses, for whom, until when, made by."""
    found = listing.page(_filter(given, after), limit + 1)
    shown = terminal.listing(found[:limit], LISTED, as_json)
    more = [Note(f"Note: there are more; go on with --after {found[limit - 1].id}")] if len(found) > limit else []
    return itertools.chain(shown, more)


@invite.command(name="show", example=f"invite-api invite show {SOME_ID}")
@which_argument
@click.option("--qr", is_flag=True, help="Draw the link as a QR code, too.")
@json_option
@reads
def show(which: str, qr: bool, as_json: bool) -> Iterator[str]:
    """Show all about an invite, its link, and what has happened to it."""
    found = facts(invites.named(which))
    yield from terminal.details(found, as_json)
    if qr and found["link"]:
        terminal.qr(str(found["link"]))


@invite.command(name="delete", example=f"invite-api invite delete {SOME_ID}")
@which_argument
@writes
def delete(which: str) -> list[str]:
    """Withdraw an invite: its link stops working. It stays in the list."""
    invites.revoke(invites.named(which))
    return []


@invite.command(name="extend", example=f"invite-api invite extend {SOME_ID} 3d")
@which_argument
@click.argument("ttl")
@writes
def extend(which: str, ttl: str) -> list[str]:
    """Let an invite live for so long from now. TTL is 3d, 12h, 2 weeks, or never."""
    invites.extend(invites.named(which), fields.ttl(ttl))
    return []


@invite.command(name="resend", example=f"invite-api invite resend {SOME_ID}")
@which_argument
@writes
def resend(which: str) -> list[str]:
    """Mail an invite once more, with the same link. It lives as long as a new one from then on."""
    invites.resend(invites.named(which))
    return []


@invite.command(name="rotate", example=f"invite-api invite rotate {SOME_ID}")
@which_argument
@writes
def rotate(which: str) -> list[str]:
    """Give an invite a new link and print it: the old ones are dead. A mailed one is mailed anew."""
    found = invites.named(which)
    invites.rotate(found)
    return [invites.link(invites.token(found))]


@invite.command(name="export", example="invite-api invite export --state used > invites.csv")
@filters
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", help="CSV, or a JSON line each.")
@click.option("--with-links", is_flag=True, help="With the links, which let people in.")
def export(form: str, with_links: bool, **given: str | None) -> None:
    """Print the invites, the newest first, as CSV or JSON lines."""
    from commands import exporting

    with house() as open_house:
        with open_house.reading():
            wanted = _filter(given)
        for line in exporting.lines(open_house, wanted, form, with_links):
            say(line)


def _filter(given: dict[str, str | None], after: str | None = None) -> Filter:
    wanted = listing.read(given)
    if after is None:
        return wanted
    return replace(wanted, after=places.of(invites.named(after)))


def _link(invite: Invite) -> str | None:
    try:
        return invites.link(invites.token(invite))
    except LinkLost as lost:
        say(Note(f"Note: {lost}"))
        return None


def _use(redemption: Redemption) -> Facts:
    user = redemption.user
    return {"at": redemption.redeemed_at, "user": user.called if user else None, "user_id": redemption.user_id}


def _event(event: Event) -> Facts:
    return {"what": event.what, "who": event.who or None, "at": event.at, "trouble": event.trouble or None}
