"""Guest lists: a CSV file with a guest in each row, as spreadsheets write it, read into invites.

Its first row names the columns. Cells are separated by commas, semicolons or tabs; the text is UTF-8 (with or without
a byte order mark) or UTF-16, as Excel and others export it.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import select

import clock
from database import session
from models import Invite, Member, Project, User
from rules import headings, invites, joining, presets, states
from rules.drafts import Maker
from rules.headings import AS_IS, Columns
from rules.refusals import Invalid, Problem, problem
from settings import texts

MOST = 10_000  # they are created in one unit of work, half a second in which other writers wait

CHUNK = 500  # addresses that are looked for at once

Place = tuple[str | None, str | None]  # an address, and the id of the project to which it is invited

_SEPARATOR = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One guest: the line where the row begins, its cells by field, and what is wrong with the row's form.

    `headings` is what the file calls each field.
    """

    line: int
    given: Mapping[str, str]
    headings: Mapping[str, str] = field(repr=False)
    problems: Sequence[Problem] = ()


@dataclass(frozen=True)
class Batch:
    """What the invites of one guest list have in common.

    `defaults` are the fields that a row leaves empty, with the name of a preset by `preset`; `maker` is the inviter;
    with `mailed` each invite is mailed.
    """

    defaults: Mapping[str, object]
    maker: Maker
    makes_admin: bool = False
    mailed: bool = False

    def prepare(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Invite | None, Sequence[Problem]]]:
        """Yields for each row its invite, ready for `invites.add`, or None and what is wrong with the row."""
        project_of, fields_of = cache(invites.find_project), cache(presets.stored)
        for row in rows:
            try:
                yield row, self._prepared(row, project_of, fields_of), ()
            except Invalid as refused:
                yield row, None, refused.problems

    def _prepared(self, row: Row, project_of: Callable[[str], Project], fields_of: presets.Find) -> Invite:
        if row.problems:
            raise Invalid(*row.problems)
        given = {name: value for name, value in row.given.items() if value}
        draft = presets.draft({**self.defaults, **given}, self.maker, self.makes_admin, fields_of)
        return invites.prepare(draft, self.maker, self.mailed, project_of)


def remarks(checked: Iterable[tuple[Row | None, Invite]]) -> dict[str, list[str]]:
    """What is to be known of the addresses of some guests, as sentences by the ids of their prepared invites.

    Each may be created nevertheless: an address is there twice, has an open invite to the same place, or is a member's.
    """
    found: dict[str, list[str]] = {}
    first: dict[Place, Row | None] = {}
    bound = [(row, invite) for row, invite in checked if invite.email]
    there = _already_there({invite.email for _, invite in bound if invite.email})
    for row, invite in bound:
        place = invite.email, invite.project_id
        before = first.setdefault(place, row)
        twice = [f"is in line {before.line} already"] if before and before is not row else []
        if said := twice + there.get(place, []):
            found[invite.id] = [f"{invite.email} {each}" for each in said]
    return found


def _already_there(addresses: Collection[str]) -> dict[Place, list[str]]:
    """What is there for these addresses, for each project and, with None, for the site."""
    found: dict[Place, list[str]] = defaultdict(list)
    ordered = sorted(addresses)
    for some in (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)):
        columns = Invite.email, Invite.project_id, Invite.id, Invite.expires_at
        active = select(*columns).where(Invite.email.in_(some), states.is_active(clock.now()))
        for email, project_id, id_, expires_at in session().execute(active.order_by(Invite.created_at, Invite.id)):
            until = f"active until {clock.iso(expires_at)}" if expires_at else "active, never expires"
            found[email, project_id] = [f"has an active invite already: {id_} ({until})"]  # of several the newest
        for user in session().scalars(select(User).where(User.email.in_(some))):
            found[user.email, None].append(f"is a member already: {user.called}")
        joined = select(User, Member.project_id).join(Member, Member.user_id == User.id).where(User.email.in_(some))
        joined = joined.where(joining.is_current(clock.now()))
        for user, project_id in session().execute(joined):
            found[user.email, project_id].append(f"is a member of the project already: {user.called}")
    return found


def read(raw: bytes, left_out: list[str] | None = None) -> list[Row]:
    """The rows of a file; raises Invalid if it is not CSV, has unknown columns, no rows, or more than 10,000.

    With a list for `left_out` unknown columns are left out, and their headings are added to it. What
    `invite-api invite export` printed is a list of guests, too: what only the service can know is left out.
    """
    text = _decoded(raw)
    stated = _SEPARATOR.match(text)  # Excel's first line, which names the separator
    if stated:
        text, separator = text[stated.end() :], stated[1]
    else:
        separator = max(",;\t", key=re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0]).count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator, strict=True)
    lines = _lines(reader, skipped=1 if stated else 0)
    line, header = next(lines, (1, []))
    columns = headings.read(line, header, left_out)
    rows = [_row(line, cells, columns) for line, cells in lines]
    if not 1 <= len(rows) <= MOST:
        headings.refuse(f"has {len(rows)} rows below its header; 1 to {MOST} can be created at once")
    return rows


def _lines(reader: Any, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of the line in which it begins."""
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = [texts.stripped(each) for each in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            headings.refuse(f"line {line}: cannot be read as CSV: {error}")
        if any(cells):
            yield line, cells


def _row(line: int, cells: Sequence[str], columns: Columns) -> Row:
    given, extra = columns.sort(cells)
    problems = (
        [problem("", "csv", AS_IS, message=f"has more cells than there are columns: {extra[0]}")] if extra else []
    )
    return Row(line, given, columns.headings, problems)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        headings.refuse(f"line {line}: is not UTF-8; save the file as CSV UTF-8")
