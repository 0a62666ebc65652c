"""A front on granian, for comparison: granian reads and writes (its embedded server), threads of ours answer.

It has what counts for its speed and its steadiness, not all that server.py keeps its word in.
"""

import asyncio
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

LARGEST_BODY = 64 * 1024
IDLE = 30  # seconds for a body


class Front:
    """A WSGI application as an ASGI one; a body is awaited whole, and so is an answer."""

    def __init__(self, app: Flask, threads: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        async with asyncio.timeout(IDLE):
            body = await _body(scope, receive)
        loop = asyncio.get_running_loop()
        status, headers, answer = await loop.run_in_executor(self._threads, self._call, _environ(scope, body))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _call(self, environ: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        said: list[Any] = []
        made: Iterable[bytes] = self._app(environ, lambda status, headers, _=None: said.extend((status, headers)))
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said[1]]
        return int(said[0][:3]), headers, b"".join(made)


async def _body(scope: Any, receive: Any) -> bytes:
    if not {name for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}:
        return b""
    body, more = b"", True
    while more and len(body) <= LARGEST_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _environ(scope: Any, body: bytes) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        environ[f"HTTP_{name.decode().upper().replace('-', '_')}"] = value.decode("latin-1")
    return environ


def run(app: Flask, port: int, threads: int, connections: int) -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(Front(app, threads), port, connections))


async def _serve(front: Front, port: int, connections: int) -> None:
    server = Server(
        front,
        "127.0.0.1",
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        backpressure=connections,
        log_enabled=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()
