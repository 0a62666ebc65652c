"""`invite-api preset`: fields of an invite under a name; and the options that say what an invite is to be."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from commands import terminal
from commands.base import Group, StderrLine, completed, json_option, proof_note, reads, writes
from commands.projects import any_project
from commands.terminal import Cell, Facts, Kind
from models import ApiKey, Preset
from rules import keys, presets

F = TypeVar("F", bound=Callable[..., Any])

FIELD_OPTIONS = (
    click.option("--email", help="Only for this address, or for a domain: @example.org."),
    click.option("--project", help="The slug of the project to join.", shell_complete=any_project),
    click.option("--role", help="member or admin of the project."),
    click.option("--plan", help="A label for the program that verifies the invite. [solo]"),
    click.option("--ttl", "--expires", "ttl", help="Expires after: 3d, 12h, 2 weeks, never. [INVITE_API_INVITE_TTL]"),
    click.option("--uses", help="How many people may use it. [1]"),
    click.option("--redirect-url", help="Link after joining: a URL."),
    click.option("--message", help="What you say to the guest, in the mail and on the page. No links."),
    click.option("--note", help="Your own note; never shown to the guest."),
    click.option("--access", help="The access to the project ends after: 30d, 12 weeks, or never. [never]"),
    click.option("--data", metavar="JSON", help="A JSON object for your own programs; never shown to the guest."),
    click.option("--approve/--no-approve", default=None, help="Let each use wait for an admin's approval. [no]"),
)


def field_options(command: F) -> F:
    """A decorator that gives a command the options of an invite that may stand in a preset."""
    for option in reversed(FIELD_OPTIONS):
        command = option(command)
    return command


def row(preset: Preset) -> list[Cell]:
    """The cells of a preset in the list: name, its fields, when it was created."""
    return [preset.name, written(preset), preset.created_at]


def written(preset: Preset) -> str:
    """The fields of a preset in one line: ``plan=gold ttl=30d``."""
    return " ".join(f"{name}={as_option(value)}" for name, value in presets.fields_of(preset).items())


def as_option(value: object) -> str:
    """A field of a preset as the command line has it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def facts(preset: Preset) -> Facts:
    """What JSON says of a preset: name, fields as they were given, when it was created."""
    return {"name": preset.name, "fields": presets.fields_of(preset), "created_at": preset.created_at}


PRESETS = Kind(("NAME", "FIELDS", "CREATED"), row, facts)


@completed
def any_preset(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a preset: the names that begin with what was typed, and the presets' fields."""
    yield from [(each.name, written(each)) for each in presets.by_name() if each.name.startswith(typed)][:limit]


preset_option = click.option(
    "--preset", help="Take what is not given from this preset: see invite-api preset.", shell_complete=any_preset
)
name_argument = click.argument("preset", metavar="NAME", shell_complete=any_preset)


@click.group(cls=Group)
def preset() -> None:
    """Create, list and delete presets. A preset is a name for fields of an invite; --preset takes it."""


@preset.command(name="create", example="invite-api preset create choir --plan gold --ttl 30d --uses 5")
@click.argument("preset", metavar="NAME")
@field_options
@writes
def create(preset: str, **given: Any) -> list[str]:
    """Create a preset of the fields that are given. A NAME has letters, digits and . _ - in it, at most 50."""
    kept = presets.fields_of(presets.create(preset, given))
    return proof_note(str(kept.get("email", "")))


@preset.command(name="list", example="invite-api preset list")
@json_option
@reads
def list_presets(as_json: bool) -> Iterable[str]:
    """List the presets: name, fields, when each was created."""
    return terminal.listing(presets.by_name(), PRESETS, as_json)


@preset.command(name="show", example="invite-api preset show family")
@name_argument
@json_option
@reads
def show(preset: str, as_json: bool) -> Iterable[str]:
    """Show a preset, and the API keys that are bound to it."""
    found = presets.named(preset)
    bound = keys.bound_to(found.name)
    if as_json:
        return terminal.details({**facts(found), "keys": [{"id": each.id, "name": each.name} for each in bound]}, True)
    written = {name: as_option(value) for name, value in presets.fields_of(found).items()}
    shown = {"name": found.name, **written, "created_at": found.created_at}
    return terminal.details({**shown, "keys": [called(each) for each in bound]}, False)


@preset.command(name="delete", example="invite-api preset delete family")
@name_argument
@writes
def delete(preset: str) -> list[str]:
    """Delete a preset. Invites that it created stay; an API key that is bound to it creates none any more."""
    return bound_note(presets.delete(preset))


def called(key: ApiKey) -> str:
    """An API key as a person knows it: its id, and its name if it has one."""
    return f"{key.id} ({key.name})" if key.name else key.id


def bound_note(bound: Sequence[ApiKey]) -> list[str]:
    """The note on the API keys whose preset was deleted; [] for none."""
    named = terminal.safe(", ".join(map(called, bound)))
    return [StderrLine(f"Note: API keys bound to it create nothing any more: {named}")] if bound else []
