"""What a server writes to its database, call by call, and what a disk would have of it after a power cut."""

import random
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from conftest import Served, wait_for
from programs import require

SECTOR = 512  # bytes that a disk writes as a whole
CALLS = ("pwrite64", "ftruncate", "fdatasync", "fsync", "unlink")
UNFORESEEN = (
    "write",
    "writev",
    "pwritev",
    "pwritev2",
    "fallocate",
    "rename",
    "link",
    "sync_file_range",
    "copy_file_range",
)
LINE = re.compile(r"(?P<thread>\d+) +(?P<at>[\d.]+) (?P<resumed><\.\.\. )?(?P<call>\w+)(?P<rest>.*)")
TEXT = re.compile(r'["<]((?:\\x[0-9a-f]{2})+)[">]')
NUMBERS = re.compile(r", (\d+)(?=[,) ])")


class Event(NamedTuple):
    """A call: when, which, of which file, and what it was given. A sync has a second one, when it returns."""

    at: float
    call: str
    name: str
    data: bytes = b""
    number: int = 0  # where to, or how long to
    thread: str = ""


def traced(command: Sequence[str | Path], database: Path, trace: Path) -> list[str | Path]:
    """The command, each of its writes to this database and to the journal written down."""
    files = ("-P", database, "-P", f"{database}-wal", "-P", f"{database}-journal")
    calls = f"trace={','.join(CALLS + UNFORESEEN)}"
    how = ("-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000", "-ttt", "-o", trace, "-e", calls)
    return [require("strace", "strace"), *how, *files, *command]


def ended(served: Served, trace: Path) -> list[Event]:
    """Kill a server that was traced; what it has written."""
    served.process.kill()
    served.process.wait()
    wait_for(lambda: re.search(rf"^{served.process.pid} .*\+\+\+ killed by SIGKILL".encode(), _end(trace), re.M))
    with trace.open() as lines:
        return list(_events(lines))


def _end(trace: Path) -> bytes:
    with trace.open("rb") as file:
        file.seek(max(0, trace.stat().st_size - 100_000))
        return file.read()


def _events(lines: Iterable[str]) -> Iterator[Event]:
    started: dict[str, Event] = {}
    for line in lines:
        found = LINE.match(line)
        if not found or found["call"] not in CALLS + UNFORESEEN:
            continue
        assert found["call"] in CALLS, f"the model of a disk does not know {line[:100]}"
        if found["resumed"]:
            event = started[found["thread"]]
        else:
            yield (event := _event(found))
            started[event.thread] = event
        if event.call.endswith("sync") and "unfinished" not in found["rest"]:
            yield event._replace(at=float(found["at"]), call="synced")


def _event(found: re.Match[str]) -> Event:
    file, *data = [bytes.fromhex(each.replace("\\x", "")) for each in TEXT.findall(found["rest"])]
    numbers = [int(each) for each in NUMBERS.findall(found["rest"])]
    name = Path(file.decode()).name
    return Event(float(found["at"]), found["call"], name, b"".join(data), (numbers or [0])[-1], found["thread"])


@dataclass
class _File:
    """A file: what is on the disk for certain, and what was written since then."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)
    syncing: dict[str, int] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        if event.call == "synced":
            self._settle(self.syncing.pop(event.thread))
        elif event.call.endswith("sync"):
            self.syncing[event.thread] = len(self.pending)
        else:
            self.pending.append(event)

    def _settle(self, count: int) -> None:
        for each in self.pending[:count]:
            _write(self.durable, each)
        del self.pending[:count]
        self.syncing = {thread: max(0, before - count) for thread, before in self.syncing.items()}

    def after_a_cut(self) -> bytes:
        """What may be on the disk now: what was not synced is lost, there, or there in part."""
        content = bytearray(self.durable)
        fate = random.choice(["lost", "there", "mixed"])
        for each in self.pending:
            its = random.choice(["lost", "there", "torn"]) if fate == "mixed" else fate
            if its != "lost":
                _write(content, each, torn=its == "torn")
        return bytes(content)


def _write(content: bytearray, event: Event, torn: bool = False) -> None:
    if event.call == "ftruncate":
        del content[event.number :]
        content.extend(bytes(event.number - len(content)))
        return
    for start in range(0, len(event.data), SECTOR):
        if torn and random.random() < 0.5:
            continue
        sector, where = event.data[start : start + SECTOR], event.number + start
        content.extend(bytes(max(0, where + len(sector) - len(content))))
        content[where : where + len(sector)] = sector


def cuts(
    before: dict[str, bytes], events: list[Event], moments: list[float]
) -> Iterator[tuple[float, dict[str, bytes]]]:
    """The files as the power goes at each of these moments, and until when what was told must be in them."""
    files = {name: _File(bytearray(content)) for name, content in before.items()}
    times = [each.at for each in events]
    done = 0
    for moment in sorted(moments):
        until = bisect_right(times, moment)
        for event in events[done:until]:
            if event.call == "unlink":
                files.pop(event.name, None)
            else:
                files.setdefault(event.name, _File()).see(event)
        done = until
        yield moment, {name: file.after_a_cut() for name, file in files.items()}
