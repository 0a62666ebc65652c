"""The log on stderr: a line of JSON for each event, or plain text on a terminal.

A request is logged with its route's template, never with its address: tokens and keys stand there.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from clock import iso

access = logging.getLogger("invite_api.access")
log = logging.getLogger("invite_api")


_written = json.JSONEncoder(ensure_ascii=False).encode


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _written(line)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts = getattr(record, "facts", {})
        line = " ".join([record.getMessage(), *(f"{name}={value}" for name, value in facts.items())])
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def start() -> None:
    """Send what the service and its libraries have to say to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Text() if sys.stderr.isatty() else _Json())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    # What no line says need not be found out for each: a third of what a line costs.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # as the standard library's manual has it
