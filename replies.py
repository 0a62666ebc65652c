"""How answers leave: with the headers that all have, their status in full, and JSON written compactly.

Werkzeug looks at each header of an answer twice. What is the same in all of them, and made by us, is
added after that.
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
        """Those that an answer does not say itself; `said` are the names in it, in lower case."""
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
        body: Iterable[bytes]
        headers = list(self.headers)
        said = {name.lower(): value for name, value in headers}  # to ask Werkzeug for one takes as long
        if self._is_plain(environ, said.get("location", "")):
            body = parts = list(self.iter_encoded())
            if "content-length" not in said:
                headers.append(("Content-Length", str(sum(map(len, parts)))))
        else:
            body, _, headers = super().get_wsgi_response(environ)
        return body, _STATUS_LINES[self.status_code], headers + self.common.beside(said)

    def _is_plain(self, environ: dict[str, Any], link: str) -> bool:
        """Whether its body is there and is to be sent, and its link is one already: then Werkzeug adds no more."""
        return (
            self.is_sequence
            and self.status_code not in (204, 304)
            and environ["REQUEST_METHOD"] != "HEAD"
            and link.isascii()
            and not self._on_close
        )


class Json(DefaultJSONProvider):
    """JSON in the order in which it was made."""

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """An answer with this in it."""
        return Reply(msgspec.json.encode(self._prepare_response_obj(args, kwargs)) + b"\n", mimetype=self.mimetype)


class _NoSessions(SessionInterface):
    """Flask's own sessions, of which we have none: ours are in the database."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002
        """The same for all."""
        return self._none


class Service(Flask):
    """Flask, with these answers, and without looking each time whether a function is a coroutine: none is."""

    session_interface = _NoSessions()
    response_class = Reply
    json_provider_class = Json

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the row of the map: by path and method alone, whatever host is named."""
        if request is None:  # no address is ever built outside of one
            return None
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name="/",
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
        )

    def ensure_sync(self, func: Any) -> Any:
        """The function."""
        return func
