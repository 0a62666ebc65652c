"""Who answers which requests: the server's loop the quick ones, the threads of several lanes the others.

Python runs one thread at a time, so that a look-up would only take longer in another thread. Requests that
write to a file have one thread; those that wait for it at the same time share a commit.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import clock
from web import logs

TIMEOUT = 10  # seconds for what is still being answered at the end
MAX_TOGETHER = 32  # requests that share a commit: the first waits for the last,
MAX_SECONDS_TOGETHER = 0.05  # and no more join after so many seconds

TURN = 0.005  # seconds for requests that the loop answers, before it reads new ones

Together = Callable[[], AbstractContextManager[None]]
Job = tuple[Callable[[], Any], Callable[[Any], None]]  # a thread calls the first, the loop the second with its result
Result = tuple[Callable[[Any], None], Any]  # what the loop calls, and with what
Results = list[Result]


class Lane(NamedTuple):
    """Requests that have threads of their own, so that they do not hold up others.

    `requests` matches their ``METHOD /path``; only those are of this lane whose bodies are longer than `beyond`
    bytes. Those that wait at the same time are answered inside of one `together`, if that is given, and the answers
    are sent when it has ended without an error.
    """

    requests: re.Pattern[str]
    threads: int
    together: Together | None = None
    beyond: int = -1


class Lanes:
    """Who answers what.

    `quick` matches the ``METHOD /path`` of requests that the loop answers; `threads` answer those without
    a lane of their own.
    """

    def __init__(self, threads: int, quick: re.Pattern[str], *others: Lane) -> None:
        self._lanes: list[tuple[re.Pattern[str], int, InLoop | Workers]] = [(quick, -1, InLoop())]
        self._lanes += [(each.requests, each.beyond, Workers(each.threads, each.together)) for each in others]
        self._others = Workers(threads)

    def of(self, line: str, size: int) -> "InLoop | Workers":
        """Who answers this ``METHOD /path`` with a body of so many bytes."""
        found = (workers for requests, beyond, workers in self._lanes if size > beyond and requests.fullmatch(line))
        return next(found, self._others)

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads, whose results go to this loop."""
        for each in self._all():
            each.begin(loop)

    def end(self) -> None:
        """Wait for the threads to end, but not for long."""
        for each in self._all():
            each.end()

    def _all(self) -> list["InLoop | Workers"]:
        return [self._others, *(each for *_, each in self._lanes)]


class InLoop:
    """The loop itself: who came first is answered first, and between two turns new requests are read.

    Answered where they are read, the last to come in a turn would wait for all of the next one, too.
    """

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting = deque[Job]()
        self._is_due = False
        self._loop: asyncio.AbstractEventLoop

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Work in this loop."""
        self._loop = loop

    def add(self, do: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have the loop call `do`, and `then` with its result."""
        self._waiting.append((do, then))
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._work)

    def end(self) -> None:
        """What still waits is not done."""
        self._waiting.clear()

    def _work(self) -> None:
        until = clock.ticks() + TURN
        try:
            while self._waiting and clock.ticks() < until:
                do, then = self._waiting.popleft()
                then(do())
        finally:
            self._is_due = bool(self._waiting)
            if self._is_due:
                self._loop.call_soon(self._work)


class Workers:
    """The threads of a lane, and what waits for them."""

    def __init__(self, threads: int, together: Together | None = None) -> None:
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._together = together
        self._gathered: list[Job] = []
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(threads)]
        self._loop: asyncio.AbstractEventLoop

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads."""
        self._loop = loop
        for each in self._threads:
            each.start()

    def add(self, do: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Have a thread call `do`, and the loop call `then` with its result.

        Jobs to be done together are handed over when the loop has read all that has come: the thread would
        begin with the first alone, and the others would wait for the next commit.
        """
        if not self._together:
            self._waiting.put((do, then))
            return
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((do, then))

    def end(self) -> None:
        """Wait for the threads to end, but not for long: one may hang."""
        for _ in self._threads:
            self._waiting.put(None)
        deadline = clock.ticks() + TIMEOUT / 2
        for each in self._threads:
            each.join(max(0, deadline - clock.ticks()))

    def _hand_over(self) -> None:
        for each in self._gathered:
            self._waiting.put(each)
        self._gathered.clear()

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, since this took too long
            while (job := self._waiting.get()) is not None:
                for results in self._done([job, *self._others()] if self._together else [job]):
                    self._loop.call_soon_threadsafe(_go_on, results)

    def _others(self) -> Iterator[Job]:
        """What else waits at this moment."""
        for _ in range(min(self._waiting.qsize(), MAX_TOGETHER - 1)):
            if (job := self._waiting.get()) is None:
                self._waiting.put(None)
                return
            yield job

    def _done(self, jobs: list[Job]) -> Iterator[Results]:
        """Results of all jobs: done together, or, if that fails and nothing of them was kept, one by one."""
        failed = ""
        while self._together and len(jobs) > 1:
            try:
                with logs.held() as notes, self._together():
                    results = list(_until(clock.ticks() + MAX_SECONDS_TOGETHER, jobs))
            except Exception as error:  # these answers are not sent: nothing is logged or counted of them
                failed = str(error) or repr(error)
                break
            for each in notes:
                each()
            yield results
            jobs = jobs[len(results) :]
        if failed:
            yield from _one_by_one(jobs, failed)
        else:
            yield from ([(then, do())] for do, then in jobs)


def _one_by_one(jobs: list[Job], failed: str) -> Iterator[Results]:
    """Results of jobs whose shared commit has `failed`; one line of the log says why, and how many they are.

    What fails again is in that line or, for another reason, in one more: never in a line for each.
    """
    faults: list[logs.Fault] = []
    try:
        for do, then in jobs:
            with logs.held() as notes:
                result = do()
            for each in notes:
                if isinstance(each, logs.Fault):
                    faults.append(each)
                else:
                    each()
            yield [(then, result)]
    finally:
        if all(each.why != failed for each in faults):
            logs.log.warning("%s requests are answered one by one: %s", len(jobs), failed)
        logs.faults(faults)


def _until(deadline: float, jobs: list[Job]) -> Iterator[Result]:
    """Results of the first few."""
    for do, then in jobs:
        yield then, do()
        if clock.ticks() >= deadline:
            return


def _go_on(results: Results) -> None:
    for then, result in results:
        then(result)
