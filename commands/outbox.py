"""`invite-api outbox`: the mail, and the addresses to which no invitation is mailed."""

from collections.abc import Iterable, Iterator

import click

import clock
from commands import terminal
from commands.base import Group, StderrLine, completed, json_option, limit_option, mail_note, reads, writes
from commands.terminal import Cell, Facts, Kind
from models import BlockedAddress, Letter
from rules import blocked_addresses, fields, ids
from rules import outbox as letters


def row(letter: Letter) -> list[Cell]:
    """The cells of a letter in the list: id, state, kind, recipient, number of attempts, last error."""
    return [letter.id, letter.state, letter.kind, letter.recipient, str(letter.attempts), letter.last_error or "-"]


def facts(letter: Letter) -> Facts:
    """What JSON says of a letter: everything, since a letter contains no secret."""
    return {
        "id": letter.id,
        "state": letter.state,
        "kind": letter.kind,
        "recipient": letter.recipient,
        "invite_id": letter.invite_id,
        "attempts": letter.attempts,
        "last_error": letter.last_error,
        "created_at": letter.created_at,
        "due_at": letter.due_at,
        "sent_at": letter.sent_at,
    }


LETTERS = Kind(("ID", "STATE", "KIND", "TO", "TRIES", "ERROR"), row, facts)


def blocked_row(address: BlockedAddress) -> list[Cell]:
    """The cells of a blocked address: the beginning of its hash, and when it was blocked."""
    return [address.hash[:8], address.blocked_at]


def blocked_facts(address: BlockedAddress) -> Facts:
    """What JSON says of a blocked address."""
    return {"hash": address.hash, "blocked_at": address.blocked_at}


BLOCKED = Kind(("HASH", "SINCE"), blocked_row, blocked_facts)


@completed
def any_letter(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a letter: the ids of unsent ones that begin with what was typed, and the recipients."""
    for each in ids.starting_with(Letter, typed, limit):
        if not each.sent_at:
            yield each.id, each.recipient


@click.group(cls=Group)
def outbox() -> None:
    """List the mail that was sent or waits, and send it again."""


@outbox.command(name="list", example="invite-api outbox list --waiting")
@click.option("--waiting", is_flag=True, help="Only mail that waits.")
@limit_option
@json_option
@reads
def list_letters(waiting: bool, limit: int, as_json: bool) -> Iterable[str]:
    """List the newest mail. The columns: id, state, kind, recipient, tries, last error."""
    return terminal.listing(letters.newest(limit, waiting), LETTERS, as_json)


@outbox.command(name="retry", example="invite-api outbox retry")
@click.argument("letter", required=False, shell_complete=any_letter)
@writes
def retry(letter: str | None) -> list[str]:
    """Let the server send one mail, or all that wait, now. What it is just sending is left alone."""
    retried = letters.retry(letter)
    notes = [StderrLine(f"Note: {retried.due} to be sent now by the server"), *(mail_note() if retried.due else [])]
    return notes + ([StderrLine(_left(retried.left))] if retried.left else [])


def _left(count: int) -> str:
    """Why so many mails are left alone."""
    minutes = letters.LEASE // clock.MINUTE
    return (
        f"Note: {count} left alone: being sent just now, or when the server was stopped; "
        f"what does not arrive is sent again within {minutes} minutes"
    )


@outbox.command(name="block", example="invite-api outbox block anne@example.org")
@click.argument("email", metavar="ADDRESS")
@writes
def block(email: str) -> list[str]:
    """Mail no more invitations to an address.

    This holds for every account that sends them. Codes and links for a new password are still mailed there.
    """
    blocked_addresses.block_address(fields.email(email))
    return []


@outbox.command(name="unblock", example="invite-api outbox unblock anne@example.org")
@click.argument("email", metavar="ADDRESS")
@writes
def unblock(email: str) -> list[str]:
    """Mail invitations to an address again.

    It was blocked by its person, with the link in an invitation, or by the command.
    """
    if not blocked_addresses.unblock_address(fields.email(email)):
        return [StderrLine("Note: this address was not blocked")]
    return []


@outbox.command(name="blocked", example="invite-api outbox blocked")
@click.argument("email", metavar="[ADDRESS]", required=False)
@limit_option
@json_option
@reads
def blocked(email: str | None, limit: int, as_json: bool) -> Iterable[str]:
    """List the blocked addresses, the latest first. The columns: hash, since when.

    The addresses themselves are not stored, only a keyed hash of each. So name an address to see whether it is blocked.
    """
    if email is None:
        return terminal.listing(blocked_addresses.newest(limit), BLOCKED, as_json)
    found = blocked_addresses.blocked_since(fields.email(email))
    return terminal.listing([found] if found else [], BLOCKED, as_json)
