"""What the hot paths cost the processor, inside the process, beside a constant Flask answer.

Run it with `python bench/hot_paths.py`; with `--beside ../another` it is compared with other checkouts, in rounds
that alternate. It counts this thread's own time, so that a busy machine does not matter much; it says nothing of the
server, the disk, and threads that wait for each other.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from common import HOUSE, instance
from flask import Flask, Response
from load import Call
from run import furnish
from werkzeug.test import EnvironBuilder

from app import create_app

CALLS, ROUNDS = 100, 15

Round = dict[str, float]  # microseconds of one request, by the name of the call


def environs(call: Call) -> Iterator[dict[str, Any]]:
    """The requests of all rounds; where a guest is named in their bodies (%s), each is about another one."""
    for number, path in enumerate(islice(cycle(call.paths), CALLS * ROUNDS)):
        body = call.body and call.body.replace("%s", f"guest {number}")
        callers = getattr(call, "callers", ())  # an older checkout's calls have one, in their headers
        caller = {"Authorization": callers[number % len(callers)]} if callers else {}
        yield EnvironBuilder(path, method=call.method, headers={**call.headers, **caller}, data=body).get_environ()


def cost(app: Flask, call: Call, requests: Iterator[dict[str, Any]]) -> float:
    """Microseconds of one request; ends the run if an answer is not as it should be."""
    ready, statuses = list(islice(requests, CALLS)), set[str]()
    began = time.thread_time()
    for each in ready:
        b"".join(app(each, lambda status, *_: statuses.add(status)))
    lasted = time.thread_time() - began
    if any((status >= "4") != call.fails for status in statuses):
        raise SystemExit(f"{call.method} {call.paths[0]}: {', '.join(statuses)}")
    return lasted / CALLS * 1e6


def measured() -> Iterator[Round]:
    """Each round when it is asked for."""
    # An older checkout has it at its top level; imported by its name here, it would be that of this checkout, silently.
    import_module("web.logs" if (HOUSE / "web").is_dir() else "logs").start()
    hello = Flask("hello")
    hello.add_url_rule("/", view_func=lambda: Response("hello", 201))
    with instance() as settings, open(os.devnull, "w") as nowhere:
        logging.getLogger().handlers[0].setStream(nowhere)  # type: ignore[attr-defined]
        calls = furnish(settings, 1000, CALLS * ROUNDS)
        asked = {name: (create_app(settings), call, environs(call)) for name, call in calls.items()}
        asked["hello"] = (hello, Call(["/"]), environs(Call(["/"])))
        for _ in range(ROUNDS):
            yield {name: cost(*each) for name, each in asked.items()}


def alternating(*checkouts: Path) -> Iterator[list[Round]]:
    """A round of each, in a process of its own; who is first changes."""
    command = [sys.executable, "-P", __file__, "--asked"]  # -P: what it imports is the checkout's, and not ours
    running = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": f"{each}/bench"}
        )
        for each in checkouts
    ]
    for number in range(ROUNDS):
        found = {}
        for each in running[:: -1 if number % 2 else 1]:
            os.write(each.stdin.fileno(), b"\n")  # type: ignore[union-attr]
            found[each] = json.loads(each.stdout.readline())  # type: ignore[union-attr]
        yield [found[each] for each in running]
    for each in running:
        each.communicate()


def alone() -> None:
    """The least of each: whatever took longer was something else."""
    rounds = list(measured())
    least = {name: min(each[name] for each in rounds) for name in rounds[0]}
    for name, microseconds in least.items():
        print(f"{name:28} {microseconds:7.0f} us  {microseconds / least['hello']:6.1f} x hello")


def beside(others: Sequence[Path]) -> None:
    """How many times as long as ours each of the other checkouts takes: median and quartiles of the rounds."""
    rounds = list(alternating(HOUSE, *others))
    for name in rounds[0][0]:
        print(f"{name:28} {median(ours[name] for ours, *_ in rounds):7.1f} us")
        for place, other in enumerate(others, 1):
            if name not in rounds[0][place]:  # it has no such call yet
                continue
            ratios = [each[place][name] / each[0][name] for each in rounds]
            low, middle, high = quantiles(ratios, n=4)
            print(f"    {middle:5.3f} ({low:.3f} to {high:.3f})  {other}")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, nargs="+", metavar="CHECKOUT", help="others to compare this one with")
    parser.add_argument("--asked", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.asked:
        for _, found in zip(sys.stdin, measured(), strict=False):
            print(json.dumps(found), flush=True)
    elif given.beside:
        beside([each.resolve() for each in given.beside])
    else:
        alone()


if __name__ == "__main__":
    main()
