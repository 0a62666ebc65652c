"""A thread in the background works until it is stopped, whatever goes wrong in between."""

import time

import pytest

from conftest import wait_for
from database import Unavailable
from database.background import BackgroundThread


class Worker(BackgroundThread):
    """It does what it was given, piece by piece, and then has nothing to do."""

    unavailable = "the work cannot be done: %s"
    failed = "the work failed"

    def __init__(self, pieces, pause, settings):
        super().__init__("worker", None, settings, pause, patience=5)
        self.pieces, self.calls = list(pieces), 0

    def work(self):
        self.calls += 1
        piece = self.pieces.pop(0) if self.pieces else False
        if isinstance(piece, Exception):
            raise piece
        return piece


@pytest.fixture
def start(settings):
    started = []

    def start(*pieces, pause):
        started.append(Worker(pieces, pause, settings))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()
        assert not each.is_alive()


def test_one_piece_of_work_follows_the_other_without_a_pause(start):
    worker = start(True, True, False, True, pause=3600)
    wait_for(lambda: worker.calls == 3)
    time.sleep(0.05)
    assert worker.pieces == [True]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Unavailable("the disk is full"), "the work cannot be done: the disk is full"),
        (KeyError("x"), "the work failed"),
    ],
)
def test_an_error_is_logged_and_the_work_is_tried_again(start, caplog, error, line):
    worker = start(error, True, pause=0.01)
    wait_for(lambda: not worker.pieces)
    assert [each.getMessage() for each in caplog.records] == [line]
    assert worker.is_alive()


def test_a_thread_that_pauses_stops_at_once(start):
    worker = start(pause=3600)
    wait_for(lambda: worker.calls)
    before = time.monotonic()
    worker.stop()
    assert time.monotonic() - before < 1
    assert not worker.is_alive()
