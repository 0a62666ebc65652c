"""The log on stderr: a line of JSON for each event, or on a terminal a line for a person.

A request is logged with its route's template, never with its address: tokens and keys stand there.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

import clock

log = logging.getLogger("invite_api")


# How an event is written: from its moment, level, name and facts to a line.
Line = Callable[[datetime, str, str, Mapping[str, Any]], str]

# What is to be logged or counted of an answer: a call that does so.
Note = Callable[[], object]

_held: ContextVar[list[Note] | None] = ContextVar("held", default=None)


class _Stderr(logging.StreamHandler[TextIO]):
    def __init__(self, at_terminal: Line) -> None:
        super().__init__()
        self._line: Line = at_terminal if self.stream.isatty() else _json

    def format(self, record: logging.LogRecord) -> str:
        facts = {**getattr(record, "facts", {})}
        if record.exc_info:
            facts["traceback"] = _utf8(logging.Formatter().formatException(record.exc_info))
        moment = datetime.fromtimestamp(record.created, UTC)
        return self._line(moment, record.levelname.lower(), _utf8(record.getMessage()), facts)

    def write_event(self, event: str, facts: Mapping[str, Any]) -> None:
        """Write a line without more ado."""
        line = self._line(clock.now(), "info", event, facts)
        self.acquire()
        try:
            self.stream.write(f"{line}\n")
            self.flush()
        except (OSError, ValueError):
            pass  # there is nobody else to tell it to, and who asked shall be answered
        finally:
            self.release()


def start(at_terminal: Line | None = None) -> None:
    """Send what the service and its libraries have to say to stderr; `at_terminal` writes it for a person there."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Stderr(at_terminal or _json)], force=True)
    log.setLevel(logging.INFO)


def request(**facts: Any) -> None:
    """Tell of a request that has been answered.

    Not by way of `log.info`, with which verify takes 17 % longer, view 15 %, a create 5 %
    (`python bench/hot_paths.py --beside CHECKOUT`, with a checkout that does so).
    """
    for each in logging.getLogger().handlers:
        if isinstance(each, _Stderr):
            each.write_event("request", facts)


@dataclass(frozen=True)
class Fault:
    """Why the database could not be used, and the template of the route for which it was wanted."""

    why: str
    route: str

    def __call__(self) -> None:
        """Log it."""
        faults([self])


def note(this: Note) -> None:
    """Log or count something of an answer; where answers are `held`, nothing is done yet."""
    held_here = _held.get()
    if held_here is None:
        this()
    else:
        held_here.append(this)


@contextmanager
def held() -> Iterator[list[Note]]:
    """Inside, what is noted of answers is gathered: call each note of the list if the answers are sent."""
    notes: list[Note] = []
    before = _held.set(notes)
    try:
        yield notes
    finally:
        _held.reset(before)


def faults(found: Iterable[Fault]) -> None:
    """Log a line for each reason why the database could not be used, with how many requests it concerned."""
    routes: defaultdict[str, list[str]] = defaultdict(list)
    for each in found:
        routes[each.why].append(each.route)
    for why, concerned in routes.items():
        counted = {"requests": len(concerned)} if len(concerned) > 1 else {}
        facts = {"route": ", ".join(sorted(set(concerned))), **counted}
        log.error("the database cannot be used: %s", why, extra={"facts": facts})


def _json(moment: datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"time": clock.iso(moment), "level": level, "event": event, **facts}).decode()


def _utf8(text: str) -> str:
    """What can be written: halves of characters, which may come in with a request, are spelt out."""
    return text.encode(errors="backslashreplace").decode()
