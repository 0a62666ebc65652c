"""`invite-api outbox`: the mail."""

from collections.abc import Iterable, Iterator

import click

from commands import terminal
from commands.base import Group, StderrLine, completed, json_option, limit_option, mail_note, reads, writes
from commands.terminal import Cell, Facts, Kind
from models import Letter
from rules import ids
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
    """Let the server send one mail, or all that wait, now."""
    count = letters.retry(letter)
    return [StderrLine(f"Note: {count} to be sent now by the server"), *(mail_note() if count else [])]
