"""The log on stderr: a line of JSON for each event, or plain text on a terminal.

A request is logged with its route's template, never with its address: tokens and keys stand there.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

import clock

log = logging.getLogger("invite_api")


class _Stderr(logging.StreamHandler[TextIO]):
    def __init__(self) -> None:
        super().__init__()
        self._line: Callable[..., str] = _text if self.stream.isatty() else _json

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


def start() -> None:
    """Send what the service and its libraries have to say to stderr."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Stderr()], force=True)
    log.setLevel(logging.INFO)


def request(**facts: Any) -> None:
    """Tell of a request that has been answered.

    The standard library's own way to such a line costs as much as a query of the database.
    """
    for each in logging.root.handlers:
        if isinstance(each, _Stderr):
            each.tell("request", facts)


def _json(moment: datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"time": clock.iso(moment), "level": level, "event": event, **facts}).decode()


def _text(moment: datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:  # noqa: ARG001
    line = " ".join([event, *(f"{name}={value}" for name, value in facts.items() if name != "traceback")])
    return f"{line}\n{facts['traceback']}" if "traceback" in facts else line


def _utf8(text: str) -> str:
    """What can be written: halves of characters, which may come in with a request, are spelt out."""
    return text.encode(errors="backslashreplace").decode()
