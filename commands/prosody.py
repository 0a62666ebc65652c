"""`invite-api import`: API keys from another server."""

from collections import Counter
from pathlib import Path

import click

from commands.base import Examples, StderrLine, writes
from rules import keys, prosody


@click.command("import", cls=Examples, example="invite-api import --prosody /var/lib/prosody")
@click.option(
    "--prosody",
    "folder",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Its data_path, or the SQLite file of its sql storage.",
)
@click.option("--host", help="Only the keys of this host.")
@writes
def import_keys(folder: Path, host: str | None) -> list[str]:
    """Import the API keys of a Prosody server.

    The keys of its mod_invites_api then work here, too. Keys that are here already stay as they are: you can
    import them again at any time.
    """
    new: Counter[str] = Counter()
    present = 0
    for name, key in prosody.keys(folder, host):
        if keys.add_imported(key):
            new[name] += 1
        else:
            present += 1
    lines: list[str] = [StderrLine(f"Note: {count} API keys of {name} imported") for name, count in new.items()]
    if present:
        lines.append(StderrLine(f"Note: {present} API keys were here already"))
    return lines
