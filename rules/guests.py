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
from itertools import islice
from typing import Any

from sqlalchemy import select

import clock
from database import session
from models import Invite, Member, Project, User
from rules import headings, invites, joining, presets, states
from rules.drafts import Inviter
from rules.headings import Columns
from rules.refusals import N_, Invalid, Problem, problem
from settings import texts

MAX_ROWS = 10_000  # they are created in one unit of work, half a second in which other writers wait

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

    `defaults` are the fields that a row leaves empty, with the name of a preset by `preset`; `inviter` is the inviter;
    with `mailed` each invite is mailed.
    """

    defaults: Mapping[str, object]
    inviter: Inviter
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
        draft = presets.draft({**self.defaults, **given}, self.inviter, self.makes_admin, fields_of)
        return invites.prepare(draft, self.inviter, self.mailed, project_of)


@dataclass(frozen=True)
class Remark:
    """What is to be known of a guest's address, which may be invited nevertheless: `kind` is a word in `_SENTENCES`."""

    kind: str
    facts: Mapping[str, str]

    @property
    def message(self) -> str:
        """The remark in English; it continues the address that it is about."""
        return _SENTENCES[self.kind] % self.facts


_SENTENCES = {
    "twice": "is in line %(line)s already",
    "invited": "has an active invite already: %(id)s (%(until)s)",
    "member": "is a member already: %(name)s",
    "joined": "is a member of the project already: %(name)s",
}


def remarks(checked: Iterable[tuple[Row | None, Invite]]) -> dict[str, list[str]]:
    """What `notes` finds, as sentences that begin with the address, by the ids of the prepared invites."""
    listed = list(checked)
    found = notes(listed)
    return {
        each.id: [f"{each.email} {remark.message}" for remark in found[each.id]]
        for _, each in listed
        if each.id in found
    }


def notes(checked: Iterable[tuple[Row | None, Invite]]) -> dict[str, list[Remark]]:
    """What is to be known of the addresses of some guests, by the ids of their prepared invites.

    Each may be created nevertheless: an address is there twice, has an active invite to the same place, or is a
    member's.
    """
    found: dict[str, list[Remark]] = {}
    first: dict[Place, Row | None] = {}
    bound = [(row, invite) for row, invite in checked if invite.email]
    there = _already_there({invite.email for _, invite in bound if invite.email})
    for row, invite in bound:
        place = invite.email, invite.project_id
        before = first.setdefault(place, row)
        twice = [Remark("twice", {"line": str(before.line)})] if before and before is not row else []
        if said := twice + there.get(place, []):
            found[invite.id] = said
    return found


def _already_there(addresses: Collection[str]) -> dict[Place, list[Remark]]:
    """What is there for these addresses, for each project and, with None, for the site."""
    found: dict[Place, list[Remark]] = defaultdict(list)
    ordered = sorted(addresses)
    for some in (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)):
        columns = Invite.email, Invite.project_id, Invite.id, Invite.expires_at
        active = select(*columns).where(Invite.email.in_(some), states.is_active(clock.now()))
        for email, project_id, id_, expires_at in session().execute(active.order_by(Invite.created_at, Invite.id)):
            until = f"active until {clock.iso(expires_at)}" if expires_at else "active, never expires"
            found[email, project_id] = [Remark("invited", {"id": id_, "until": until})]  # of several the newest
        for user in session().scalars(select(User).where(User.email.in_(some))):
            found[user.email, None].append(Remark("member", {"name": user.called}))
        joined = select(User, Member.project_id).join(Member, Member.user_id == User.id).where(User.email.in_(some))
        joined = joined.where(joining.is_current(clock.now()))
        for user, project_id in session().execute(joined):
            found[user.email, project_id].append(Remark("joined", {"name": user.called}))
    return found


def read(raw: bytes, left_out: list[str] | None = None) -> list[Row]:
    """The rows of a file; raises Invalid if it is not CSV, has unknown columns, no rows, or more than 10,000.

    With a list for `left_out` unknown columns are left out, and their headings are added to it. What
    `invite-api invite export` printed is a list of guests, too: what only the service can know is left out.
    """
    return read_text(decoded(raw), left_out)


def read_text(text: str, left_out: list[str] | None = None, most: int = MAX_ROWS) -> list[Row]:
    """The rows of the text of such a file, of at most `most`; raises Invalid as `read` does."""
    lines = _cells(text)
    line, header = next(lines, (1, []))
    columns = headings.read(line, header, left_out)
    rows = [_row(line, cells, columns) for line, cells in islice(lines, most)]
    count = len(rows) + sum(1 for _ in lines)
    if not 1 <= count <= most:
        headings.refuse(
            N_("has %(count)s rows below its header; 1 to %(most)s can be created at once"), count=count, most=most
        )
    return rows


def has_headings(text: str) -> bool:
    """Whether the first line of a list names columns, and is not a guest."""
    try:
        _, header = next(_cells(text), (1, []))
    except Invalid:
        return False
    return headings.names_columns(header)


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each row of a text that is not empty, with the number of the line in which it begins."""
    stated = _SEPARATOR.match(text)  # Excel's first line, which names the separator
    if stated:
        text, separator = text[stated.end() :], stated[1]
    else:
        separator = max(",;\t", key=re.sub('"[^"]*"', "", text.lstrip().partition("\n")[0]).count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=separator, strict=True)
    return _lines(reader, skipped=1 if stated else 0)


def _lines(reader: Any, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of the line in which it begins."""
    while True:
        line = reader.line_num + 1 + skipped
        try:
            cells = [texts.stripped(each) for each in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            headings.refuse(N_("line %(line)s: cannot be read as CSV: %(error)s"), line=line, error=error)
        if any(cells):
            yield line, cells


def _row(line: int, cells: Sequence[str], columns: Columns) -> Row:
    given, extra = columns.sort(cells)
    problems = [problem("", "csv", "has more cells than there are columns: %(cell)s", cell=extra[0])] if extra else []
    return Row(line, given, columns.headings, problems)


def decoded(raw: bytes) -> str:
    """The text of a file; raises Invalid if it is neither UTF-8 nor UTF-16."""
    try:
        return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        headings.refuse(N_("line %(line)s: is not UTF-8; save the file as CSV UTF-8"), line=line)
