"""A file with a guest in each row, as spreadsheets write it, read into invites.

CSV with a header that names the columns: separated by commas, semicolons or tabs, in UTF-8 (with or
without a mark at its start) or UTF-16, as are the exports of Excel and of others.
"""

import csv
import difflib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from models import Invite, Project
from rules import invites
from rules.invites import READERS, Maker
from rules.refusals import Invalid, Problem, problem

MOST = 10_000  # at once: they are made in one unit of work, half a second in which nobody else writes

AS_IS = "%(message)s"  # not for translators: only the command says it

_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One guest: the line where the row begins, what its cells say, and what is wrong with its form.

    `headings` says what the file calls a field.
    """

    line: int
    given: Mapping[str, str]
    headings: Mapping[str, str] = field(repr=False)
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Desk:
    """Where rows become invites: what those take that a row leaves open, whose they are, whether they are mailed."""

    defaults: Mapping[str, object]
    maker: Maker
    makes_admin: bool = False
    mailed: bool = False

    def prepare(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Invite | None, Sequence[Problem]]]:
        """For each row its invite, for `invites.add` to make, or what is wrong with it."""
        project_of = cache(invites.project)
        for row in rows:
            try:
                yield row, self._prepared(row, project_of), ()
            except Invalid as refused:
                yield row, None, refused.problems

    def _prepared(self, row: Row, project_of: Callable[[str], Project]) -> Invite:
        if row.problems:
            raise Invalid(*row.problems)
        given = {name: value for name, value in row.given.items() if value}
        draft = invites.read({**self.defaults, **given}, self.makes_admin)
        return invites.prepare(draft, self.maker, self.mailed, project_of)


def read(raw: bytes) -> list[Row]:
    """The rows of a file; raises Invalid for a file that is none, or has other columns."""
    text = _decoded(raw)
    stated = _SEPARATOR.match(text)  # as Excel has it
    skipped = 1 if stated else 0
    text = text[stated.end() :] if stated else text
    reader = csv.reader(
        io.StringIO(text, newline=None), delimiter=stated[1] if stated else _delimiter(text), strict=True
    )
    lines = _lines(reader, skipped)
    line, header = next(lines, (1, []))
    headings = _headings(line, header)
    rows = [_row(line, cells, headings) for line, cells in lines]
    if not 1 <= len(rows) <= MOST:
        _refuse(f"has {len(rows)} rows below its header; 1 to {MOST} can be made at once")
    return rows


def _lines(reader: Any, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, and in which line of the file it begins."""
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = [each.strip() for each in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            _refuse(f"line {line}: cannot be read as CSV: {error}")
        if any(cells):
            yield line, cells


def _headings(line: int, header: Sequence[str]) -> dict[str, str]:
    """What the file calls each field, in the order of its columns."""
    headings: dict[str, str] = {}
    for heading in header:
        name = re.sub(r"[\s_-]+", "_", heading.lower())
        if name not in READERS:
            near = difflib.get_close_matches(name, READERS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(READERS)}"
            _refuse(f"line {line}, column {heading or '(without a name)'}: there is no such column; {hint}")
        if name in headings:
            _refuse(f"line {line}, column {heading}: is there twice")
        headings[name] = heading
    if not headings:
        _refuse(f"is empty; its first line names the columns: {', '.join(READERS)}")
    return headings


def _row(line: int, cells: Sequence[str], headings: Mapping[str, str]) -> Row:
    given = dict(zip(headings, cells, strict=False))
    extra = [each for each in cells[len(headings) :] if each]
    problems = (
        [problem("", "csv", AS_IS, message=f"has more cells than there are columns: {extra[0]}")] if extra else []
    )
    return Row(line, given, headings, problems)


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        _refuse(f"line {line}: is not UTF-8; save the file as CSV UTF-8")


def _refuse(message: str) -> NoReturn:
    raise Invalid.at("source", "csv", AS_IS, message=message)
