"""What `invite-api user tree` and `invite-api user disable --branch` print."""

from collections.abc import Iterable

from commands import terminal
from commands.base import revoked_note
from commands.terminal import Cell, Facts, Kind
from models import User
from rules import branches
from rules.branches import Act, Person

DEEPEST = 20  # levels that are shown by indentation; below them a number says which it is


def _row(person: Person) -> list[Cell]:
    deep = f"({person.depth}) " if person.depth > DEEPEST else ""
    name = "  " * min(person.depth, DEEPEST) + deep + person.called
    counts = [str(person.invited), str(person.below)]
    return [name, _state(person), *counts, person.id, person.created_at]


def _state(person: Person) -> str:
    return "admin" if person.is_admin and person.state == "active" else person.state


def _facts(person: Person) -> Facts:
    return {
        "id": person.id,
        "name": person.called,
        "state": person.state,
        "admin": person.is_admin,
        "depth": person.depth,
        "inviter": person.inviter_id,
        "invited": person.invited,
        "below": person.below,
        "created_at": person.created_at,
    }


TREE = Kind(("NAME", "STATE", "INVITED", "IN ALL", "ID", "SINCE"), _row, _facts)


def shown(user: User, as_json: bool) -> Iterable[str]:
    """The lines of the branch of an account: in JSON a list in the order of the tree, with the depth of each."""
    return terminal.listing(branches.of(user).people, TREE, as_json)


def disable(user: User, off: bool, dry_run: bool) -> list[str]:
    """Disable or enable the branch of an account; the lines say who that was, or with `dry_run` would be."""
    if off:
        act = branches.to_enable(user) if dry_run else branches.enable(user)
    else:
        act = branches.to_disable(user) if dry_run else branches.disable(user)
    return [*_listed(act, "enabled" if off else "disabled"), *revoked_note(act.revoked)]


def _listed(act: Act, done: str) -> Iterable[str]:
    rows: list[tuple[Person, str]] = [(each, done) for each in act.people] + [(each, "spared") for each in act.spared]
    kind = Kind(("ID", "STATE", "NAME"), _done_row, lambda each: _facts(each[0]))
    return terminal.listing(rows, kind, as_json=False)


def _done_row(row: tuple[Person, str]) -> list[Cell]:
    return [row[0].id, row[1], row[0].called]
