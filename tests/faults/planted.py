"""Plants the faults of planted.toml in copies of this checkout, one in each, and looks which of them no test notices.

    python tests/faults/planted.py
    python tests/faults/planted.py --only restore-role --only grace-doubled
    python tests/faults/planted.py --jobs 2 --likely

For each fault the tests that should notice it are run, and if they pass all the others that need no browser. What the
table cannot see is in docs/ROBUSTNESS.md.

Three controls come first: a copy without a fault, in which the same tests pass; a fault that breaks everything; and
one in the command, which only a process of its own runs: the tests of a copy run the copy's code in both.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".toml")
LEFT_OUT = (".git", ".venv", ".*cache", ".hypothesis", "instance")
TIMEOUT = 600  # seconds for one run of tests: a fault may have them go on for ever

# Not run for what the likely tests pass: they are about texts, packages and pictures, or need what is not in a copy.
OTHERS = (
    *("bench", "browser", "clients", "deploy", "docs", "every_page", "house", "install", "language", "planted"),
    *("readme", "security_page", "side_by_side"),
)


@dataclass(frozen=True)
class Fault:
    """A line of the table: in `file` the text `old` becomes `new`, which harms somebody as `breaks` says.

    `tests` should notice it; on PostgreSQL alone if `postgresql`. `unseen` says why no test can, if none can.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    tests: Sequence[str]
    postgresql: bool = False
    unseen: str = ""

    def planted_in(self, text: str) -> str:
        """The text of its file with the fault in it; raises ValueError if what is to be changed is not there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: its old text is {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: the first test that failed, "" if all passed, and the seconds that it took."""

    fault: Fault
    failed: str
    seconds: float


NOTHING = Fault("no fault", "", "", "", "nothing", ())
CONTROLS = (
    Fault(
        *("everything breaks", "rules/tokens.py"),
        *("    return _TOKEN.fullmatch(text) is not None", "    return False"),
        *("no token is one", ["test_rules.py::test_an_invite_is_used_once_and_says_so_afterwards"]),
    ),
    Fault(
        *("the command breaks", "commands/keys.py"),
        *("    made = keys.create(name, lifetime, may=scopes, preset=bound)", "    raise SystemExit(7)"),
        *("no command ends well", ["test_cli.py::test_create_prints_the_key_alone"]),
    ),
)


def table() -> list[Fault]:
    """The faults of the table."""
    return [Fault(**each) for each in tomllib.loads(TABLE.read_text())["fault"]]


def copied(source: Path, folder: Path) -> Path:
    """A copy of a checkout, with what is compiled in it, without its database and environment."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    return folder


def run(copy: Path, tests: Sequence[str], postgresql: bool = False, workers: int = 0) -> str:
    """Run tests in a copy until one fails; returns its name, "" if all pass. Without names the quick ones are run.

    Raises RuntimeError if they cannot be run, which is no failure.
    """
    quick = ["--ignore=tests/faults", *(f"--ignore=tests/test_{each}.py" for each in OTHERS)]
    chosen = [f"tests/{each}" for each in tests] or quick
    options = ["-x", "-n", str(workers), "-p", "no:cacheprovider", "--tb=no", "-rfE"]
    command = [sys.executable, "-m", "pytest", *options, *(["--postgresql"] if postgresql else []), *chosen]
    environ = {**os.environ, "PYTHONPATH": str(copy)}  # before the checkout, which an editable install puts there
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    tried = subprocess.Popen(command, cwd=copy, env=environ, start_new_session=True, **piped)
    try:
        said, _ = tried.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(tried.pid, signal.SIGKILL)
        tried.wait()
        return f"no end within {TIMEOUT} s"
    failures = [each for each in said.splitlines() if each.startswith(("FAILED tests/", "ERROR tests/"))]
    if tried.returncode not in (0, 1) or (tried.returncode and not failures):
        raise RuntimeError(f"the tests cannot be run (status {tried.returncode}):\n{said}")
    return failures[0].partition(" - ")[0].partition("tests/")[2] if failures else ""


def plant(pristine: Path, likely_only: bool, fault: Fault) -> Outcome:
    """Plant a fault in a copy of its own, and look who notices."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="invite-api-planted-") as folder:
        copy = copied(pristine, Path(folder) / "checkout")
        spoilt = copy / fault.file
        spoilt.write_text(fault.planted_in(spoilt.read_text()))
        failed = run(copy, fault.tests, fault.postgresql)
        if not failed and not likely_only:
            failed = run(copy, (), fault.postgresql, workers=2)
    outcome = Outcome(fault, failed, time.monotonic() - began)
    print(f"{'caught' if failed else 'NOT CAUGHT':10} {fault.name:45} {outcome.seconds:4.0f} s  {failed}", flush=True)
    return outcome


def check_controls(pristine: Path, faults: Sequence[Fault], jobs: int) -> None:
    """Raise SystemExit unless the tests pass without a fault, and fail with one that must be noticed."""
    for postgresql in (False, True):
        tests = sorted({test for each in faults if each.postgresql is postgresql for test in each.tests})
        if tests and (failed := run(pristine, tests, postgresql, workers=jobs)):
            raise SystemExit(f"without a fault a test fails: {failed}")
    if not all(plant(pristine, True, each).failed for each in CONTROLS):
        raise SystemExit("a fault that breaks everything is not noticed: the tests do not run what is in the copy")


def main() -> None:
    """Plant the faults, and say which were not caught; exits with 1 if there is one without a reason."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", action="append", metavar="NAME", help="this fault alone; may be repeated")
    arguments.add_argument("--jobs", type=int, default=1, help="how many faults at a time")
    arguments.add_argument("--likely", action="store_true", help="run the tests that the table names, and no others")
    given = arguments.parse_args()
    faults = [each for each in table() if not given.only or each.name in given.only]
    if unknown := set(given.only or ()) - {each.name for each in faults}:
        raise SystemExit(f"there is no fault of this name: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="invite-api-pristine-") as folder:
        pristine = copied(HOME, Path(folder) / "checkout")
        check_controls(pristine, faults, given.jobs)
        with ThreadPoolExecutor(given.jobs) as pool:
            outcomes = list(pool.map(partial(plant, pristine, given.likely), faults))
    missed = [each.fault for each in outcomes if not each.failed]
    print(f"\n{len(outcomes) - len(missed)} of {len(outcomes)} caught in {(time.monotonic() - began) / 60:.0f} min")
    for each in missed:
        print(f"  {each.name}: {each.breaks} ({each.unseen or 'NOBODY KNOWS WHY'})")
    sys.exit(any(not each.unseen for each in missed))


if __name__ == "__main__":
    main()
