"""The database cannot be used for a while: callers are told when to come again, and then all goes on."""

import json
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from conftest import COMMAND, Served, read_only, wait_for
from faults import tampered
from faults.crowd import CLIENTS, Books, Fact, Place, crowd, lost
from programs import missing, require

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

TAMPERED = (sys.executable, tampered.__file__)


@contextmanager
def full(served: Served) -> Iterator[None]:
    """No file may grow any more."""
    size = max(each.stat().st_size for each in served.instance.glob("invites.db*"))
    before = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    time.sleep(1)
    yield
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(served: Served) -> Iterator[None]:
    """Another process has the lock, for longer than anybody waits for it."""
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(6)
        yield
        other.execute("ROLLBACK")


@contextmanager
def deleted(served: Served) -> Iterator[None]:
    """The files are gone, until somebody finds them."""
    with _away(served.instance):
        time.sleep(0.5)
        yield


@contextmanager
def replaced(served: Served) -> Iterator[None]:
    """Another file has its name, until somebody notices."""
    with _away(served.instance) as away:
        shutil.copy(away / "invites.db", served.instance)
        time.sleep(0.5)
        yield


@contextmanager
def _away(instance: Path) -> Iterator[Path]:
    away = instance / "away"
    away.mkdir()
    for each in instance.glob("invites.db*"):
        each.rename(away / each.name)
    yield away
    for each in away.iterdir():
        each.rename(instance / each.name)
    away.rmdir()


HARMS = {"disk: full": full, "locked by another process": locked, "file deleted": deleted, "file replaced": replaced}
READABLE = (full, locked)  # what is in the database can still be looked up


def suffer(served: Served, place: Place, harm: Callable[[Served], AbstractContextManager[None]]) -> Books:
    """Do harm to a server in the midst of a crowd; it must be well again by itself."""
    token = make(served, place)
    with crowd(served, place) as books:
        time.sleep(0.5)
        with harm(served):
            seen = served.get(f"/invites/{token}")
            assert served.get("/health").status == 200
            wait_for(lambda: books.statuses[503])
        assert seen.status == (200 if harm in READABLE else 503)
    wait_for(lambda: make(served, place))
    return books


def make(served: Served, place: Place) -> str:
    """The token of a fresh invite, or ""."""
    return served.get(f"/invites_api?key={place.key}").headers.get("Location", "").partition("?")[2]


@pytest.mark.parametrize("fault", HARMS)
def test_harm_is_told_and_passes(serve, fault, profile, figures):
    row, times = figures(fault), profile(1, 20)
    served = serve()
    place, told, refused = Place.furnish(served), set[Fact](), 0
    for _ in range(times):
        books = suffer(served, place, HARMS[fault])
        assert books.rude == []
        told |= books.told
        refused += books.statuses[503]
    gone = len(lost(served.instance, told))
    row.shows(
        f"{times} times, {CLIENTS} clients",
        f"{refused:,} answers 503 with Retry-After, none other 5xx; "
        f"{'reads go on' if HARMS[fault] in READABLE else 'no reads'}, then goes on by itself; "
        f"{gone} of {len(told):,} acknowledged writes lost",
    )
    assert refused > 0
    assert gone == 0


@pytest.mark.parametrize("fault", HARMS)
def test_a_server_that_does_not_say_when_to_come_again_is_caught(serve, fault, figures):
    served = serve((*TAMPERED, "blunt"))
    place = Place.furnish(served)
    with crowd(served, place) as books, HARMS[fault](served):
        wait_for(lambda: books.rude)
    figures(fault).catches(f"does not know that error: {len(books.rude)} answers 500")
    assert books.rude != []


def begin_read_only(start: Callable[..., Served], times: int, command: Sequence[str | Path] = (COMMAND,)) -> list[int]:
    """Start a server on a file that nobody may write: what those were told who wanted it to. Later it must write."""
    first = start()
    place, answers = Place.furnish(first), []
    token = make(first, place)
    first.process.terminate()
    first.process.wait(30)
    for _ in range(times):
        with read_only(first.instance / "invites.db"):
            served = start(command)
            assert served.get(f"/invites/{token}").status == 200
            answer = served.get(f"/invites_api?key={place.key}")
            answers.append(answer.status if "Retry-After" in answer.headers else 500)
        wait_for(lambda served=served: make(served, place))
        served.process.terminate()
        served.process.wait(30)
    return answers


def test_a_server_that_begins_on_a_read_only_file_writes_when_it_may(serve, profile, figures):
    row, times = figures("file read-only"), profile(1, 20)
    assert begin_read_only(serve, times) == [503] * times
    row.shows(
        f"{times} starts", "503 with Retry-After for who writes; reads go on, and by itself all of it when it may"
    )


def test_a_server_on_a_read_only_file_that_does_not_say_when_to_come_again_is_caught(serve, figures):
    assert begin_read_only(serve, 1, (*TAMPERED, "blunt")) == [500]
    figures("file read-only").catches("does not know that error: 500")


class Clock:
    """A server whose clock is set from outside, in the midst of its work."""

    def __init__(
        self, start: Callable[..., Served], folder: Path, command: tuple[str | Path, ...] = (COMMAND,)
    ) -> None:
        self._setting = folder / "clock"
        self.set(0)
        require("faketime", "faketime")
        library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
        preload = f"LD_PRELOAD={library or missing('libfaketime', 'faketime')}"
        how = (f"FAKETIME_TIMESTAMP_FILE={self._setting}", "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1")
        self.served = start(("env", preload, *how, *command))
        self.place = Place.furnish(self.served, budget="off")  # what has expired gives back, and then it has not

    def set(self, days: int) -> None:
        """So many days after what it is, or before."""
        draft = self._setting.with_name("clock.new")
        draft.write_text(f"{days:+}d\n")
        draft.replace(self._setting)  # at one blow: it is read all the time

    def expires(self, token: str) -> bool:
        """Whether an invite is refused for its age."""
        answer = self.served.get(f"/invites/{token}")
        return answer.status == 404 and json.loads(answer.body)["code"] == "INVITE_EXPIRED"

    def leap(self, days: int, seconds: float) -> tuple[Books, bool]:
        """Let the clock be wrong for a while in the midst of a crowd, and whether that made an invite expire."""
        token = make(self.served, self.place)
        with crowd(self.served, self.place) as books:
            time.sleep(seconds)
            self.set(days)
            time.sleep(seconds)
            expired = self.expires(token)
            assert make(self.served, self.place)
            self.set(0)
            time.sleep(seconds)
        assert not self.expires(token)
        return books, expired


def test_a_clock_that_leaps_ten_days_harms_nobody(serve, tmp_path, profile, figures):
    row, times = figures("clock leaps ± 10 days"), profile(1, 20)
    clock, told = Clock(serve, tmp_path), set[Fact]()
    for days in (10, -10) * times:
        books, expired = clock.leap(days, 0.7)
        assert expired is (days > 0)
        assert max(books.statuses) < 500
        told |= books.told
    gone = len(lost(clock.served.instance, told))
    row.shows(
        f"{times} times each, and back, {CLIENTS} clients",
        f"no 5xx, invites expire and sessions end as the clock says; {gone} of {len(told):,} acknowledged writes lost",
    )
    assert gone == 0


def test_a_service_that_does_not_look_at_the_clock_is_caught(serve, tmp_path, figures):
    clock = Clock(serve, tmp_path, (*TAMPERED, "stopped_clock"))
    _, expired = clock.leap(10, 0.1)
    figures("clock leaps ± 10 days").catches("looks at the clock once: an invite of a week is open after ten days")
    assert not expired
