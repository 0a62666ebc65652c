"""What many invites from one file cost, against as many single calls; and whether others wait meanwhile.

Run it with `python bench/guest_list.py [ROWS [SINGLE]]`: ROWS (10,000) from a CSV in one go, SINGLE (30)
by calls of their own, of which the average is taken for all.
"""

import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from common import COMMAND, instance

import database
from settings import Settings

Environ = dict[str, str]


def guests(count: int) -> Iterator[str]:
    """A guest list with every kind of cell that takes work to check."""
    yield "name;email;ttl;note;redirect url\n"
    for number in range(count):
        yield f"Anne-Marie;guest{number}@example.org;2 weeks;row {number};https://app.example.org/{number}\n"


def single(environ: Environ, count: int) -> list[float]:
    """Seconds that each single call took."""
    taken = []
    for number in range(count):
        call = [COMMAND, "invite", "create", "--name", "Anne-Marie", "--email", f"single{number}@example.org"]
        began = time.perf_counter()
        subprocess.run(call, check=True, capture_output=True, env=environ)
        taken.append(time.perf_counter() - began)
    return taken


def others(path: Path, stop: threading.Event, waited: list[float]) -> None:
    """Another who writes all the time: how long each turn took to come."""
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
        while not stop.is_set():
            began = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            waited.append(time.perf_counter() - began)
            time.sleep(0.005)


def together(settings: Settings, environ: Environ, count: int) -> tuple[float, float]:
    """Seconds for the whole file, and the longest that another waited meanwhile."""
    path = settings.instance / "guests.csv"
    path.write_text("".join(guests(count)))
    stop, waited = threading.Event(), [0.0]
    other = threading.Thread(target=others, args=(database.files.file_of(settings), stop, waited))
    other.start()
    began = time.perf_counter()
    done = subprocess.run(
        [COMMAND, "invite", "create", "--from", path], check=True, capture_output=True, text=True, env=environ
    )
    taken = time.perf_counter() - began
    stop.set()
    other.join()
    assert done.stdout.count("/invite?") == count
    return taken, max(waited)


def main() -> None:
    """Measure both ways and print them side by side."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    with instance() as settings:
        environ = os.environ | {"INVITE_API_INSTANCE": str(settings.instance)}
        each = statistics.mean(single(environ, calls))
        taken, waited = together(settings, environ, count)
    print(f"{count:,} invites from a file: {taken:.2f} s, in which another waited at most {waited * 1000:.0f} ms")
    print(f"a single call: {each * 1000:.0f} ms, {count:,} of them {each * count:.0f} s")
    print(f"ratio: {each * count / taken:.0f}")


if __name__ == "__main__":
    main()
