"""What the command prints: a list or one thing, for a person at a terminal, for a pipe, or as JSON.

At a terminal a list is a table and a moment has beside it how far off it is; in a pipe columns have
tabs between them and nothing else. Colours go through Click, which leaves them out of pipes.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import click

import clock

T = TypeVar("T")

Facts = dict[str, object]
Cell = str | datetime

NARROWEST = 12  # characters that a column of text keeps, however narrow the terminal

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_COLOURS = {
    **dict.fromkeys(("active", "sent"), "green"),
    **dict.fromkeys(("expired", "waiting"), "yellow"),
    **dict.fromkeys(("revoked", "dropped", "disabled"), "red"),
    **dict.fromkeys(("used", "admin"), "cyan"),
}


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How one kind of thing is shown: the headings and cells of its row, of which the first names it; all its facts."""

    headings: Sequence[str]
    row: Callable[[T], Sequence[Cell]]
    facts: Callable[[T], Facts]


def is_one() -> bool:
    """Whether somebody sits there."""
    return sys.stdout.isatty()


def safe(text: str) -> str:
    """Stored text as it may be printed: what would command a terminal is shown as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def listing(found: Sequence[T], kind: Kind[T], as_json: bool) -> Iterable[str]:
    """Many things: one JSON array, a table, or a line for each with tabs between its columns."""
    if as_json:
        return [as_line([kind.facts(each) for each in found])]
    rows = [kind.row(each) for each in found]
    return _table(kind.headings, rows) if is_one() else ["\t".join(map(_plain, row)) for row in rows]


def details(facts: Mapping[str, object], as_json: bool) -> Iterable[str]:
    """All about one thing: a JSON object, or a line of name, tab and value for each fact."""
    if as_json:
        return [as_line(facts)]
    lines = [(name, _words(each)) for name, value in facts.items() for each in _each(value)]
    if not is_one():
        return [f"{name}\t{words}" for name, words in lines]
    return _aligned([(name, words) for name, words in lines if words])


def as_line(value: object) -> str:
    """JSON in one line, with nothing in it that commands a terminal."""
    written = json.dumps(value, ensure_ascii=False, default=_iso)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in written)


def moment(value: datetime) -> str:
    """A moment in ISO 8601; at a terminal to the minute, and how far off that is."""
    if not is_one():
        return clock.iso(value)
    return f"{clock.iso(value)[:16]}Z {clock.far(value, clock.now())}"


def qr(link: str) -> None:
    """Draw a link as a QR code, for the person: on stderr, so that stdout has the link alone."""
    import segno

    segno.make(link, error="l", micro=False).terminal(sys.stderr, border=2, compact=True)


def _table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    """Columns under each other, as wide as what is in them; where the terminal is narrower, text is cut."""
    import wcwidth

    lines = [headings, *([_brief(cell) for cell in row] for row in rows)]
    widths = [max(map(wcwidth.width, column)) for column in zip(*lines, strict=True)]
    _fit(widths, [each for each in range(1, len(headings)) if rows and isinstance(rows[0][each], str)])
    for number, line in enumerate(lines):
        cells = [_cut(cell, width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        yield "  ".join(_coloured(cell) if number else click.style(cell, bold=True) for cell in cells)


def _fit(widths: list[int], elastic: Sequence[int]) -> None:
    """Narrow the widest of the elastic columns until all fit into the terminal, or none gives any more."""
    room = shutil.get_terminal_size().columns - 2 * (len(widths) - 1)
    while sum(widths) > room and elastic:
        widest = max(elastic, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _brief(cell: Cell) -> str:
    """A cell for a table: of an id the beginning, which names the thing as well."""
    plain = _plain(cell)
    return plain[:8] if _UUID.fullmatch(plain) else plain


def _cut(cell: str, width: int) -> str:
    """A cell of exactly this width, in the terminal's columns: 李 has two."""
    import wcwidth

    kept = cell if wcwidth.width(cell) <= width else wcwidth.clip(cell, 0, width - 1) + "…"
    return wcwidth.ljust(kept, width)


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell.strip())
    return click.style(cell, fg=colour) if colour else cell


def _aligned(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Names in a column, their values beside them; a name that comes again is said once."""
    width = max(len(name) for name, _ in lines) + 2
    before = ""
    for name, words in lines:
        label = "" if name == before else name
        yield click.style(label.ljust(width), bold=True) + _coloured(words)
        before = name


def _each(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _plain(cell: Cell) -> str:
    return moment(cell) if isinstance(cell, datetime) else safe(cell)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_words(each) for each in value.values() if each is not None)
    return "" if value is None else _plain(value if isinstance(value, datetime) else str(value))


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return clock.iso(value)
    raise TypeError(f"cannot be written as JSON: {value!r}")
