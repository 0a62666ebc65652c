"""`invite-api create`, `list` and `delete`: API keys, as prosodyctl's mod_invites_api has them."""

from collections.abc import Iterable, Iterator

import click

import terminal
from commands.base import Examples, completed, json_option, reads, writes
from models import ApiKey
from rules import keys
from terminal import Cell, Facts, Kind


def facts(key: ApiKey) -> Facts:
    """All but the secret."""
    return {
        "id": key.id,
        "name": key.name,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "expires_at": key.expires_at,
    }


def row(key: ApiKey) -> list[Cell]:
    """As prosodyctl lists it."""
    return [key.id, key.name or "<unknown>"]


def long_row(key: ApiKey) -> list[Cell]:
    """And since when, last used when, until when."""
    return [*row(key), key.created_at, key.last_used_at or "never", key.expires_at or "never"]


BRIEF = Kind(("ID", "NAME"), row, facts)
LONG = Kind(("ID", "NAME", "CREATED", "LAST USED", "EXPIRES"), long_row, facts)


@completed
def any_key(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """The ids that begin so, with their names."""
    yield from [(key.id, key.name or "") for key in keys.newest() if key.id.startswith(typed)][:limit]


@click.command(cls=Examples, example='invite-api create "My test key" --expires 90d')
@click.argument("name", required=False)
@click.option("--expires", default="never", help="How long it is good: 90d, 12h, 2 weeks. [never]")
@writes
def create(name: str | None, expires: str) -> list[str]:
    """Make an API key and print it: ID/SECRET. It is shown only now."""
    return [keys.create(name, keys.lifetime(expires))]


@click.command("list", cls=Examples, example="invite-api list --long")
@click.option("--long", "at_length", is_flag=True, help="Also when each was created, last used, and expires.")
@json_option
@reads
def list_keys(at_length: bool, as_json: bool) -> Iterable[str]:
    """List the API keys: id, tab, name."""
    return terminal.listing(keys.newest(), LONG if at_length else BRIEF, as_json)


@click.command(cls=Examples, example="invite-api delete HTwALnKL")
@click.argument("key_id", shell_complete=any_key)
@writes
def delete(key_id: str) -> list[str]:
    """Delete an API key. Programs that use it are refused from now on; what it made stays."""
    keys.delete(key_id)
    return []
