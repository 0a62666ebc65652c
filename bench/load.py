"""Load: requests over so many connections for so long, by wrk; and commits, by Python's sqlite3 alone."""

import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import database

# What wrk is told: to print what the rest of this file reads,
_DONE = """
function done(summary, latency)
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(99), latency.max))
end
"""

# and the requests, one after the other,
PATHS = """
local paths, callers, number = {{}}, {{{callers}}}, 0
for line in io.lines("{paths}") do paths[#paths + 1] = line end
wrk.method = "{method}"
wrk.body = [==[{body}]==]
function request()
  number = number % #paths + 1
  if #callers > 0 then wrk.headers["Authorization"] = callers[number % #callers + 1] end
  return wrk.format(nil, paths[number])
end
"""

# or holds, each for another guest, and the completions of those that were taken.
HOLDS = """
local run, taken, number = os.time() .. tostring({{}}), {{}}, 0
function request()
  local id = table.remove(taken)
  if id then return wrk.format("POST", "/v1/holds/" .. id .. "/complete") end
  number = number + 1
  return wrk.format("POST", "/v1/holds", nil, string.format([==[{body}]==], run .. number))
end
function response(status, headers, body)
  if status == 201 then taken[#taken + 1] = body:match('"id":"([^"]+)"') end
end
"""


@dataclass(frozen=True)
class Call:
    """What is asked for again and again: one path, or one after the other of many. `fails` if it is to be refused.

    `callers` are values of Authorization that take turns. `script` is what makes the requests of wrk.
    """

    paths: Sequence[str]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    fails: bool = False
    callers: Sequence[str] = ()
    script: str = PATHS


@dataclass(frozen=True)
class Result:
    """How many a second were answered as they should; latency in milliseconds."""

    rate: float
    p99: float
    slowest: float


def settle(port: int, call: Call) -> None:
    """Wait until what a load before has left is answered: who reads is answered after that, in the order of arrival.

    A client that ends has sent its last requests, and a server cannot know that nobody waits for the answers. Of lists
    those of 32 connections take longer than a round.
    """
    if call.method == "GET":
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", call.paths[0], headers=dict(call.headers))
        connection.getresponse().read()
        connection.close()


def load(port: int, call: Call, connections: int, seconds: int) -> Result:
    """Ask as fast as the answers come; ends the run if any answer is not as it should be."""
    settle(port, call)
    with NamedTemporaryFile("w", suffix=".txt") as paths, NamedTemporaryFile("w", suffix=".lua") as script:
        paths.write("\n".join(call.paths) + "\n")
        paths.flush()
        callers = ", ".join(f'"{each}"' for each in call.callers)
        script.write(
            (call.script + _DONE).format(paths=paths.name, method=call.method, body=call.body, callers=callers)
        )
        script.flush()
        headers = [each for name, value in call.headers.items() for each in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", script.name, *headers]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    line = next(each for each in done.stdout.splitlines() if each.startswith("RESULT"))
    requests, duration, errors, p99, slowest = (int(each) for each in line.split()[1:])
    if errors != (requests if call.fails else 0):
        raise SystemExit(f"{call.method} {call.paths[0]}: {errors} of {requests} answers were errors")
    return Result(requests / (duration / 1e6), p99 / 1000, slowest / 1000)


class Rows:
    """A table in a file of its own, with what we tell every connection: what one commit costs by itself."""

    def __init__(self, folder: Path) -> None:
        self._connection = sqlite3.connect(folder / "rows.db")
        self._connection.execute("PRAGMA journal_mode = WAL")
        database.sqlite.configure(self._connection)
        self._connection.execute("CREATE TABLE facts (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def __enter__(self) -> "Rows":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._connection.close()

    def commit(self) -> None:
        """Write one row of 200 bytes; it is on disk when this returns."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("INSERT INTO facts (text) VALUES (?)", (f"{0:0200d}",))
        self._connection.execute("COMMIT")


def commits(seconds: float) -> float:
    """How many commits of one row a second SQLite makes here, one after the other."""
    with TemporaryDirectory() as folder, Rows(Path(folder)) as rows:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            rows.commit()
            done += 1
        return done / (time.perf_counter() - began)
