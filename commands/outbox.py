"""`invite-api outbox`: the mail."""

from collections.abc import Iterable, Iterator

import click

import terminal
from commands.base import Group, Note, completed, json_option, limit_option, reads, writes
from models import Letter
from rules import ids
from rules import outbox as letters
from terminal import Cell, Facts, Kind


def state(letter: Letter) -> str:
    """Whether it was sent, was dropped, or waits."""
    return "sent" if letter.sent_at else "dropped" if letter.dropped_at else "waiting"


def row(letter: Letter) -> list[Cell]:
    """Id, state, kind, to whom, tries, what went wrong last."""
    return [letter.id, state(letter), letter.kind, letter.recipient, str(letter.attempts), letter.last_error or "-"]


def facts(letter: Letter) -> Facts:
    """Everything; a letter has no secret in it."""
    return {
        "id": letter.id,
        "state": state(letter),
        "kind": letter.kind,
        "recipient": letter.recipient,
        "invite_id": letter.invite_id,
        "attempts": letter.attempts,
        "last_error": letter.last_error,
        "created_at": letter.created_at,
        "due_at": letter.due_at,
        "sent_at": letter.sent_at,
    }


LETTERS = Kind(("ID", "STATE", "KIND", "TO", "TRIES", "WENT WRONG"), row, facts)


@completed
def any_letter(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """The ids of mail that was not sent that begin so, with to whom it goes."""
    for each in ids.beginning(Letter, typed, limit):
        if not each.sent_at:
            yield each.id, each.recipient


@click.group(cls=Group)
def outbox() -> None:
    """The mail that was sent, and that waits."""


@outbox.command(name="list", example="invite-api outbox list --waiting")
@click.option("--waiting", is_flag=True, help="Only what still waits.")
@limit_option
@json_option
@reads
def list_letters(waiting: bool, limit: int, as_json: bool) -> Iterable[str]:
    """List the newest mail. The columns: id, state, kind, to whom, tries, what went wrong last."""
    return terminal.listing(letters.newest(limit, waiting), LETTERS, as_json)


@outbox.command(name="retry", example="invite-api outbox retry")
@click.argument("letter", required=False, shell_complete=any_letter)
@writes
def retry(letter: str | None) -> list[str]:
    """Have the server try to send one mail, or all that wait, at once."""
    return [Note(f"Note: {letters.retry(letter)} to be tried at once by the server")]
