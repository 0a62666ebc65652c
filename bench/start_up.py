"""How long `invite-api list` takes to start and end, beside what it is made of and beside prosodyctl.

Run it with `python bench/start_up.py [ROUNDS]`; the commands take turns, so that all have the same weather.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import COMMAND, spread

PYTHON = sys.executable
LIST = "invite-api list"
MEASURE = 'python -c "import click, sqlalchemy.orm"'
COMMANDS: dict[str, list[str]] = {
    "python -c pass": [PYTHON, "-c", "pass"],
    'python -c "import click"': [PYTHON, "-c", "import click"],
    MEASURE: [PYTHON, "-c", "import click, sqlalchemy.orm"],
    'python -c "import flask, flask_sqlalchemy, click"': [PYTHON, "-c", "import flask, flask_sqlalchemy, click"],
    LIST: [str(COMMAND), "list"],
}
PROSODY = """
data_path = "{folder}"
run_as_root = true
log = {{ error = "{folder}/log" }}
modules_enabled = {{ "invites", "invites_api" }}
VirtualHost "chat.example"
"""


@contextmanager
def commands() -> Iterator[dict[str, list[str]]]:
    """What is measured, in a folder where there are ten keys; with prosodyctl where it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["INVITE_API_INSTANCE"] = folder
        for number in range(10):
            subprocess.run([COMMAND, "create", f"key {number}"], check=True, capture_output=True)
        yield COMMANDS | theirs(Path(folder))


def theirs(folder: Path) -> dict[str, list[str]]:
    """Prosody's own listing, of as many keys."""
    program = shutil.which("prosodyctl", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        return {}
    config = folder / "prosody.cfg.lua"
    config.write_text(PROSODY.format(folder=folder))
    call = [program, "--config", str(config), "mod_invites_api"]
    for number in range(10):
        subprocess.run([*call, "create", "chat.example", f"key {number}"], check=True, capture_output=True)
    return {"prosodyctl mod_invites_api list": [*call, "list", "chat.example"]}


def main() -> None:
    """Measure and print, in milliseconds, and as a ratio to the imports that a listing cannot do without."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with commands() as called:
        taken: dict[str, list[float]] = {name: [] for name in called}
        for _ in range(rounds):
            for name, command in called.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                taken[name].append(time.perf_counter() - began)
    for name, values in taken.items():
        print(f"{name:52} {spread(values)} ms")
    for name, values in taken.items():
        if name != LIST:
            ratio = statistics.median(taken[LIST]) / statistics.median(values)
            print(f"{LIST} takes {ratio:.2f} times as long as {name}")


if __name__ == "__main__":
    main()
