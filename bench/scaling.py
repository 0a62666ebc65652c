"""What one process does on SQLite, and one, two and four on PostgreSQL, in one run; writes bench/SCALING.md.

Run it with `python bench/scaling.py` (wrk and postgresql from Debian's packages), or `--smoke` for a
glance. The database is the same everywhere: it is made on SQLite and copied. Durability is full,
flood limits are off, everything runs on this one machine, the load and PostgreSQL too.
"""

import argparse
import shutil
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from common import HOUSE, instance, machine, row, serving
from load import Call, load
from run import furnish

from settings import Settings, database_url
from upkeep import transfer

sys.path.insert(0, str(HOUSE / "tests"))
import postgres

HERE = Path(__file__).resolve().parent
CALLS = ("create by key", "verify", "view", "accept")
STORED, ACCEPTS = 1000, 60_000
PROCESSES = (1, 2, 4)
CONNECTIONS = (8, 32)


def found(program: str, package: str) -> str:
    """The path of a program; ends the run without it."""
    path = shutil.which(program) or shutil.which(program, path=postgres.binaries())
    if path is None:
        raise SystemExit(f"apt-get install {package}")
    return path


@contextmanager
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL of this run's own, which waits for its disk."""
    made = postgres.Server(found)
    made.start(durable=True)
    try:
        yield made
    finally:
        made.remove()


class Fleet:
    """So many processes over one database."""

    def __init__(self, stack: ExitStack, settings: Settings, processes: int, calls: dict[str, Call]) -> None:
        self._served = [stack.enter_context(serving(settings)) for _ in range(processes)]
        self._calls, self._spent = calls, 0

    def load(self, name: str, connections: int, seconds: int) -> float:
        """How many a second they answer together, each asked over its share of the connections."""
        shares = [self._share(name, number) for number in range(len(self._served))]
        with ThreadPoolExecutor(len(shares)) as pool:
            each = connections // len(shares)
            ports = [one.port for one in self._served]
            results = list(pool.map(lambda port, call: load(port, call, each, seconds), ports, shares))
        if name == "accept":
            self._spent += int(max(one.rate for one in results) * (seconds + 1) + each) * len(shares)
        return sum(one.rate for one in results)

    def _share(self, name: str, number: int) -> Call:
        """What one of them is asked for; each invite is accepted once."""
        call = self._calls[name]
        return replace(call, paths=call.paths[self._spent + number :: len(self._served)]) if name == "accept" else call


def fleets(stack: ExitStack, smoke: bool) -> dict[str, Fleet]:
    """What is compared, by its name."""
    settings = stack.enter_context(instance())
    calls = furnish(settings, STORED, 5000 if smoke else ACCEPTS)
    made, running = stack.enter_context(server()), {}
    for processes in PROCESSES[:2] if smoke else PROCESSES:
        there = replace(settings, database_url=database_url(made.make_database(f"bench_{processes}")))
        transfer.copy(settings, there)
        running[f"PostgreSQL, {processes} process{'es' * (processes > 1)}"] = there, processes
    running = {"SQLite, 1 process": (settings, 1), **running}
    return {name: Fleet(stack, there, processes, calls) for name, (there, processes) in running.items()}


def report(smoke: bool) -> Iterator[str]:
    """SCALING.md, line by line."""
    seconds, rounds = (1, 1) if smoke else (2, 3)
    rates: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        compared = fleets(stack, smoke)
        for number in range(rounds):
            for connections in CONNECTIONS[:1] if smoke else CONNECTIONS:
                for call in ("accept",) if smoke else CALLS:
                    for name, fleet in compared.items():
                        rates[call, connections, name].append(fleet.load(call, connections, seconds))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    yield "# One process and several, measured\n"
    yield f"{machine()}; PostgreSQL, the processes and the load share these cores. `python bench/scaling.py`."
    yield f"A second: median of {rounds} rounds of {seconds} s (minimum to maximum), then the ratio to SQLite.\n"
    yield row("call", "connections", *compared)
    yield row(*["---"] * (2 + len(compared)))
    for call, connections, name in rates:
        if name == next(iter(compared)):
            yield row(call, connections, *(told(rates, call, connections, each) for each in compared))


def told(rates: dict[tuple[str, int, str], list[float]], call: str, connections: int, name: str) -> str:
    """A cell of the table."""
    found = rates[call, connections, name]
    ratio = statistics.median(found) / statistics.median(rates[call, connections, "SQLite, 1 process"])
    return f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f}), {ratio:.2f} ×"


def main() -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a glance: one short round, nothing written")
    smoke = parser.parse_args().smoke
    found("wrk", "wrk")
    text = "\n".join(report(smoke)) + "\n"
    print(text)
    if not smoke:
        (HERE / "SCALING.md").write_text(text)


if __name__ == "__main__":
    main()
