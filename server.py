"""The server under `invite-api serve`: waitress, which reads requests in one thread and answers in others.

So neither slow nor half-sent requests keep a worker. What only looks something up is answered where it
was read: Python runs one thread at a time, so that handing it over only takes longer. Told to stop, it
takes no new connections, answers what it has received, and ends.
"""

import errno
import re
import resource
import select
import signal
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import lru_cache, partial
from operator import itemgetter
from queue import SimpleQueue
from threading import Thread, get_ident
from types import FrameType
from typing import Any, NamedTuple

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, Task, WSGITask
from waitress.utilities import RequestEntityTooLarge
from werkzeug.http import http_date

import clock

MOST_CONNECTIONS = 2000
OTHER_FILES = 100  # the database's, the log, ...
PATIENCE = 10  # seconds for what is still being answered at the end
SOON = 0.002  # seconds until it is looked again at an answer that a thread is sending
IDLE = 30  # seconds of silence, until a connection is ended
MOST_UNSENT = 4 * 1024 * 1024  # of an answer, before its thread waits for the reader
MOST_TOGETHER = 32  # requests that share a commit: the first waits for the last,
LONGEST_TOGETHER = 0.05  # and no more join after so many seconds
REFUSED_UNREAD = 1024 * 1024  # beyond it waitress says 413 itself, before it is sent


_ANSWER = "invite_api.answer"


