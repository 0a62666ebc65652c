"""The power goes: what clients were told is done is on the disk, whatever else is not."""

import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import database
from conftest import COMMAND, make_settings, servers, wait_for
from faults import tampered
from faults.crowd import CLIENTS, Books, Fact, Place, crowd, lost
from faults.strace import Event, cuts, ended, traced

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

FAULT = "power cut"
TAMPERED = (sys.executable, tampered.__file__)


@dataclass
class Recording:
    """What a server wrote, beginning with what there was, and what its clients were told meanwhile."""

    instance: Path
    before: dict[str, bytes]
    events: list[Event]
    books: Books

    def moments(self, count: int) -> list[float]:
        """When the power goes: at the very moment when somebody was told something, or at any other."""
        told = [each.at for each in self.books.facts]
        return [random.choice(told) if number % 2 else random.uniform(told[0], told[-1]) for number in range(count)]

    def told_until(self, moment: float) -> set[Fact]:
        """What somebody had been told by then."""
        return {each._replace(at=0) for each in self.books.facts if each.at <= moment}


def record(folder: Path, command: Sequence[str | Path], seconds: float, least: int) -> Recording:
    """Trace a server while a crowd uses it, for so long, and until it has told so much."""
    folder.mkdir()
    with servers(folder) as start:
        furnished = start()
        place, instance = Place.furnish(furnished), furnished.instance
        furnished.process.send_signal(signal.SIGTERM)
        furnished.process.wait(30)
        before = {each.name: each.read_bytes() for each in instance.glob("invites.db*")}
        served = start(traced(command, instance / "invites.db", folder / "trace"))
        with crowd(served, place) as books:
            time.sleep(seconds)
            wait_for(lambda: len(books.facts) > least, 120)
            events = ended(served, folder / "trace")
    assert books.rude == []
    return Recording(instance, before, events, books)


def replay(recording: Recording, folder: Path, count: int) -> list[set[Fact]]:
    """What is lost at each of so many cuts. Each database must open, and be sound."""
    gone = []
    for number, (moment, files) in enumerate(cuts(recording.before, recording.events, recording.moments(count))):
        settings = make_settings(folder / f"cut{number}", SECRET_KEY_FILE=str(recording.instance / "secret.key"))
        settings.instance.mkdir(parents=True)
        for name, content in files.items():
            (settings.instance / name).write_bytes(content)
        with closing(database.open_database(settings)) as opened:
            assert opened.check() == []
        gone.append(lost(settings.instance, recording.told_until(moment)))
        for each in settings.instance.iterdir():
            each.unlink()
    return gone


def test_what_was_told_survives_a_power_cut(tmp_path, profile, figures):
    row, count, seconds = figures(FAULT), profile(60, 600), profile(2, 20)
    gone = told = 0
    for name, command in {"as it is": (COMMAND,), "checkpoints": (*TAMPERED, "checkpoint=100")}.items():
        recording = record(tmp_path / name, command, seconds, count // 2)
        gone += sum(map(len, replay(recording, tmp_path / name, count // 2)))
        told += len(recording.books.facts)
        assert any(each.name == "invites.db" for each in recording.events) or name == "as it is"
    row.shows(
        f"{count} cuts into what {CLIENTS} clients had written; what was not synced lost, there or torn",
        f"{gone} of {told:,} acknowledged writes lost; every database sound",
    )
    assert told > count
    assert gone == 0


def test_synchronous_normal_is_caught(tmp_path, profile, figures):
    count = profile(30, 600)
    recording = record(tmp_path / "normal", (*TAMPERED, "synchronous=NORMAL"), profile(2, 20), count // 2)
    losing = sum(map(bool, replay(recording, tmp_path / "normal", count)))
    figures(FAULT).catches(f"synchronous=NORMAL: {losing} of {count} cuts lose something")
    assert losing > 0
