"""What the benchmarks share: a server of ours over a database of its own, what it weighs, and the lines of tables."""

import http.client
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HOUSE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOUSE))

from settings import Settings, in_force, load_settings  # noqa: E402

COMMAND = Path(sys.executable).parent / "invite-api"


@dataclass
class Served:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    port: int

    def memory(self, kind: str = "VmRSS") -> float:
        """Resident memory in MB now, or with ``VmHWM`` the most it has been."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(kind))

    def connect(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def get(self, path: str, headers: dict[str, str]) -> tuple[float, bytes]:
        """How many seconds a call took, and what it answered."""
        connection = self.connect()
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        body = connection.getresponse().read()
        connection.close()
        return time.perf_counter() - began, body


@contextmanager
def instance() -> Iterator[Settings]:
    """The settings of a folder that is there for this run alone, in force."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {"INVITE_API_INSTANCE": folder, "INVITE_API_LIMITS": "off"}
        with in_force(load_settings(environ)) as settings:
            yield settings


@contextmanager
def serving(settings: Settings, *under: str) -> Iterator[Served]:
    """A server over these settings, flood limits off; its command is the end of another, if there is one."""
    port = free_port()
    given = {"INSTANCE": str(settings.instance), "DATABASE_URL": settings.database_url, "LIMITS": "off"}
    environ = os.environ | {f"INVITE_API_{name}": value for name, value in given.items()}
    command = [*under, COMMAND, "serve", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environ)
    try:
        wait_until_it_listens(port)
        yield Served(process, port)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_it_listens(port: int) -> None:
    """Until a server answers there; ends the run if none does."""
    for _ in range(2400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("the server does not start")


def spread(values: list[float], unit: float = 1000) -> str:
    """Median, with minimum and maximum, in milliseconds."""
    return f"{statistics.median(values) * unit:8.2f}  ({min(values) * unit:.2f} to {max(values) * unit:.2f})"


def percentile(values: list[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def middle(ratios: Sequence[float]) -> str:
    """The median, with minimum and maximum."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def row(*cells: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(str(each) for each in cells)} |"


def machine() -> str:
    """What this was measured on."""
    with open("/proc/cpuinfo") as cpus:
        model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "")
    parts = [f"{name} {version(name)}" for name in ("flask", "sqlalchemy", "httptools")]
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, {', '.join(parts)}"
