"""The server under `invite-api serve`: waitress, which reads requests in one thread and answers in others.

So neither slow nor half-sent requests keep a worker. Told to stop, it takes no new connections,
answers what it has received, and ends.
"""

import errno
import resource
import select
import signal
from collections.abc import Set
from types import FrameType
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ThreadedTaskDispatcher, WSGITask

import clock

Requests = Set[tuple[str, str]]

MOST_CONNECTIONS = 2000
OTHER_FILES = 100  # the database's, the log, ...
PATIENCE = 10  # seconds for what is still being answered at the end
MOST_UNSENT = 4 * 1024 * 1024  # of an answer, before its thread waits for the reader
REFUSED_UNREAD = 1024 * 1024  # beyond it waitress says 413 itself, before it is sent


class _Task(WSGITask):
    """A request to the application. While the server stops, the last one of a connection closes it."""

    def build_response_header(self) -> Any:
        if self.channel.server.stopping and not self._has_more():
            self.set_close_on_finish()
        return super().build_response_header()

    def _has_more(self) -> bool:
        """Whether this connection has sent more than the request that is being answered."""
        if len(self.channel.requests) > 1 or self.channel.request is not None:
            return True
        unread = select.poll()
        unread.register(self.channel.socket, select.POLLIN)
        return bool(unread.poll(0))


class _Channel(HTTPChannel):
    task_class = _Task


class Lanes:
    """Waitress's threads, and others for requests that take long, so that those hold up nobody else.

    Each of `others` says which requests, by method and path, and how many threads they have.
    """

    def __init__(self, threads: int, *others: tuple[Requests, int]) -> None:
        self._requests = [requests for requests, _ in others]
        self._lanes = [_dispatcher(count) for count in (threads, *(count for _, count in others))]

    def add_task(self, channel: HTTPChannel) -> None:
        """Have the first request of a connection answered."""
        request = channel.requests[0]
        asked = None if request.error else (request.command, request.path.rstrip("/"))
        lane = next((number for number, each in enumerate(self._requests, 1) if asked in each), 0)
        self._lanes[lane].add_task(channel)

    def shutdown(self) -> None:
        """Let the threads end."""
        for lane in self._lanes:
            lane.shutdown()


def _dispatcher(threads: int) -> ThreadedTaskDispatcher:
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    return dispatcher


class Server:
    """A listening server; `run` it until SIGTERM or SIGINT."""

    def __init__(self, app: Flask, host: str, port: int, lanes: Lanes) -> None:
        """Listen; raises OSError if that cannot be done there."""
        self._map: dict[int, wasyncore.dispatcher] = {}
        self._stopping = False
        self._lanes = lanes
        create_server(
            app,
            map=self._map,
            host=host,
            port=port,
            _dispatcher=lanes,
            ident=None,
            backlog=1024,
            connection_limit=_connections(),
            channel_timeout=30,
            cleanup_interval=10,
            max_request_body_size=REFUSED_UNREAD,
            outbuf_high_watermark=MOST_UNSENT,
            max_request_header_size=64 * 1024,
            clear_untrusted_proxy_headers=False,
            asyncore_use_poll=True,  # select() knows no file beyond the 1,024th
        )
        for each in self._listeners():
            each.channel_class = _Channel
            each.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    @property
    def address(self) -> str:
        """Where it listens, as the start of a URL."""
        first = self._listeners()[0]
        host = f"[{first.effective_host}]" if ":" in first.effective_host else first.effective_host
        return f"http://{host}:{first.effective_port}"

    def run(self) -> None:
        """Serve until told to stop, then finish what was accepted."""
        while not self._stopping:
            self._turn(1.0)
        self._drain()

    def _stop(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._stopping:  # the trigger may be closed by now, and its number be another file's
            return
        self._stopping = True
        for each in self._listeners():
            each.stopping = True
        self._listeners()[0].pull_trigger()

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, map=self._map, use_poll=True, count=1)

    def _drain(self) -> None:
        """Take what stands in the door, shut it, and answer what is inside."""
        self._settle(clock.ticks() + 1)
        for each in self._listeners():
            each.del_channel()
            each.socket.close()
        self._settle(clock.ticks() + PATIENCE)
        self._lanes.shutdown()
        wasyncore.close_all(self._map)

    def _settle(self, deadline: float) -> None:
        """Go on until nobody arrives, nothing comes in and no answer is due any more."""
        quiet, before = 0, self._happenings()
        while quiet < 3 and clock.ticks() < deadline:
            self._turn(0.02)
            now = self._happenings()
            quiet = 0 if now != before or self._is_busy() else quiet + 1
            before = now

    def _happenings(self) -> list[tuple[int, float]]:
        return [(number, each.last_activity) for number, each in self._channels()]

    def _is_busy(self) -> bool:
        """Whether a whole request is without its answer, or an answer has not been sent."""
        return any(each.requests or each.total_outbufs_len for _, each in self._channels())

    def _channels(self) -> list[tuple[int, HTTPChannel]]:
        return [(number, each) for number, each in self._map.items() if isinstance(each, HTTPChannel)]

    def _listeners(self) -> list[BaseWSGIServer]:
        return [each for each in self._map.values() if isinstance(each, BaseWSGIServer)]


def _connections() -> int:
    """How many connections to hold, with room for the other files; asks for as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    if soft < 2 * OTHER_FILES:
        raise OSError(errno.EMFILE, f"only {soft} files may be open (ulimit -n), {2 * OTHER_FILES} are needed")
    return min(MOST_CONNECTIONS, soft - OTHER_FILES)
