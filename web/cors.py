"""Front ends at other origins, listed in INVITE_API_CORS_ORIGINS: scripts of their pages may call, and read answers.

They show a bearer token. A cookie of theirs counts nothing, and no answer allows one (Access-Control-Allow-Credentials
is never sent): otherwise a page at a listed origin could act as the person who opens it.
"""

from flask import Response

from settings import Settings
from web import requests
from web.map import Dialect
from web.replies import Common, Reply

MAX_AGE = 7200  # seconds for which a browser need not ask again
_READABLE = "Location, Link, Retry-After, WWW-Authenticate, Deprecation, Sunset, Idempotency-Replayed, X-Invites-Left"


class Headers:
    """The headers that all answers of a dialect have, by the origin of the page that asks."""

    def __init__(self, dialect: Dialect, settings: Settings) -> None:
        plain = dialect.HEADERS
        listed = settings.cors_origins if getattr(dialect, "FOR_FRONT_ENDS", False) else ()
        if listed:  # a cache must not give one origin what was answered to another
            plain = {**plain, "Vary": f"{plain['Vary']}, Origin"}
        self._plain = Common(plain)
        self._listed = {
            each: Common(
                {**plain, "Access-Control-Allow-Origin": each, "Access-Control-Expose-Headers": _READABLE},
            )
            for each in listed
        }

    def of_request(self) -> Common:
        """Those for the request that is answered."""
        if not self._listed:
            return self._plain
        return self._listed.get(requests.current().headers.get("Origin", ""), self._plain)

    def preflight(self, methods: set[str]) -> Reply | None:
        """What a browser is told that asks whether a page may call with these methods; None for one that may not."""
        sent = requests.current()
        if sent.method != "OPTIONS" or sent.headers.get("Origin") not in self._listed:
            return None
        told = {
            "Access-Control-Allow-Methods": ", ".join(sorted(methods - {"HEAD", "OPTIONS"})),
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
            "Access-Control-Max-Age": str(MAX_AGE),
        }
        return Reply.of(Response(status=204, headers=told), self.of_request())
