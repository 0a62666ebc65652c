"""What the hot paths cost the processor, inside the process, beside a constant Flask answer.

Run it with `python bench/hot_paths.py`. It counts this thread's own time, so that a busy machine does
not matter much; it says nothing of the server, the disk, and threads that wait for each other.
"""

import logging
import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from common import instance
from flask import Flask, Response
from load import Call
from run import furnish
from werkzeug.test import EnvironBuilder

import logs
from app import create_app

CALLS, ROUNDS = 300, 5


def environs(call: Call) -> Iterator[dict[str, Any]]:
    """The requests of all rounds."""
    for path in islice(cycle(call.paths), CALLS * ROUNDS):
        yield EnvironBuilder(path, method=call.method, headers=call.headers, data=call.body).get_environ()


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


def main() -> None:
    """Rounds that alternate, and the least of each: whatever took longer was something else."""
    logs.start()
    hello = Flask("hello")
    hello.add_url_rule("/", view_func=lambda: Response("hello", 201))
    with instance() as settings, open(os.devnull, "w") as nowhere:
        logging.getLogger().handlers[0].setStream(nowhere)  # type: ignore[attr-defined]
        calls = furnish(settings, 1000, CALLS * ROUNDS)
        asked = {name: (create_app(settings), call, environs(call)) for name, call in calls.items()}
        asked["hello"] = (hello, Call(["/"]), environs(Call(["/"])))
        rounds = [{name: cost(*each) for name, each in asked.items()} for _ in range(ROUNDS)]
    least = {name: min(each[name] for each in rounds) for name in asked}
    for name, microseconds in least.items():
        print(f"{name:28} {microseconds:7.0f} us  {microseconds / least['hello']:6.1f} x hello")


if __name__ == "__main__":
    main()
