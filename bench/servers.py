"""What servers do with the same small Flask application; writes bench/SERVERS.md.

Run it with `python bench/servers.py` (wrk from Debian's packages). Servers that are not installed are left out,
and named. Rates are medians of rounds that alternate: what counts is how they compare, since absolute figures say
more about the machine.
"""

import argparse
import importlib.util
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread

from common import free_port, wait_until_it_listens
from flask import Flask, Response, request
from load import Call, Result, load

HERE = Path(__file__).resolve().parent
THREADS = 4
MANY = 2000  # connections
COUNTS = (1, 8, 32)
HALF_A_HEADER = b"GET / HTTP/1.1\r\nHost: here\r\nX-Half: "
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nname="
SLOW = b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n"
QUICK = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
CALLERS, PIPELINED = 8, 20
MARK = "<!-- below this line: written by hand -->\n"


def application() -> Flask:
    """Answers at once at `/`, after it has read the body; after a while at `/slow`."""
    app = Flask("hello")

    def hello() -> Response:
        return Response(f"hello{len(request.get_data()) or ''}", 201)

    def slow() -> Response:
        time.sleep(0.2)
        return hello()

    app.add_url_rule("/", view_func=hello, methods=["GET", "POST"])
    app.add_url_rule("/slow", view_func=slow)
    return app


def ours(port: int) -> None:
    """Ours, as `invite-api serve` has it."""
    from web.lanes import Lanes
    from web.server import Server

    Server(application(), "127.0.0.1", port, Lanes(THREADS, re.compile("(GET|POST) /"))).run()


def waitress(port: int) -> None:
    """Waitress as it comes."""
    import waitress

    waitress.serve(
        application(), listen=f"127.0.0.1:{port}", threads=THREADS, connection_limit=MANY, asyncore_use_poll=True
    )


def uvicorn(port: int) -> None:
    """Uvicorn with its own threads for WSGI."""
    options = f"--interface wsgi --port {port} --log-level error --factory"
    _command("uvicorn", *options.split(), "servers:application")


def granian(port: int) -> None:
    """Granian with WSGI threads of its own."""
    options = f"--interface wsgi --port {port} --blocking-threads {THREADS} --backpressure {MANY} --no-ws --no-log"
    _command("granian", *options.split(), "--factory", "servers:application")


def gunicorn(port: int) -> None:
    """Gunicorn with threads, one worker."""
    options = f"-k gthread --threads {THREADS} --worker-connections {MANY} --log-level error -b 127.0.0.1:{port}"
    _command("gunicorn", *options.split(), "servers:application()")


def bjoern(port: int) -> None:
    """Bjoern, which has one thread."""
    import bjoern

    bjoern.run(application(), "127.0.0.1", port)


def _command(name: str, *arguments: str) -> None:
    os.chdir(HERE)
    command = Path(sys.executable).parent / name
    os.execv(command, [str(command), *arguments])  # noqa: S606 (the name is one of ours)


# what it is called, the package, how it is started
SERVERS: dict[str, tuple[str, Callable[[int], None]]] = {
    "ours": ("httptools", ours),
    "waitress as it comes": ("waitress", waitress),
    "uvicorn's WSGI threads": ("uvicorn", uvicorn),
    "granian's WSGI threads": ("granian", granian),
    "gunicorn, gthread": ("gunicorn", gunicorn),
    "bjoern": ("bjoern", bjoern),
}


@dataclass
class Findings:
    """What was seen of one server; latencies in ms."""

    loads: dict[int, list[Result]] = field(default_factory=lambda: defaultdict(list))
    memory: float = 0
    half_open: str = ""
    slow_8: str = ""
    slow_200: str = ""
    unanswered: str = ""


