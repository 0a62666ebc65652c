"""How fast the hot paths are here, beside another checkout of this project, in one run that alternates.

Run it with `python bench/beside.py CHECKOUT` (wrk from Debian's packages; the other one has its packages in its
own .venv). It prints a table: for each call the other one's medians, and how many times as many here.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from common import row
from load import Call, Result, load

COUNTS = (1, 8, 32)
CALLS = ("create by key", "verify", "view", "accept", "the invitation's page", "a wrong key")
SIDES = ("there", "here")
HERE = Path(__file__).resolve().parents[1]
# Runs in the bench of a checkout, until its stdin is closed.
OURS = """
import json, sys
from run import ours
with ours(0) as (served, calls):
    made = {"port": served.port, "pid": served.process.pid, "calls": {name: vars(each) for name, each in calls.items()}}
    print(json.dumps(made), flush=True)
    sys.stdin.read()
"""

Measured = dict[tuple[str, str, int], list[Result]]  # side, call, connections


class Side:
    """One of the two: its server, and the calls to be made."""

    def __init__(self, port: int, pid: int, calls: dict[str, Call]) -> None:
        self.pid, self._port, self._calls, self._spent = pid, port, calls, 0

    def load(self, name: str, connections: int, seconds: int) -> Result:
        """Ask; what is accepted is accepted once."""
        call = self._calls[name]
        if name != "accept":
            return load(self._port, call, connections, seconds)
        result = load(self._port, replace(call, paths=call.paths[self._spent :]), connections, seconds)
        self._spent += int(result.rate * (seconds + 1)) + connections  # wrk goes on a little, and counts less
        return result


def start(stack: ExitStack, checkout: Path) -> Side:
    """A server of a checkout, over a database that its own bench has made: their schemas may differ."""
    python = checkout / ".venv" / "bin" / "python"
    process = subprocess.Popen(
        [python, "-c", OURS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=checkout / "bench", text=True
    )
    assert process.stdin
    assert process.stdout
    stack.callback(process.wait)
    stack.callback(process.stdin.close)
    made = json.loads(process.stdout.readline())
    return Side(made["port"], made["pid"], {name: Call(**call) for name, call in made["calls"].items()})


def memory(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def measure(sides: dict[str, Side], rounds: int, seconds: int) -> Measured:
    """All rounds; the two take turns at beginning."""
    results: Measured = defaultdict(list)
    for number in range(rounds):
        for connections in COUNTS:
            for name in CALLS:
                for side in SIDES if number % 2 else reversed(SIDES):
                    results[side, name, connections].append(sides[side].load(name, connections, seconds))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return results


def report(results: Measured) -> Iterator[str]:
    """The table, line by line."""
    yield row("", *(f"at {count}" for count in COUNTS), *(f"p99 at {count}" for count in COUNTS))
    yield row(*["---"] * 7)
    for name in CALLS:
        rates = [f"{middle(results, 'there', name, count, 'rate'):,.0f}" for count in COUNTS]
        p99s = [f"{middle(results, 'there', name, count, 'p99'):.1f} ms" for count in COUNTS]
        yield row(f"{name}, there", *rates, *p99s)
        times = [f"{ratio(results, name, count, each):.2f} ×" for each in ("rate", "p99") for count in COUNTS]
        yield row(f"{name}, here", *times)


def ratio(results: Measured, name: str, count: int, what: str) -> float:
    """Here, as so many times what is there."""
    return middle(results, "here", name, count, what) / middle(results, "there", name, count, what)


def middle(results: Measured, side: str, name: str, count: int, what: str) -> float:
    """The median of rate or p99."""
    return statistics.median(getattr(each, what) for each in results[side, name, count])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="the other one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    with ExitStack() as stack:
        sides = {"there": start(stack, options.checkout.resolve()), "here": start(stack, HERE)}
        idle = {name: memory(side.pid) for name, side in sides.items()}
        results = measure(sides, options.rounds, options.seconds)
        print("\n".join(report(results)))
        for name, side in sides.items():
            print(f"{name}: {idle[name]:.0f} MB when it has started, {memory(side.pid):.0f} MB after this")


if __name__ == "__main__":
    main()
