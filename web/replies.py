"""How answers leave: with the headers that all have, their status in full, and JSON written compactly.

Only what Flask and Werkzeug document is used or overridden. To leave more of it to them takes longer
(`python bench/hot_paths.py --beside CHECKOUT`, with a checkout that does): Werkzeug's own get_wsgi_response(), with
the common headers added after it, a create 14 %, verify 7 %, view 9 %; Flask's own sessions, URL adapter and look
for coroutines together a create 9 %, verify 16 %, view 13 %.
"""

from collections.abc import Container, Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
from flask import Flask, Request, Response
from flask.json.provider import DefaultJSONProvider
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

_STATUS_LINES = {each.value: f"{each.value} {each.phrase}" for each in HTTPStatus}  # Werkzeug writes 201 CREATED


class Common:
    """The headers that all answers of a dialect have, unless one says otherwise."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = [(name.lower(), (name, value)) for name, value in headers.items()]

    def beside(self, said: Container[str]) -> list[tuple[str, str]]:
        """The headers that an answer does not set itself; `said` are the names of those that it sets, in lower case."""
        return [header for name, header in self._headers if name not in said]


class Reply(Response):
    """An answer as it leaves."""

    common = Common({})

    @classmethod
    def of(cls, response: Response, common: Common) -> "Reply":
        """What a dialect answers, with the headers that it has in common."""
        reply = cast(Reply, cls.force_type(response))
        reply.common = common
        return reply

    def get_wsgi_response(self, environ: dict[str, Any]) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Body, status and all headers."""
        headers = list(self.headers)
        said = {name.lower(): value for name, value in headers}  # to ask Werkzeug for one takes as long
        if not self._is_plain(said.get("location", "")):
            headers = self.get_wsgi_headers(environ).to_wsgi_list()
        elif "content-length" not in said:
            headers.append(("Content-Length", str(self.calculate_content_length())))
        return self.get_app_iter(environ), _STATUS_LINES[self.status_code], headers + self.common.beside(said)

    def _is_plain(self, link: str) -> bool:
        """Whether its body is there and is to be sent, and its link is one already: then Werkzeug adds no more."""
        return self.is_sequence and self.status_code not in (204, 304) and link.isascii()


class Json(DefaultJSONProvider):
    """JSON in the order in which it was made."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """An answer with this in it."""
        said = args[0] if len(args) == 1 else args or kwargs or None
        return Reply(msgspec.json.encode(said) + b"\n", mimetype=self.mimetype)


_FILES = Common({"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'"})


class _NoSessions(SessionInterface):
    """Flask's own sessions, of which we have none: ours are in the database."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """Return the one empty session."""
        return self._none


class Application(Flask):
    """Flask, with these answers, and without looking each time whether a function is a coroutine: none is."""

    session_interface = _NoSessions()
    response_class = Reply
    json_provider_class = Json

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the row of the map: by path and method alone, whatever host is named."""
        if request is None:  # no address is ever built outside of one
            return None
        return self.url_map.bind("", url_scheme=request.scheme, path_info=request.path, default_method=request.method)

    def send_static_file(self, filename: str) -> Response:
        """A file of static/, which no browser takes for something else, or runs as a page."""
        return Reply.of(super().send_static_file(filename), _FILES)

    def ensure_sync(self, func: Any) -> Any:
        """Return the function unchanged: no view is a coroutine."""
        return func


def dumps(value: Any) -> str:
    """JSON as all answers have it: compact."""
    return msgspec.json.encode(value).decode()
