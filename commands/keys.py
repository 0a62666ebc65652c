"""`invite-api create`, `list` and `delete`: API keys, as prosodyctl's mod_invites_api has them."""

from collections.abc import Iterable, Iterator

import click

import clock
from commands import terminal
from commands.base import Examples, completed, expiry_note, json_option, reads, writes
from commands.presets import any_preset
from commands.terminal import Cell, Facts, Kind
from models import ApiKey
from rules import keys, presets
from rules.refusals import together


def facts(key: ApiKey) -> Facts:
    """What JSON says of an API key: all but its secret."""
    return {
        "id": key.id,
        "name": key.name,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
        "may": key.may.split(),
        "preset": key.preset,
    }


def row(key: ApiKey) -> list[Cell]:
    """The cells of a key in the list: id and name, as prosodyctl has them."""
    return [key.id, key.name or "<unknown>"]


def long_row(key: ApiKey) -> list[Cell]:
    """The cells of a key in the long list: id, name, when created, last used and expired, its scopes, its preset."""
    times = [key.created_at, key.last_used_at or "never", key.expires_at or "never"]
    return [*row(key), *times, ",".join(key.may.split()), key.preset or "-"]


EXAMPLE = """invite-api create "My test key" --expires 90d
invite-api create sign-up --may create,redeem --preset family"""
NO_HOST = "prosodyctl names a HOST first: leave it out here."
BRIEF = Kind(("ID", "NAME"), row, facts)
LONG = Kind(("ID", "NAME", "CREATED", "LAST USED", "EXPIRES", "MAY", "PRESET"), long_row, facts)


@completed
def any_key(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of an API key: the ids that begin with what was typed, and the keys' names."""
    yield from [(key.id, key.name or "") for key in keys.newest() if key.id.startswith(typed)][:limit]


LOST = "invite-api list names the key, whose secret is not shown again; delete it, and create another"


@click.command(cls=Examples, example=EXAMPLE, hint=NO_HOST, lost=LOST)
@click.argument("name", required=False)
@click.option("--expires", default="never", help="Expires after: 90d, 12h, 2 weeks, or never. [never]")
@click.option("--may", default="create", help="Its scopes, of create, redeem, read and manage. [create]")
@click.option("--preset", help="Bind it to this preset: it creates no other invites.", shell_complete=any_preset)
@writes
def create(name: str | None, expires: str, may: str, preset: str | None) -> list[str]:
    """Create an API key and print it: ID/SECRET. It is shown only once.

    A key may create invites, redeem them for people of its own program, read everything, or manage
    the invites of others; several scopes have commas between them. Bound to a preset it changes nothing
    that the preset says, and creates nothing once the preset is deleted.
    """
    lifetime, scopes, bound = together(
        lambda: keys.lifetime(expires),
        lambda: keys.scopes(may),
        lambda: None if preset is None else presets.named(preset).name,
    )
    made = keys.create(name, lifetime, may=scopes, preset=bound)
    return [made, *expiry_note(clock.now() + lifetime if lifetime else None)]


@click.command("list", cls=Examples, example="invite-api list --long", hint=NO_HOST)
@click.option("--long", "at_length", is_flag=True, help="Also when each was created, last used, expires; its scopes.")
@json_option
@reads
def list_keys(at_length: bool, as_json: bool) -> Iterable[str]:
    """List the API keys: id, tab, name."""
    return terminal.listing(keys.newest(), LONG if at_length else BRIEF, as_json)


@click.command(cls=Examples, example="invite-api delete HTwALnKL", hint=NO_HOST)
@click.argument("key_id", shell_complete=any_key)
@writes
def delete(key_id: str) -> list[str]:
    """Delete an API key. Programs that use it are refused from now on. The invites that it created stay."""
    keys.delete(key_id)
    return []
