"""kill -9 in the midst of it: what clients were told is done is done, and nothing is done by half."""

import random
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import cycle, islice
from pathlib import Path

import pytest

from conftest import COMMAND, DiedAtItsStart, Served, servers, wait_for
from faults import tampered
from faults.crowd import CLIENTS, WRONG, Fact, Place, crowd, lost
from programs import require

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

Command = Callable[[Path], Sequence[str | Path]]  # for an instance
ROUNDS = 20  # in one instance, before the next begins
TAMPERED = (sys.executable, tampered.__file__)
STRACE = ("-D", "-f", "-qq", "-o", "/dev/null")  # beside --seccomp-bpf it would not inject


def at(how: str, latest: int) -> Command:
    """The command that dies at a place in Python, at one of so many times that it gets there."""
    return lambda _: (*TAMPERED, f"{how}={random.randint(1, latest)}")


def within(call: str, name: str, latest: int) -> Command:
    """The command that dies as it enters a system call for this file, while checkpoints are frequent."""

    def command(instance: Path) -> Sequence[str | Path]:
        inject = f"inject={call}:signal=SIGKILL:when={random.randint(1, latest)}"
        traced = ("-P", instance / name, "-e", f"trace={call}", "-e", inject)
        return (require("strace", "strace"), *STRACE, *traced, *TAMPERED, "checkpoint=100")

    return command


PLACES = {
    "after BEGIN": at("kill_after_begin", 200),
    "after the UPDATE that takes a use": at("kill_after_update", 60),
    "after a use is held": at("kill_after_hold", 20),
    "after a held use is completed": at("kill_after_complete", 8),
    "after a held use is given back": at("kill_after_release", 8),
    "after deliveries to a webhook are written": at("kill_after_dispatch", 8),
    "before COMMIT": at("kill_before_commit", 200),
    "after COMMIT, before the answer": at("kill_after_commit", 200),
    "while a commit is written": within("pwrite64", "invites.db-wal", 400),
    "before a commit is synced": within("fdatasync", "invites.db-wal", 60),
    "while the journal is copied into the file": within("pwrite64", "invites.db", 60),
}


def at_any_moment(instance: Path) -> Sequence[str | Path]:
    """The command as it is. It is killed from outside."""
    return (COMMAND,)


def answering_first(instance: Path) -> Sequence[str | Path]:
    """The control: who writes is answered, and only then it is committed."""
    return (*TAMPERED, "answer_first=1")


LEAST = {at_any_moment: 2, answering_first: 1}  # it has told when it is killed from outside; else nothing is shown


def rounds(folder: Path, commands: Sequence[Command]) -> tuple[int, int]:
    """Kill each of these servers once, in the midst of a crowd; how many facts were told, and how many lost."""
    told = gone = 0
    for number in range(0, len(commands), ROUNDS):
        each = folder / f"house{number}"
        each.mkdir()
        with servers(each) as start:
            facts, missing = _rounds(start, commands[number : number + ROUNDS])
        told, gone = told + len(facts), gone + len(missing)
    return told, gone


def _rounds(start: Callable[..., Served], commands: Sequence[Command]) -> tuple[set[Fact], set[Fact]]:
    told: set[Fact] = set()
    missing: set[Fact] = set()
    furnished = start()
    place = Place.furnish(furnished)
    end(furnished, signal.SIGKILL)
    for command in commands:
        with suppress(DiedAtItsStart):  # while it looked after what the one before had left
            served = start(command(furnished.instance))
            told |= kill(served, place, LEAST.get(command, 0))
        missing |= lost(furnished.instance, told)
    return told, missing


def kill(served: Served, place: Place, least: int) -> set[Fact]:
    """What a crowd was told by a server before it was killed once it had told so much, or, if that is 0, by itself."""
    with crowd(served, place) as books:
        if least:
            time.sleep(random.uniform(0.1, 0.6))
            wait_for(lambda: len(books.facts) >= least)
            served.process.kill()
        assert served.process.wait(60) == -signal.SIGKILL
    assert books.rude == []
    return books.told


def end(served: Served, how: signal.Signals) -> int:
    """Signal a server and see how it ends."""
    served.process.send_signal(how)
    return served.process.wait(30)


def test_what_was_told_survives_kill_9_at_any_moment(tmp_path, profile, figures):
    row = figures("kill -9, at any moment")
    times = profile(6, 300)
    told, gone = rounds(tmp_path, [at_any_moment] * times)
    row.shows(
        f"{times} kills, {CLIENTS} clients", f"{gone} of {told:,} acknowledged writes lost; nothing used or done twice"
    )
    assert told > times
    assert gone == 0


def test_what_was_told_survives_kill_9_at_the_worst_moments(tmp_path, profile, figures):
    row = figures("kill -9, at named places")
    times = profile(len(PLACES), 200)
    told, gone = rounds(tmp_path, list(islice(cycle(PLACES.values()), times)))
    row.shows(
        f"{times} kills, {CLIENTS} clients: {'; '.join(PLACES)}",
        f"{gone} of {told:,} acknowledged writes lost; nothing used or done twice",
    )
    assert told > times
    assert gone == 0


def test_an_answer_before_the_commit_is_caught(tmp_path, figures):
    told, gone = rounds(tmp_path, [answering_first] * 4)
    caught = f"answers before it commits: {gone} of {told} lost in 4 kills"
    for fault in ("kill -9, at any moment", "kill -9, at named places"):
        figures(fault).catches(caught)
    assert gone > 0


def test_what_is_done_twice_for_one_request_is_caught(tmp_path, figures):
    with servers(tmp_path) as start:
        served = start((*TAMPERED, "do_again=1"))
        with crowd(served, Place.furnish(served)) as books:
            wait_for(lambda: len(books.facts) >= 200)
            end(served, signal.SIGTERM)
        with closing(sqlite3.connect(served.instance / "invites.db")) as file:
            twice = file.execute(WRONG["done more than once for one request"]).fetchall()
    figures("kill -9, at any moment").catches(f"does once more what was committed together: {len(twice)} done twice")
    assert twice


def test_an_event_without_a_delivery_is_caught(tmp_path, figures):
    with servers(tmp_path) as start:
        served = start((*TAMPERED, "skips_deliveries=1"))
        with crowd(served, Place.furnish(served)) as books:
            wait_for(lambda: len(books.facts) >= 100)
        time.sleep(1)  # in which deliveries are written
        end(served, signal.SIGTERM)
        with closing(sqlite3.connect(served.instance / "invites.db")) as file:
            unsent = file.execute(WRONG["no delivery of what happened, to a webhook that is told of all"]).fetchall()
    figures("kill -9, at named places").catches(f"passes over what a webhook is told: {len(unsent)} events not sent")
    assert unsent


def test_sigterm_ends_the_server_however_many_go_on_calling(serve):
    served = serve()
    place = Place.furnish(served)
    with crowd(served, place) as books:
        time.sleep(0.5)
        assert end(served, signal.SIGTERM) == 0
    assert len(books.told) > 0
    assert lost(served.instance, books.told) == set()
    assert "Traceback" not in served.log.read_text()
