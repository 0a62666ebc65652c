"""`invite-api invite`: list, show, export and manage invites. They are created in creating.py."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import click

import clock
from commands import terminal, waiting
from commands.base import (
    CommandFailed,
    Group,
    StderrLine,
    completed,
    expiry_note,
    json_option,
    limit_option,
    loopback_line,
    mail_note,
    opened_database,
    reads,
    writes,
)
from commands.creating import create
from commands.projects import any_project
from commands.showing import facts, promised
from commands.terminal import Cell, Facts, Kind
from models import Invite, Redemption
from rules import bulk, changing, cursors, fields, ids, invites, listing, states
from rules import waiting as waits
from rules.bulk import Outcome
from rules.listing import ALIASES, STATES, Filter, Listed
from rules.refusals import Invalid, InviteNotFound, together

ASKED_ID = "c7a1f2d8-0000-4000-8000-000000000000"
SOME_ID = "5b0e0c6e-0000-4000-8000-000000000000"


def row(each: Listed) -> list[Cell]:
    """The cells of an invite in the list: id, state, uses, guest, when it expires, inviter.

    In a pipe the guest is the address, or without one the name, as scripts expect it; beside an address the name
    comes last. At a terminal the state has beside it who waits, and how many uses are held.
    """
    who, until, state = each.email or each.name or "-", each.expires_at or "never", each.state
    hidden = [each.name] if each.email and each.name else []
    if terminal.is_interactive():
        state = ", ".join(filter(None, (each.state, waiting.in_brief(each.waiting))))
        who, hidden = f"{each.name} <{each.email}>" if hidden else who, []
    return [each.id, state, f"{each.uses}/{each.max_uses}", who, until, each.made_by, *hidden]


def listed_facts(each: Listed) -> Facts:
    """What JSON says of an invite in the list: all but its token and its code, which open it."""
    shown = {name: value for name, value in vars(each).items() if name not in ("token", "legacy_code", "waiting")}
    return {**shown, **promised(each, as_json=True), **waiting.facts(each.waiting)}


LISTED = Kind(("ID", "STATE", "USES", "FOR", "EXPIRES", "CREATED BY"), row, listed_facts)


@completed
def any_invite(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of an invite: the ids that begin with what was typed, and the guests' names and addresses."""
    for each in ids.starting_with(Invite, typed, limit):
        yield each.id, " ".join(filter(None, (each.name, each.email)))


which_argument = click.argument("which", shell_complete=any_invite)
several_argument = click.argument("which", nargs=-1, required=True, shell_complete=any_invite)


