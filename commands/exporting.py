"""Invites as CSV or JSON lines: read a chunk at a time, each in a unit of work of its own."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime

import clock
import terminal
from database import Database
from rules import invites, listing
from rules.listing import Filter, Listed

CHUNK = 500
SECRETS = ("token", "legacy_code")
COLUMNS = tuple(each.name for each in fields(Listed) if each.name not in SECRETS)


def lines(house: Database, wanted: Filter, form: str, with_links: bool) -> Iterator[str]:
    """A line for each invite; before them, in CSV, one that names the columns. Memory stays flat."""
    columns = (*COLUMNS, "link") if with_links else COLUMNS
    rows = _chunk(house, wanted)  # before anything is printed: it may be refused
    if form == "csv":
        yield _csv(columns)
    while rows:
        for each in rows:
            facts = {name: _fact(each, name) for name in columns}
            yield terminal.as_line(facts) if form == "jsonl" else _csv([_cell(value) for value in facts.values()])
        rows = _chunk(house, wanted.following(rows[-1]))


def _chunk(house: Database, wanted: Filter) -> list[Listed]:
    with house.reading():
        return listing.page(wanted, CHUNK)


def _fact(row: Listed, name: str) -> object:
    if name == "link":
        return invites.link(row.token) if row.token else None
    return getattr(row, name)


def _cell(value: object) -> str:
    """What a spreadsheet may be given: text that it would calculate has an apostrophe before it."""
    if isinstance(value, datetime):
        return clock.iso(value)
    text = "" if value is None else terminal.safe(str(value))
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@＝＋－＠") else text


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