@contextmanager
def running(name: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A server, and its port."""
    port = free_port()
    command = [sys.executable, __file__, "--serve", name, str(port)]
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=silent, stderr=silent, start_new_session=True)
    try:
        wait_until_it_listens(port)
        yield process, port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):  # granian may leave its worker behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def memory(pid: int) -> float:
    """Resident memory of a process and those it has started, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(memory(int(each)) for each in children)


def latency(port: int) -> str:
    """How long a small answer takes, fifty times: the median and the slowest."""
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            return "no answer in 5 s"
        finally:
            connection.close()
        taken.append((time.perf_counter() - began) * 1000)
    return f"{statistics.median(taken):.1f}, {max(taken):.0f}"


def during(port: int, count: int, sent: bytes, dribble: bool) -> str:
    """The latency while so many connections have sent this and, if they dribble, go on byte after byte."""
    over = Event()
    with ExitStack() as held:
        open_ones = [held.enter_context(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(count)]
        for each in open_ones:
            each.sendall(sent)

        def go_on() -> None:
            while dribble and not over.wait(0.3):
                for each in open_ones:
                    with suppress(OSError):
                        each.send(b"x")

        dribbler = Thread(target=go_on)
        dribbler.start()
        time.sleep(0.5)
        try:
            return latency(port)
        finally:
            over.set()
            dribbler.join()


def unanswered(name: str) -> str:
    """Of requests that were sent before SIGTERM, those that got no answer, and how the server ended."""
    with running(name) as (process, port), ExitStack() as held:
        latency(port)
        waiting = [held.enter_context(socket.create_connection(("127.0.0.1", port), 5)) for _ in range(CALLERS + 1)]
        for each in waiting[:-1]:
            each.sendall(SLOW)
        waiting[-1].sendall(QUICK * PIPELINED)
        process.send_signal(signal.SIGTERM)
        answers = sum(_read(each).count(b"HTTP/1.1 201") for each in waiting)
        try:
            ended = f"ended with {process.wait(10)}"
        except subprocess.TimeoutExpired:
            ended = "did not end"
        return f"{CALLERS + PIPELINED - answers} of {CALLERS + PIPELINED}, {ended}"


def _read(connection: socket.socket) -> bytes:
    said = b""
    with suppress(OSError):
        while part := connection.recv(65536):
            said += part
    return said


def measure(names: list[str], rounds: int, seconds: int) -> dict[str, Findings]:
    """Rates turn by turn, then what each does under duress."""
    found = {name: Findings() for name in names}
    with ExitStack() as stack:
        started = {name: stack.enter_context(running(name)) for name in names}
        for name, (process, port) in started.items():
            latency(port)
            found[name].memory = memory(process.pid)
        for number in range(rounds):
            for connections in COUNTS:
                for name, (_, port) in started.items():
                    found[name].loads[connections].append(load(port, Call(["/"]), connections, seconds))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    for name, each in found.items():
        with running(name) as (_, port):
            each.half_open = during(port, 1000, HALF_A_HEADER, dribble=False)
        with running(name) as (_, port):
            each.slow_8 = during(port, 8, HALF_A_BODY, dribble=True)
        with running(name) as (_, port):
            each.slow_200 = during(port, 200, HALF_A_BODY, dribble=True)
        each.unanswered = unanswered(name)
        print(name, file=sys.stderr)
    return found


def report(found: dict[str, Findings], missing: list[str], rounds: int, seconds: int) -> Iterator[str]:
    """SERVERS.md, line by line."""
    yield "# Servers, measured\n"
    yield f"{machine(found)}. `python bench/servers.py`: a constant Flask answer, {THREADS} threads, {rounds} rounds of"
    yield f"{seconds} s that alternate; medians. Latency of a small answer: median and slowest of 50, in ms.\n"
    if missing:
        yield f"Not installed, and so not measured: {', '.join(missing)}.\n"
    yield row("", *(f"a second at {count}" for count in COUNTS), *(f"p99 at {count}" for count in COUNTS))
    yield row(*["---"] * 7)
    for name, each in found.items():
        rates = [f"{statistics.median(one.rate for one in each.loads[count]):,.0f}" for count in COUNTS]
        p99s = [f"{statistics.median(one.p99 for one in each.loads[count]):.1f} ms" for count in COUNTS]
        yield row(name, *rates, *p99s)
    yield ""
    yield row("", "1,000 half-open", "8 slow bodies", "200 slow bodies", "unanswered after SIGTERM", "idle memory")
    yield row(*["---"] * 6)
    for name, each in found.items():
        yield row(name, each.half_open, each.slow_8, each.slow_200, each.unanswered, f"{each.memory:.0f} MB")
    yield ""


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(each) for each in cells)} |"


def machine(found: dict[str, Findings]) -> str:
    """What this was measured on."""
    packages = sorted({"flask", *(SERVERS[name][0] for name in found)})
    versions = ", ".join(f"{each} {version(each)}" for each in packages)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def write(text: str) -> None:
    """Put the tables above what was written by hand."""
    file = HERE / "SERVERS.md"
    _, mark, words = file.read_text().partition(MARK) if file.exists() else ("", MARK, "")
    file.write_text(f"{text}\n{mark or MARK}{words}")


def main() -> None:
    """Measure, print, and write it down; or be one of the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PORT"), help="be this server")
    parser.add_argument("--smoke", action="store_true", help="a glance: one short round, nothing written")
    options = parser.parse_args()
    if options.serve:
        name, port = options.serve
        SERVERS[name][1](int(port))
        return
    if shutil.which("wrk") is None:
        raise SystemExit("apt-get install wrk")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    missing = sorted({package for package, _ in SERVERS.values() if importlib.util.find_spec(package) is None})
    if missing:
        print(f"to compare with the others, too: pip install {' '.join(missing)}", file=sys.stderr)
    names = [name for name, (package, _) in SERVERS.items() if package not in missing]
    rounds, seconds = (1, 1) if options.smoke else (3, 2)
    text = "\n".join(report(measure(names, rounds, seconds), missing, rounds, seconds))
    print(text)
    if not options.smoke:
        write(text)


if __name__ == "__main__":
    main()
