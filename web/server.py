"""The server under `invite-api serve`: asyncio's sockets (uvloop's, where it is installed), httptools' parser.

One thread reads all requests and writes all answers, so that neither slow nor half-sent requests keep a worker.
On SIGTERM it accepts no new connections, answers what it has received, and ends.
"""

import asyncio
import errno
import resource
import signal
import socket
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.http import http_date

import clock
from web.connection import Connection
from web.lanes import TIMEOUT, Lanes
from web.reader import CONSTANT, NONE_LARGE, LargeBodies

SIGNALS = (signal.SIGTERM, signal.SIGINT)
MAX_CONNECTIONS = 2000
OTHER_FILES = 100  # the database's, the log, ...
IDLE = 30  # seconds of silence, until a connection is ended
MAX_AT_ONCE = 50  # connections that are accepted before the requests of the others are read
READ = 8 * 1024  # bytes that are read of one connection before the next


class Server:
    """A listening server; `run` it until SIGTERM or SIGINT."""

    def __init__(
        self,
        app: Callable[..., Iterable[bytes]],
        host: str,
        port: int,
        lanes: Lanes,
        large_bodies: LargeBodies = NONE_LARGE,
    ) -> None:
        """Listen; raises OSError or ValueError if that cannot be done there."""
        self._most = _connections()
        self._listeners = _listen(host, port)
        self.app, self.lanes, self.large_bodies, self.loop = app, lanes, large_bodies, _new_loop()
        self.buffer = memoryview(bytearray(READ))
        self.connections: set[Connection] = set()
        self.constant = {**CONSTANT, "SERVER_NAME": host, "SERVER_PORT": str(self._listeners[0].getsockname()[1])}
        self.heard, self.stopping = 0, False
        self.idle: float = IDLE
        self._arriving = set[asyncio.Task[None]]()
        self._stopped = asyncio.Event()
        self._open, self._is_full = 0, False
        for number in SIGNALS:  # until the loop runs, and has its own way
            signal.signal(number, lambda *_: self._stop())

    @property
    def address(self) -> str:
        """Where it listens, as the start of a URL."""
        host, port = self._listeners[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Serve until told to stop, then finish what was accepted."""
        self.lanes.begin(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        finally:
            self.loop.close()

    def left(self, connection: Connection) -> None:
        """Forget a closed connection, and accept the next one in its place."""
        self.connections.discard(connection)
        self._open -= 1
        self._accept_again()

    def _stop(self) -> None:
        self.stopping = True
        self._stopped.set()

    async def _serve(self) -> None:
        for number in SIGNALS:
            self.loop.add_signal_handler(number, self._stop)
        self._tick()
        self._watch(True)
        await self._stopped.wait()
        await self._settle(1)  # connections that the kernel has accepted
        self._watch(False)
        for each in self._listeners:
            each.close()
        self._listeners = []
        await self._settle(TIMEOUT)
        self.lanes.end()
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0.01)  # for them to be closed

    def _tick(self) -> None:
        """Once a second: look at the clock, and close connections on which nothing happens."""
        self.now, self.date = self.loop.time(), http_date(clock.now())
        for each in list(self.connections):
            each.check_time()
        self._accept_again()
        self.loop.call_later(1, self._tick)

    def _accept_again(self) -> None:
        if self._is_full and self._listeners:
            self._watch(True)

    def _watch(self, watch: bool) -> None:
        """Accept new connections, or leave them to the kernel and sleep."""
        self._is_full = not watch
        for each in self._listeners:
            if watch:
                self.loop.add_reader(each, self._accept, each)
            else:
                self.loop.remove_reader(each)

    def _accept(self, listener: socket.socket) -> None:
        """Accept those that wait: one at a time, the last would wait until the first were answered often."""
        for _ in range(MAX_AT_ONCE):
            if self._open >= self._most:
                self._watch(False)
                return
            try:
                arrived, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no file is left
                self._watch(False)
                return
            self._open += 1
            task = self.loop.create_task(self._connect(arrived, address))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _connect(self, arrived: socket.socket, address: tuple[Any, ...]) -> None:
        self.heard += 1
        arrived.setblocking(False)
        try:
            await self.loop.connect_accepted_socket(lambda: Connection(self, address), arrived)
        except OSError:  # it is closed already
            arrived.close()
            self._open -= 1

    async def _settle(self, seconds: float) -> None:
        """Go on until nobody arrives, nothing comes in and no answer is due any more."""
        quiet, before, deadline = 0, self.heard, clock.ticks() + seconds
        while quiet < 3 and clock.ticks() < deadline:
            await asyncio.sleep(0.02)
            is_busy = self._arriving or any(each.is_busy for each in self.connections)
            quiet = 0 if is_busy or self.heard != before else quiet + 1
            before = self.heard


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where it is installed; else the one of Python."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of this host; all have the same port. ``::`` is every address, those of IPv4 too."""
    name = None if host in ("", "::") else host
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, *_, address in dict.fromkeys(found):
            chosen = port or (listeners[0].getsockname()[1] if listeners else 0)
            listeners.append(socket.create_server((address[0], chosen, *address[2:]), family=family, backlog=1024))
            listeners[-1].setblocking(False)
    except OSError:
        for each in listeners:
            each.close()
        raise
    return listeners


def _connections() -> int:
    """How many connections to hold, with room for the other files; asks for as many files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if soft < 2 * OTHER_FILES:
        raise OSError(errno.EMFILE, f"only {soft} files may be open (ulimit -n), {2 * OTHER_FILES} are needed")
    return min(MAX_CONNECTIONS, soft - OTHER_FILES)
