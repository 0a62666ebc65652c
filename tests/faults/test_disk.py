"""The disk fails now and then: what cannot be kept is not promised, and when it is over all goes on."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conftest import COMMAND, Served, wait_for
from faults import tampered
from faults.crowd import CLIENTS, Books, Place, crowd, lost
from programs import require

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

CALLS = ("posix/io/rw/pwrite", "posix/io/sync/fdatasync")
SHARES = (0.5, 2, 10)  # of a hundred calls, how many fail
TAMPERED = (sys.executable, tampered.__file__)


class Disk:
    """A server, and the disk beneath it, which fails as told."""

    def __init__(self, start: Callable[..., Served], folder: Path, command: Sequence[str | Path] = (COMMAND,)) -> None:
        self._pipe = folder / "fiu"
        self.served = start((require("fiu-run", "fiu-utils"), "-x", "-f", self._pipe, *command))
        self.place = Place.furnish(self.served)

    def fail(self, share: float, seconds: float) -> Books:
        """Let this share of the calls fail while a crowd calls; what it was told meanwhile."""
        with crowd(self.served, self.place) as books:
            self._tell(f"enable_random name={{}},probability={share / 100}")
            time.sleep(seconds)
            self._tell("disable name={}")
        return books

    def _tell(self, command: str) -> None:
        commands = [each for call in CALLS for each in ("-c", command.format(call))]
        fiu = require("fiu-ctrl", "fiu-utils")
        subprocess.run([fiu, "-f", self._pipe, *commands, str(self.served.process.pid)], check=True, timeout=10)


def test_a_failing_disk_loses_nothing_that_was_told(serve, tmp_path, profile, figures):
    row, seconds = figures("disk: I/O errors"), profile(2, 60)
    disk, told, refused = Disk(serve, tmp_path), set(), 0
    for share in SHARES:
        books = disk.fail(share, seconds)
        assert books.rude == []
        told |= books.told
        refused += books.statuses[503]
        wait_for(lambda: disk.served.get(f"/invites_api?key={disk.place.key}").status == 201)
    disk.served.process.kill()
    disk.served.process.wait()
    gone = len(lost(disk.served.instance, told))
    row.shows(
        f"{', '.join(map(str, SHARES))} % of pwrite and fdatasync fail, {seconds} s each, {CLIENTS} clients",
        f"{gone} of {len(told):,} acknowledged writes lost; {refused:,} answers 503 with Retry-After, none other 5xx; "
        "goes on by itself",
    )
    assert refused > 0
    assert gone == 0


def test_who_does_not_look_whether_the_commit_succeeded_is_caught(serve, tmp_path, figures):
    disk = Disk(serve, tmp_path, (*TAMPERED, "shrug"))
    told = disk.fail(10, 2).told
    disk.served.process.kill()
    disk.served.process.wait()
    gone = len(lost(disk.served.instance, told))
    figures("disk: I/O errors").catches(f"takes a failed commit for done: {gone} of {len(told)} lost")
    assert gone > 0