@completed
def any_waiting(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a guest who waits for approval, of any invite: the names that begin with what was typed."""
    for each in waits.for_approval(limit):
        if each.who.startswith(typed):
            yield each.who, f"waits since {clock.iso(each.since)[:16]}Z"


who_argument = click.argument("who", required=False, shell_complete=any_waiting)


class State(click.Choice[str]):
    """A state of invites; the former words for some of them are taken, too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The state, by its own word."""
        return super().convert(ALIASES.get(str(value), value), param, ctx)


def filters(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds the options by which invites are filtered; `listing.read` reads their values."""
    for option in (
        click.option("--text", "q", help="Only those with this in their name, address or note."),
        click.option("--email", help="Only those for this address."),
        click.option("--inviter", "--maker", "inviter", help="Only those created by this account, API key or shell."),
        click.option("--project", help="Only those to the project with this slug.", shell_complete=any_project),
        click.option("--state", "status", type=State(list(STATES)), help="Only those in this state."),
    ):
        command = option(command)
    return command


@click.group(cls=Group, aliases={"delete": "revoke"})
def invite() -> None:
    """Create, list, show and revoke invites. One is named by its id, its token or its whole link."""


invite.add_command(create)


@invite.command(name="list", example="invite-api invite list --state active --inviter anne")
@filters
@click.option("--after", metavar="ID", help="Go on after this invite.", shell_complete=any_invite)
@limit_option
@json_option
@reads
def list_invites(after: str | None, limit: int, as_json: bool, **given: str | None) -> Iterable[str]:
    """List the newest invites.

    The columns: id, state, uses, guest, expiry, created by; in a pipe also the name beside an address.
    """
    found = listing.page(read_filter(given, after), limit + 1)
    shown = terminal.listing(found[:limit], LISTED, as_json)
    more = [StderrLine(f"Note: there are more; go on with --after {found[limit - 1].id}")] if len(found) > limit else []
    return itertools.chain(shown, more)


@invite.command(name="show", example=f"invite-api invite show {SOME_ID}")
@which_argument
@click.option("--qr", is_flag=True, help="Draw the link as a QR code, too.")
@json_option
@reads
def show(which: str, qr: bool, as_json: bool) -> Iterator[str]:
    """Show all about an invite, its link, and what has happened to it."""
    found = facts(invites.named(which), as_json)
    yield from terminal.details(found, as_json)
    if qr and found["link"]:
        terminal.qr(str(found["link"]))


@invite.command(name="revoke", example=f"invite-api invite revoke {SOME_ID}")
@several_argument
@writes
def revoke(which: tuple[str, ...]) -> list[str]:
    """Revoke invites: their links no longer work. They stay in the list. The command is called delete, too.

    Of several, those that are used or revoked already stay as they are. If one is not there, none is revoked.
    """
    if len(which) > 1:
        return outcome_note("revoked", bulk.revoke(ids_of(which)))
    changing.revoke(invites.named(*which))
    return []


@invite.command(name="extend", example=f"invite-api invite extend {SOME_ID} 30d")
@several_argument
@click.argument("ttl")
@click.option("--earlier", is_flag=True, help="Allow an earlier expiry; for one invite only.")
@writes
def extend(which: tuple[str, ...], ttl: str, earlier: bool) -> list[str]:
    """Let invites expire later: so long from now. TTL is 30d, 12h, 2 weeks, or never.

    One that expires later already is refused; --earlier lets it expire earlier.

    Of several, those that are used, revoked, or expire later already stay as they are. If one is not there, none is
    extended.
    """
    if len(which) > 1:
        if earlier:
            raise click.UsageError("--earlier is for one invite: of several, none expires earlier than it would.")
        return outcome_note("extended", bulk.extend(ids_of(which), fields.ttl(ttl)))
    found, length = invites.named(*which), fields.ttl(ttl)
    if not earlier:
        refuse_shorter(found, length)
    changing.extend(found, length)
    return expiry_note(found.expires_at)


def refuse_shorter(invite: Invite, ttl: timedelta | None) -> None:
    """Raise CommandFailed for an invite that would expire earlier, or what a used or revoked one is refused with."""
    states.refuse_used_or_revoked(invite)
    if changing.would_shorten(invite, ttl):
        until = invite.expires_at
        valid = f"is already valid until {until.day} {until:%B %Y, %H:%M} UTC" if until else "never expires"
        raise CommandFailed(f"it {valid}: to let it expire earlier, add --earlier")


@invite.command(name="resend", example=f"invite-api invite resend {SOME_ID}")
@which_argument
@writes
def resend(which: str) -> list[str]:
    """Mail an invite once more, with the same link. It then expires no earlier than a new one."""
    found = invites.named(which)
    changing.resend(found)
    return [*expiry_note(found.expires_at), *mail_note()]


@invite.command(
    name="rotate",
    example=f"invite-api invite rotate {SOME_ID}",
    lost="the old links no longer work; invite-api invite show WHICH prints the new one",
)
@which_argument
@writes
def rotate(which: str) -> list[str]:
    """Give an invite a new link, and print it. The old links no longer work. A mailed one is mailed again."""
    found = invites.named(which)
    changing.rotate(found)
    return [invites.link(invites.token(found)), *loopback_line(), *(mail_note() if found.mail_token_hash else [])]


@invite.command(name="approve", example=f"invite-api invite approve {ASKED_ID} bob")
@which_argument
@who_argument
@writes
def approve(which: str, who: str | None) -> list[str]:
    """Approve a guest who waits for approval. WHO may be left out if only one waits.

    WHO is a name, a user name or address, a program's name for its guest, or the id of the use.
    """
    return decided(waits.approve(waiting.approvable(invites.named(which), who)))


@invite.command(name="deny", example=f"invite-api invite deny {ASKED_ID} alice")
@which_argument
@who_argument
@writes
def deny(which: str, who: str | None) -> list[str]:
    """Deny a guest who waits for approval; the use is given back. WHO may be left out if only one waits."""
    return decided(waits.deny(waiting.approvable(invites.named(which), who)))


@invite.command(name="export", example="invite-api invite export --state used > invites.csv")
@filters
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", help="CSV, or a JSON line each.")
@click.option("--with-links", is_flag=True, help="With the links, which let people in.")
def export(form: str, with_links: bool, **given: str | None) -> None:
    """Print the invites, the newest first, as CSV or JSON lines."""
    from commands import exporting

    with opened_database() as opened:
        with opened.reading():
            wanted = read_filter(given)
        for line in exporting.lines(opened, wanted, form, with_links):
            click.echo(line)


def ids_of(which: Sequence[str]) -> list[str]:
    """The ids of the invites that were typed; raises Invalid with all that are not there."""
    return together(*(partial(id_of, each) for each in which))


def id_of(which: str) -> str:
    """The id of an invite that was typed among others; raises Invalid, which names it."""
    try:
        return invites.named(which).id
    except InviteNotFound:
        raise Invalid.at(
            "which", "exists", "names no invite: %(which)s; nothing was changed", which=terminal.safe(which[:80])
        ) from None


def outcome_note(done: str, outcome: Outcome) -> list[str]:
    """What came of an act on several invites, if some stayed as they are; at a terminal in any case."""
    left = (
        (outcome.used, "used already"),
        (outcome.revoked, "revoked already"),
        (outcome.later, "expire later already"),
        (outcome.ended, "not extended, since the access of their inviter has ended"),
    )
    if not (terminal.is_interactive() or any(number for number, _ in left)):
        return []
    parts = [f"{outcome.changed} {done}", *(f"{number} {why}" for number, why in left if number)]
    return [StderrLine(f"Note: {', '.join(parts)}")]


def read_filter(given: dict[str, str | None], after: str | None = None) -> Filter:
    """The filter that the options say. `after` names an invite: the list begins after it."""
    wanted = listing.read(given)
    if after is None:
        return wanted
    return replace(wanted, after=cursors.of(invites.named(after)))


def decided(use: Redemption) -> list[str]:
    """The note on the mail that tells a guest how it was decided; [] where there is none, or a server sends it."""
    if use.state == "released":
        return [StderrLine("Note: this guest is a member already, so the use was given back")]
    return mail_note() if use.user and use.user.email else []