def _remembering(app: Flask) -> Callable[..., Iterable[bytes]]:
    """The application, or what it has answered already: status and headers, as it said them, and the body."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if _ANSWER not in environ:
            return app(environ, start_response)
        head, body = environ[_ANSWER]
        start_response(*head)
        return list(body)

    return answer


class _Task(WSGITask):
    """A request to the application. While the server stops, the last one of a connection closes it."""

    wrote_header: bool

    def get_environment(self) -> dict[str, Any]:
        """What the application is asked; with its answer, if it has given that already."""
        environ: dict[str, Any] = self.request.answered or super().get_environment()
        return environ

    def prepare(self) -> None:
        """Have the application answer, and nothing sent of it until this request is served."""
        environ, heads = super().get_environment(), list[tuple[Any, ...]]()
        parts = self.channel.server.application(environ, lambda *head: heads.append(head))
        with closing(parts) if hasattr(parts, "close") else nullcontext():
            environ[_ANSWER] = heads[-1], list(parts)
        self.request.answered = environ

    def build_response_header(self) -> Any:
        if self.channel.server.stopping and not self._has_more():
            self.set_close_on_finish()
        if not self._is_usual():
            return super().build_response_header()
        headers = sorted([*self.response_headers, ("Date", _date(int(self.start_time)))], key=itemgetter(0))
        lines = [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([f"HTTP/1.1 {self.status}", *lines, "", ""]).encode("latin-1")

    def _is_usual(self) -> bool:
        """Whether the connection stays open, and the answer says its length: then waitress has nothing to add."""
        said = {name for name, _ in self.response_headers}
        return (
            self.version == "1.1"
            and not self.close_on_finish
            and self.request.headers.get("CONNECTION", "").lower() != "close"
            and self.has_body
            and "Content-Length" in said
            and said.isdisjoint(("Date", "Server"))
        )

    def write(self, data: bytes) -> None:
        """Send a part of the answer; if it is all of it, together with the header, in one piece."""
        if not self.wrote_header and self.complete and self.has_body and len(data) == self.content_length:
            self.content_bytes_written = len(data)
            data = self.build_response_header() + data
            self.wrote_header = True
            self.channel.write_soon(data)
        else:
            super().write(data)

    def _has_more(self) -> bool:
        """Whether this connection has sent more than the request that is being answered."""
        if len(self.channel.requests) > 1 or self.channel.request is not None:
            return True
        unread = select.poll()
        unread.register(self.channel.socket, select.POLLIN)
        return bool(unread.poll(0))


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """When this is answered, as a header says it: the same for a second."""
    return http_date(second)


class Parser(HTTPRequestParser):
    """What reads a request, about whose end all readers agree."""

    answered: dict[str, Any] | None = None

    def forget(self) -> None:
        """Let the application be asked anew."""
        self.answered = None
        self.get_body_stream().seek(0)

    def parse_header(self, header_plus: bytes) -> None:
        """Raises ParsingError also for a length that Python makes no number of, and for two lengths.

        Of two a proxy may have taken the other (RFC 9112, 6.1).
        """
        try:
            super().parse_header(header_plus)
        except ValueError as error:
            raise ParsingError("A header cannot be read") from error
        if "TRANSFER_ENCODING" in self.headers or (self.chunked and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Send a Content-Length, or with HTTP/1.1 a Transfer-Encoding, and not both.")


class _Unread(_Task):
    """A request that is too long to be read: the application says so, in the words of who was asked."""

    def get_environment(self) -> dict[str, Any]:
        """What the application is asked, with a length where none was said."""
        read = str(self.request.body_bytes_received)
        return {"CONTENT_LENGTH": read, **super().get_environment()}

    def execute(self) -> None:
        """The answer, and the end of the connection: what else comes of the request is not read."""
        self.set_close_on_finish()
        super().execute()


def _error_task(channel: HTTPChannel, request: HTTPRequestParser) -> Task:
    """Who answers a request that waitress refuses."""
    return (_Unread if isinstance(request.error, RequestEntityTooLarge) else ErrorTask)(channel, request)


class _Channel(HTTPChannel):
    task_class = _Task
    error_task_class = staticmethod(_error_task)
    parser_class = Parser

    def is_deaf(self) -> bool:
        """Whether it has read nothing for so long of what it asked for.

        Waitress ends idle connections, but waits for these to take what there is, which they never do.
        """
        return bool(self.total_outbufs_len) and self.last_activity < clock.now().timestamp() - IDLE


class Lane(NamedTuple):
    """Requests that have threads to themselves, so that those which wait hold up nobody else.

    `requests` is what their ``METHOD /path`` matches. Those that wait at the same time are answered
    inside of one `together`, if that is given, and the answers are sent when it has ended well.
    """

    requests: re.Pattern[str]
    threads: int
    together: Callable[[], AbstractContextManager[None]] | None = None


class Lanes:
    """Who answers which requests: the loop that reads them those that are quick, threads the others.

    `quick` is what ``METHOD /path`` of the first matches; `threads` are for what has no lane of its own.
    """

    def __init__(self, threads: int, quick: re.Pattern[str], *others: Lane) -> None:
        self._quick = quick
        self._here: deque[HTTPChannel] = deque()
        self._unsent: deque[HTTPChannel] = deque()
        self._requests = [each.requests for each in others]
        self._lanes = [_Workers(threads), *(_Workers(each.threads, each.together) for each in others)]

    def add_task(self, channel: HTTPChannel) -> None:
        """Have the first request of a connection answered, once the answers before it are sent.

        Else whoever asks for much and reads nothing would fill the memory, and halt one thread after the other.
        """
        if channel.total_outbufs_len:
            self._unsent.append(channel)
            return
        request = channel.requests[0]
        asked = "" if request.error else f"{request.command} {request.path.rstrip('/') or '/'}"
        if self._quick.fullmatch(asked):
            self._here.append(channel)
            return
        lane = next((number for number, each in enumerate(self._requests, 1) if each.fullmatch(asked)), 0)
        self._lanes[lane].waiting.put(channel)

    def answer_here(self) -> bool:
        """Answer what is quick, one request of each connection; whether there are more."""
        for _ in range(len(self._unsent)):
            channel = self._unsent.popleft()
            if channel.requests:
                self.add_task(channel)
        for _ in range(len(self._here)):
            _answer(self._here.popleft())
        return bool(self._here)

    def shutdown(self) -> None:
        """Let the threads end."""
        for lane in self._lanes:
            lane.end()


class _Workers:
    """The threads of a lane, and who waits for them."""

    def __init__(self, threads: int, together: Callable[[], AbstractContextManager[None]] | None = None) -> None:
        self.waiting: SimpleQueue[HTTPChannel | None] = SimpleQueue()
        self._together = together
        self._threads = [Thread(target=self._work, daemon=True) for _ in range(threads)]
        for each in self._threads:
            each.start()

    def end(self) -> None:
        for _ in self._threads:
            self.waiting.put(None)
        deadline = clock.ticks() + PATIENCE / 2
        for each in self._threads:
            each.join(max(0, deadline - clock.ticks()))

    def _work(self) -> None:
        while (channel := self.waiting.get()) is not None:
            channels = [channel, *self._others()] if self._together else [channel]
            while channels:
                ready = _prepare(channels, self._together) if self._together and len(channels) > 1 else 1
                for each in channels[:ready]:
                    _answer(each)
                channels = channels[ready:]

    def _others(self) -> list[HTTPChannel]:
        """Those that wait besides."""
        found: list[HTTPChannel] = []
        while len(found) < MOST_TOGETHER - 1 and not self.waiting.empty():
            channel = self.waiting.get()
            if channel is None:
                self.waiting.put(None)
                break
            found.append(channel)
        return found


def _prepare(channels: list[HTTPChannel], together: Callable[[], AbstractContextManager[None]]) -> int:
    """Have their requests answered together, or the first few; how many can be served now.

    If that comes to nothing all can: each will be asked by itself.
    """
    ready = 0
    try:
        with together():
            deadline = clock.ticks() + LONGEST_TOGETHER
            while ready < len(channels) and clock.ticks() < deadline:
                if channels[ready].connected:
                    _Task(channels[ready], channels[ready].requests[0]).prepare()
                ready += 1
    except Exception as error:
        channels[0].logger.warning("%s requests are answered one by one: %s", len(channels), error)
        for each in channels:
            each.requests[0].forget()
        return len(channels)
    return ready


def _answer(channel: HTTPChannel) -> None:
    try:
        channel.service()
    except Exception:
        channel.logger.exception("an answer could not be given")


class _Doors(dict[int, wasyncore.dispatcher]):
    """What is open, by its file's number, and what is watched of it.

    Waitress's own loop asks each connection at each turn what it waits for: with a thousand of them open
    that takes longer than an answer. Here those are asked to which something happened, those with a
    request in a thread, which may be done with it, and who takes new ones in. All are asked once a second,
    since waitress ends the idle ones so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()  # macOS has no epoll
        self._second = 1 if hasattr(select, "epoll") else 1000
        self._watched: dict[int, int] = {}
        self._ask: set[int] = set()
        self._sending = False
        self._all_at = 0.0

    def __setitem__(self, number: int, each: wasyncore.dispatcher) -> None:
        super().__setitem__(number, each)
        self._ask.add(number)

    def __delitem__(self, number: int) -> None:
        super().__delitem__(number)
        self._ask.discard(number)
        self._watch(number, 0)

    def turn(self, timeout: float) -> None:
        """Wait until something happens, and have it dealt with."""
        if (now := clock.ticks()) >= self._all_at:
            self._all_at = now + 1
            self._hang_up()
            self._ask.update(self)
        self._sending = False
        for number in list(self._ask):
            self._ask_for(number, self[number])
        for number, happened in self._poll.poll((min(timeout, SOON) if self._sending else timeout) * self._second):
            if number in self:
                self._ask.add(number)
                self._deal_with(number, self[number], happened)

    def _hang_up(self) -> None:
        """Give up who reads nothing."""
        for each in [each for each in self.values() if isinstance(each, _Channel) and each.is_deaf()]:
            each.handle_close()

    def _deal_with(self, number: int, each: wasyncore.dispatcher, happened: int) -> None:
        """Let in, read, write or close; who says more while a thread answers is not heard meanwhile."""
        if each.accepting:
            self._take_in(each, happened)
        elif _answered_elsewhere(each) and not happened & select.POLLOUT and not each.readable():
            self._watch(number, 0)
        else:
            wasyncore.readwrite(each, happened)

    def _take_in(self, door: wasyncore.dispatcher, happened: int) -> None:
        """Let in all who stand there: one at a turn, the last would wait until the first were answered often."""
        for _ in range(OTHER_FILES // 2):
            inside = len(self)
            wasyncore.readwrite(door, happened)
            if len(self) == inside or not door.readable():
                return

    def _ask_for(self, number: int, each: wasyncore.dispatcher) -> None:
        answered = _answered_elsewhere(each)  # asked first: a thread may empty them meanwhile
        wanted = select.POLLIN | select.POLLPRI if each.readable() else 0
        if answered and _is_sending(each):
            self._sending = True  # to wait until it can be written to would be no waiting, and keep the thread from it
        elif each.writable() and not each.accepting:
            wanted |= select.POLLOUT
        if answered and not wanted:  # it is listened to on, as long as it says nothing: most do not
            wanted = self._watched.get(number, 0) & ~select.POLLOUT
        self._watch(number, wanted)
        if not (answered or each.accepting):
            self._ask.discard(number)

    def _watch(self, number: int, wanted: int) -> None:
        watched = self._watched.get(number, 0)
        if wanted == watched:
            return
        self._watched[number] = wanted
        if not wanted:  # it would be told of a hang-up on and on
            self._poll.unregister(number)
            del self._watched[number]
        elif watched:
            self._poll.modify(number, wanted)
        else:
            self._poll.register(number, wanted)


def _answered_elsewhere(each: wasyncore.dispatcher) -> bool:
    """Whether a thread has a request of this connection."""
    return bool(getattr(each, "requests", ()))


def _is_sending(channel: HTTPChannel) -> bool:
    """Whether a thread is at this connection's answer just now."""
    if channel.outbuf_lock.acquire(False):
        channel.outbuf_lock.release()
        return False
    return True


class Server:
    """A listening server; `run` it until SIGTERM or SIGINT."""

    def __init__(self, app: Flask, host: str, port: int, lanes: Lanes) -> None:
        """Listen; raises OSError if that cannot be done there."""
        self._map = _Doors()
        self._stopping = self._has_more = False
        self._lanes = lanes
        self._loop = get_ident()
        create_server(
            _remembering(app),
            map=self._map,
            host=host,
            port=port,
            _dispatcher=lanes,
            ident=None,
            backlog=1024,
            connection_limit=_connections(),
            channel_timeout=IDLE,
            cleanup_interval=10,
            max_request_body_size=REFUSED_UNREAD,
            outbuf_high_watermark=MOST_UNSENT,
            max_request_header_size=64 * 1024,
            clear_untrusted_proxy_headers=False,
        )
        for each in self._listeners():
            each.channel_class = _Channel
            each.stopping = False
            each.pull_trigger = partial(self._wake, each.trigger.pull_trigger)
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
        self._listeners()[0].trigger.pull_trigger()

    def _wake(self, pull: Callable[[], None]) -> None:
        """Let the loop see what a thread has done; what was done in the loop it sees by itself."""
        if get_ident() != self._loop:
            pull()

    def _turn(self, timeout: float) -> None:
        self._map.turn(0 if self._has_more else timeout)
        self._has_more = self._lanes.answer_here()

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
