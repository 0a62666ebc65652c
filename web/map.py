"""What a row of the map says, and which requests the rows are about."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple, Protocol

from flask import Response
from werkzeug.exceptions import HTTPException

from rules.refusals import Refusal
from web.requests import LARGEST_BODY


class Work(Enum):
    """What a row of the map does to the database; so also who answers it."""

    ALONE = "no database; answered in the server's loop"
    LOOKS = "one look-up by key, answered in the server's loop; a list, a search or a count is none"
    READS = "reads, in a thread"
    WRITES = "one unit of work, by the writer"
    STREAMS = "reads, a chunk at a time"
    OWN = "the view opens its own units of work, in a thread"


class Dialect(Protocol):
    """A module of dialects/: the headers that all its answers have, and how it says an error."""

    HEADERS: Mapping[str, str]

    def refusal(self, error: Refusal | HTTPException) -> Response:
        """The answer that says an error in this dialect's words and status."""


class Route(NamedTuple):
    """A row of the map.

    `limit` is how often one caller may call: ``10/minute``, or ``10/minute 120/invite`` where an active invite may be
    shown. Beyond the first, calls that show one are counted by it, so that a crowd behind one address can use it.
    `largest` is how many bytes the body may have; None for requests of any method, whose body nobody looks at.
    """

    methods: str
    path: str
    view: Callable[..., Any]
    guard: Callable[[], Any]
    limit: str | None
    work: Work
    largest: int | None = LARGEST_BODY

    @property
    def refuses_head(self) -> bool:
        """Whether HEAD is refused where GET is taken: Flask would answer it as a GET, and create an invite."""
        return self.work in (Work.WRITES, Work.STREAMS)

    @property
    def own_limit(self) -> str | None:
        """How often one caller may call, such as ``10/minute``; None if that is not limited."""
        return self.limit and self.limit.split()[0]

    @property
    def limit_of_invite(self) -> str | None:
        """How often may be called with one invite, such as ``120/minute``; None where it makes no difference."""
        of_invite = (self.limit or "").partition(" ")[2]
        return of_invite.replace("invite", "minute") or None

    @property
    def endpoint(self) -> str:
        """The name of the row in Flask and in the counters of its rate limit."""
        return f"{self.methods} {self.path}"


def matching(rows: Iterable[Route]) -> re.Pattern[str]:
    """What matches ``METHOD /path`` of the requests that these rows answer, without the slash that some end in."""

    def written(row: Route) -> str:
        path = row.path.rstrip("/") or "/"
        methods = "[^ ]+" if row.largest is None else row.methods.replace(" ", "|")
        return f"(?:{methods}) {re.sub('<[a-z_]+>', '[^/]+', re.escape(path))}"

    return re.compile("|".join(map(written, rows)))
