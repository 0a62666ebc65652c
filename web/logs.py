"""The log on stderr: a line of JSON for each event, or on a terminal a line for a person.

A request is logged with its route's template, never with its address: tokens and keys stand there.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

import clock

log = logging.getLogger("invite_api")


# How an event is written: from its moment, level, name and facts to a line.
Line = Callable[[datetime, str, str, Mapping[str, Any]], str]


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

    def tell(self, event: str, facts: Mapping[str, Any]) -> None:
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
            each.tell("request", facts)


def _json(moment: datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"time": clock.iso(moment), "level": level, "event": event, **facts}).decode()


def _utf8(text: str) -> str:
    """What can be written: halves of characters, which may come in with a request, are spelt out."""
    return text.encode(errors="backslashreplace").decode()
