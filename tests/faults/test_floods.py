"""Many come and keep the server busy, or say nothing: those who ask for little still get it at once."""

import json
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

import postgres
from conftest import Served, at_last, free_port, wait_for
from faults import tampered
from programs import require

pytestmark = [pytest.mark.long, pytest.mark.any_database]

HALF = 1000
FAT = b"POST /invites_api HTTP/1.1\r\nHost: here\r\nContent-Length: 600000\r\n\r\n" + b"x" * 515_000
LITTLE = 0.08  # MB that a half-sent body may take: what of one is kept at most is 64 KiB
HALVES = (b"GET /invites_api?key=", b"POST /auth/login HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{")
CLIENTS = 48
SOON = 0.05  # seconds that /health may take, by its median: here anything may run beside it
JSON = "application/json"
LOGIN = {"email": "somebody@example.org", "password": "not the password"}
HEADERS = {"Content-Type": JSON}
LONG = 2.0  # seconds, after which nobody waits any more
NAIVE = """
import sys
from wsgiref.simple_server import make_server
from app import create_app

make_server("127.0.0.1", int(sys.argv[1]), create_app()).serve_forever()
"""


def health(port: int, seconds: float) -> list[float]:
    """How long /health takes, each time on a connection of its own: seconds, sorted; at most LONG."""
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        connection = HTTPConnection("127.0.0.1", port, timeout=LONG)
        try:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
        except TimeoutError:
            pass
        finally:
            connection.close()
        taken.append(time.monotonic() - began)
        time.sleep(0.01)
    return sorted(taken)


def p99(taken: list[float]) -> float:
    return taken[int(len(taken) * 0.99)]


def told(taken: list[float]) -> str:
    """Median and 99th percentile, in words."""
    return f"/health: median {statistics.median(taken) * 1000:.1f} ms, p99 {p99(taken) * 1000:.1f} ms"


@contextmanager
def held(port: int, said: Iterable[bytes]) -> Iterator[None]:
    """A connection for each of these, on which no more is said."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as connections:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
        connections.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        for each in said:
            connections.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30)).sendall(each)
        yield


def test_a_thousand_half_open_connections_hold_nobody_up(serve, profile, figures):
    row, times = figures("half-open connections"), profile(1, 20)
    served = serve()

    def beside() -> float:
        taken: list[float] = []
        for _ in range(times):
            with held(served.port, HALVES * (HALF // 2)):
                taken += health(served.port, 3)
        row.shows(f"{HALF:,} connections, {times} times", told(sorted(taken)))
        return statistics.median(taken)

    assert at_last(beside, SOON) < SOON


def test_half_sent_bodies_take_little_memory(serve, profile, figures):
    row, number = figures("half-sent bodies"), profile(100, 1900)
    served = serve()
    assert served.get("/health").status == 200
    idle = memory(served)
    with held(served.port, [FAT] * number):
        taken = health(served.port, 2)
        grown = memory(served) - idle
    row.shows(f"{number:,} connections, 515 KB each", f"{grown:.0f} MB more; {told(taken)}")
    assert grown < number * LITTLE + 10
    assert statistics.median(taken) < SOON


def test_a_server_that_keeps_what_it_refuses_is_caught(serve, figures):
    served = serve((sys.executable, tampered.__file__, "keeps_bodies"))
    idle = memory(served)
    with held(served.port, [FAT] * 100):
        health(served.port, 1)
        grown = memory(served) - idle
    figures("half-sent bodies").catches(f"keeps all of them: {grown:.0f} MB more for 100")
    assert grown > 100 * LITTLE + 10


def test_a_server_that_reads_one_request_after_the_other_is_caught(serve, figures, tmp_path):
    served = serve()
    port = free_port()
    naive = subprocess.Popen([sys.executable, "-c", NAIVE, str(port)], env=served.environ, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _listens(port))
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(HALVES[0])
            taken = health(port, 3)
    finally:
        naive.kill()
        naive.wait()
    figures("half-open connections").catches(
        f"reads one after the other: one of them, and /health takes > {LONG:.0f} s"
    )
    assert statistics.median(taken) >= LONG


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def logins(served: Served, folder: Path, seconds: int) -> Iterator["subprocess.Popen[str]"]:
    """48 clients that try passwords as fast as they are answered, in a process of their own: wrk, which counts."""
    script = folder / "login.lua"
    script.write_text(f"wrk.method, wrk.body = 'POST', '{json.dumps(LOGIN)}'\nwrk.headers['Content-Type'] = '{JSON}'\n")
    url = f"{served.url}/auth/login"
    how = ("-t1", f"-c{CLIENTS}", f"-d{seconds}s", "--timeout", "30s", "-s", script)
    with subprocess.Popen([require("wrk", "wrk"), *how, url], stdout=subprocess.PIPE, text=True) as running:
        time.sleep(0.5)
        yield running


def counted(said: str, what: str) -> int:
    """How many of something wrk has counted."""
    found = re.search(rf"(\d+) {what}|{what}: (\d+)", said)
    return int(found[1] or found[2]) if found else 0


def memory(served: Served) -> float:
    """The most that a server has had in memory, in MB."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def test_a_flood_of_logins_holds_nobody_up(serve, tmp_path, profile, figures):
    row, seconds = figures("login flood"), profile(4, 60)
    served = serve()

    def flooded() -> float:
        with logins(served, tmp_path, seconds) as flood:
            taken = health(served.port, seconds - 1)
            answers = [served.get("/auth/login", "POST", json.dumps(LOGIN).encode(), **HEADERS) for _ in range(10)]
            said = flood.communicate()[0]
        tries = counted(said, "requests in")
        row.shows(f"{CLIENTS} clients, {seconds} s, {tries:,} tries", f"{told(taken)}; at most {memory(served):.0f} MB")
        assert tries == counted(said, "Non-2xx or 3xx responses") > 0
        assert {each.status for each in answers} <= {401, 503}
        assert all("Retry-After" in each.headers for each in answers if each.status == 503)
        return statistics.median(taken)

    assert at_last(flooded, SOON) < SOON
    assert memory(served) < (300 if postgres.is_used() else 200)  # its driver weighs, too


def test_a_server_that_hashes_where_it_reads_is_caught(serve, tmp_path, figures):
    served = serve((sys.executable, tampered.__file__, "one_lane"))
    with logins(served, tmp_path, 4):
        taken = health(served.port, 3)
    figures("login flood").catches(f"hashes where it reads: {told(taken)}")
    assert statistics.median(taken) > SOON
