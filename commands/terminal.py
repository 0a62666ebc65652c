"""What the command prints: a list or one thing, for a person at a terminal, for a pipe, or as JSON.

At a terminal a list is a table, and each time is followed by its distance from now. In a pipe there is a
tab between columns. Colours are printed by Click, which leaves them out in a pipe.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import click

import clock
from settings import settings, texts

T = TypeVar("T")

Facts = dict[str, object]
Cell = str | datetime

NARROWEST = 12  # characters: a column of text is not made narrower, also if the terminal is

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LABELS = {"made_by": "created_by"}  # of facts whose names in JSON and in a pipe stay as they were
_COLOURS = {
    **dict.fromkeys(("active", "sent", "enabled"), "green"),
    **dict.fromkeys(("expired", "waiting", "kept", "failing"), "yellow"),
    **dict.fromkeys(("revoked", "dropped", "refused", "disabled", "failed"), "red"),
    **dict.fromkeys(("used", "admin"), "cyan"),
}


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How one kind of thing is printed: the headings and the cells of its row in a table, and its facts in JSON."""

    headings: Sequence[str]
    row: Callable[[T], Sequence[Cell]]
    facts: Callable[[T], Facts]


def is_interactive() -> bool:
    """Whether the results go to a terminal."""
    return sys.stdout.isatty()


def safe(text: str) -> str:
    """Stored text as it may be printed: a character that a terminal would obey becomes an escape."""
    return _escaped(text, lambda each: each.encode("unicode_escape").decode())


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    unseen = set(texts.unseen(text))
    return "".join(escape(each) if place in unseen else each for place, each in enumerate(text)) if unseen else text


def listing(found: Sequence[T], kind: Kind[T], as_json: bool) -> Iterable[str]:
    """The lines of a list: one JSON array, or a table at a terminal, or in a pipe a line for each thing with tabs."""
    if as_json:
        return [as_line([kind.facts(each) for each in found])]
    rows = [kind.row(each) for each in found]
    return table(kind.headings, rows) if is_interactive() else ["\t".join(map(cell_text, row)) for row in rows]


def details(facts: Mapping[str, object], as_json: bool) -> Iterable[str]:
    """The lines on one thing: a JSON object, or a line for each fact, with a tab between name and value in a pipe."""
    if as_json:
        return [as_line(facts)]
    lines = [
        (name, as_text(each))
        for name, value in facts.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    if not is_interactive():
        return [f"{name}\t{words}" for name, words in lines]
    return aligned([(_LABELS.get(name, name), words) for name, words in lines if words])


def as_line(value: object) -> str:
    """A value as JSON in one line. A character that a terminal would obey is escaped."""
    written = json.dumps(value, ensure_ascii=False, default=iso)
    return _escaped(written, lambda each: json.dumps(each)[1:-1])


def moment(value: datetime) -> str:
    """A time in ISO 8601; at a terminal to the minute, with its distance from now."""
    if not is_interactive():
        return clock.iso(value)
    return f"{clock.iso(value)[:16]}Z {clock.relative(value, clock.now())}"


def expiry(value: datetime | None) -> str:
    """When something expires, as people say it: ``expires 5 Dec (in 7 days)``, or ``never expires``."""
    if value is None:
        return "never expires"
    now = clock.now()
    year = f" {value.year}" if value.year != now.year else ""
    return f"expires {value.day} {value:%b}{year} ({clock.relative(value, now)})"


def qr(link: str) -> None:
    """Draw a link as a QR code on stderr, so that only links go to stdout."""
    import segno

    segno.make(link, error="l", micro=False).terminal(sys.stderr, border=2, compact=True)


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a table, with columns as wide as their cells; in a narrower terminal, text is cut."""
    import wcwidth

    lines = [headings, *([brief(cell) for cell in row] for row in rows)]
    widths = [max(map(wcwidth.width, column)) for column in zip(*lines, strict=True)]
    fit(widths, [each for each in range(1, len(headings)) if rows and isinstance(rows[0][each], str)])
    for number, line in enumerate(lines):
        cells = [cut(cell, width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        yield "  ".join(coloured(cell) if number else click.style(cell, bold=True) for cell in cells)


def loopback_note() -> str:
    """The note that links open on this machine alone, where they do; "" elsewhere."""
    host = urlsplit(settings().public_url).hostname or ""
    if host != "localhost" and not host.startswith("127.") and host != "::1":
        return ""
    return (
        f"Note: links begin with {settings().public_url}, so they open on this machine only. For other devices, set "
        "INVITE_API_PUBLIC_URL to the address at which they reach it."
    )


def log_line(moment: datetime, level: str, event: str, facts: Mapping[str, Any]) -> str:
    """A line of the log: the time of day here, then what happened and the facts; a request as one reads it."""
    if event == "request":
        colour = "green" if facts["status"] < 400 else "yellow" if facts["status"] < 500 else "red"
        status = click.style(str(facts["status"]), fg=colour)
        said = f"{facts['client']} {facts['method']} {facts['route']} {status} {facts['ms']} ms"
    else:
        colour = "red" if level in ("error", "critical") else "yellow" if level == "warning" else ""
        beside = (f"{name}={value}" for name, value in facts.items() if name != "traceback")
        said = " ".join([click.style(event, fg=colour or None), *beside])
    line = f"{click.style(moment.astimezone().strftime('%H:%M:%S'), dim=True)} {said}"
    return f"{line}\n{facts['traceback']}" if "traceback" in facts else line


def fit(widths: list[int], elastic: Sequence[int]) -> None:
    """Narrow the widest of the `elastic` columns, again and again, until the table fits into the terminal.

    None becomes narrower than `NARROWEST`. `widths` is changed.
    """
    room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
    while sum(widths) > room and elastic:
        widest = max(elastic, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def brief(cell: Cell) -> str:
    """A cell as text for a table. Of an id only the beginning, which commands accept as well."""
    text = cell_text(cell)
    return text[:8] if _UUID.fullmatch(text) else text


def cut(cell: str, width: int) -> str:
    """A cell cut or padded to a width in columns of the terminal, of which a character such as 李 takes two."""
    import wcwidth

    kept = cell if wcwidth.width(cell) <= width else wcwidth.clip(cell, 0, width - 1) + "…"
    return wcwidth.ljust(kept, width)


def coloured(cell: str) -> str:
    """A cell in the colour of the state that it names, if it names one; ``active, bob waits`` names one, too."""
    colour = _COLOURS.get(cell.strip().partition(",")[0])
    return click.style(cell, fg=colour) if colour else cell


def aligned(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The lines of names and values in two columns. A name that is repeated is printed once."""
    width = max(len(name) for name, _ in lines) + 2
    before = ""
    for name, words in lines:
        label = "" if name == before else name
        yield click.style(label.ljust(width), bold=True) + coloured(words)
        before = name


def cell_text(cell: Cell) -> str:
    """A cell as text, safe to print."""
    return moment(cell) if isinstance(cell, datetime) else safe(cell)


def as_text(value: object) -> str:
    """A fact as text, safe to print. Of a JSON object, all values that are not None."""
    if isinstance(value, dict):
        return " ".join(as_text(each) for each in value.values() if each is not None)
    return "" if value is None else cell_text(value if isinstance(value, datetime) else str(value))


def iso(value: object) -> str:
    """A time as JSON has it, for `json.dumps`; raises TypeError for any other value."""
    if isinstance(value, datetime):
        return clock.iso(value)
    raise TypeError(f"cannot be written as JSON: {value!r}")
