"""Invites as CSV or JSON lines. They are read a chunk at a time, each in a unit of work of its own."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime

import clock
from commands import terminal, waiting
from database import Database
from rules import headings, invites, listing
from rules.listing import Filter, Listed
from rules.waiting import asking

CHUNK = 500  # invites
SECRETS = ("token", "legacy_code")
COLUMNS = tuple(each.name for each in fields(Listed) if each.name not in SECRETS)


def lines(database: Database, wanted: Filter, form: str, with_links: bool) -> Iterator[str]:
    """A line for each invite that is `wanted`. `form` is ``csv``, whose first line names the columns, or ``jsonl``."""
    columns = (*COLUMNS, "link") if with_links else COLUMNS
    rows = chunk(database, wanted)  # first of all, so that a refusal comes before any line is printed
    if form == "csv":
        yield csv_line(columns)
    while rows:
        for each in rows:
            facts = {name: value_of(each, name, form) for name in columns}
            yield terminal.as_line(facts) if form == "jsonl" else csv_line(csv_cell(*each) for each in facts.items())
        rows = chunk(database, wanted.following(rows[-1]))


def chunk(database: Database, wanted: Filter) -> list[Listed]:
    """The first invites that are wanted, at most `CHUNK`."""
    with database.reading():
        return listing.page(wanted, CHUNK)


def value_of(row: Listed, name: str, form: str) -> object:
    """The value of a column; ``link`` is None where the link cannot be shown.

    In CSV the invites that wait are named in one cell, and the values are such that the file can be imported again.
    """
    if name == "link":
        return invites.link(row.token) if row.token else None
    if name == "access":
        return clock.spell_seconds(row.access)
    if name == "waiting":
        waits = asking(row.waiting)
        return list(map(waiting.unanswered, waits)) if form == "jsonl" else ", ".join(each.who for each in waits)
    if name == "data" and form == "jsonl":
        return json.loads(row.data) if row.data else None
    return getattr(row, name)


def csv_cell(name: str, value: object) -> str:
    """The value of a column as text. What a spreadsheet would take for a formula has an apostrophe before it.

    Only a message has line breaks, which stay: else the file could not be imported again.
    """
    if isinstance(value, datetime):
        return clock.iso(value)
    lines = [] if value is None else str(value).split("\n") if name == "message" else [str(value)]
    return headings.guarded("\n".join(map(terminal.safe, lines)))


def csv_line(cells: Iterable[str]) -> str:
    """A line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)  # without one, line breaks in cells would not be quoted
    return line.getvalue().removesuffix("\n")
