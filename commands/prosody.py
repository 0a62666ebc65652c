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
    """Take over the API keys of a Prosody.

    Those of its mod_invites_api go on working here. Keys that are here already stay as they are: it can be
    done again at any time.
    """
    new: Counter[str] = Counter()
    present = 0
    for name, key in prosody.keys(folder, host):
        if keys.add_imported(key):
            new[name] += 1
        else:
            present += 1
    lines: list[str] = [StderrLine(f"Note: {count} API keys of {name} taken over") for name, count in new.items()]
    if present:
        lines.append(StderrLine(f"Note: {present} API keys were here already"))
    return lines
