"""Guest lists as people paste them: a guest on each line, by name, address or both; or a table that names its columns.

A guest is written as ``Anne <anne@example.org>``, ``anne@example.org``, ``Anne Müller`` or ``Müller, Hans;hans@…``.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from rules import batches, guests
from rules.guests import Row
from rules.refusals import N_, Invalid, Problem, problem
from settings import texts

_WORD = re.compile(r"""<[^<>]*>|[^\s,;<>()"]+""")
_TO_DOT = re.compile(r"""@[^\s.,;<>()"@]*,[^\s,;<>()"@]+""")  # of anne@gmail,com, where a dot was meant
_AFTER_ONE = re.compile(r"(?<=>)\s*[,;]\s*")
_AROUND = ' \t<>,;"“”„'  # what stands around a name
_BULLET = re.compile(r"^[-*•–·]\s+")
_MAILTO = re.compile("mailto:", re.IGNORECASE)

Address = tuple[int, int]  # where it begins and ends


def read(text: str, left_out: list[str]) -> Sequence[Row]:
    """The guests of a list; raises Invalid for a table that cannot be read, no guest at all, or more than 1,000.

    A table is one whose first line names its columns, as spreadsheets write it; the headings of columns that are
    unknown are added to `left_out`.
    """
    if guests.has_headings(text):
        return guests.read_text(text, left_out, batches.MAX_INVITES)
    every = (row for line, each in enumerate(_lines(text), 1) for row in _rows(line, texts.stripped(each)))
    rows = list(islice(every, batches.MAX_INVITES + 1))
    if not rows:
        raise Invalid.at("source", "required", "is empty: type one guest on each line, or choose a file")
    if len(rows) > batches.MAX_INVITES:
        raise Invalid.at("source", "maxItems", "has more than %(most)s guests: divide it", most=batches.MAX_INVITES)
    return rows


def _lines(text: str) -> list[str]:
    """The lines of a text as a browser counts them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _rows(line: int, text: str) -> Iterator[Row]:
    """The guest on a line, or several that are written as a mail program writes them."""
    text = _MAILTO.sub("", _BULLET.sub("", text))
    found = _addresses(text)
    if len(found) > 1:
        yield from _several(line, text, found)
    elif text.strip(_AROUND):
        yield _row(line, text)


def _several(line: int, text: str, found: Sequence[Address]) -> Iterator[Row]:
    """The guests on a line that has these addresses in it."""
    parts = [each for each in _AFTER_ONE.split(text) if each.strip(_AROUND)]
    if all(len(_addresses(each)) == 1 for each in parts):
        yield from (_row(line, each) for each in parts)
    elif len(found) == len(_WORD.findall(text)):
        yield from (_row(line, text[start:end]) for start, end in found)
    else:
        said = problem("", "shared", "has more than one address: write each guest on a line of their own")
        yield Row(line, {}, {}, [said])


def _addresses(text: str) -> list[Address]:
    """What is meant for an address in a text."""
    found = list[Address]()
    for each in _WORD.finditer(text):
        if "@" in each[0]:
            longer = _TO_DOT.match(text, each.start() + each[0].index("@"))
            found.append((each.start(), longer.end() if longer and each[0][0] != "<" else each.end()))
    return found


def _row(line: int, text: str) -> Row:
    """The guest that a text names."""
    start, end = next(iter(_addresses(text)), (len(text), len(text)))
    cells = [each for each in (_name(cell) for cell in re.split("[;\t]", text[:start] + text[end:])) if each]
    problems: list[Problem] = []
    if len(cells) > 2:
        said = N_("has more cells than a name and an address: put the names of the columns in the first line")
        problems = [Problem("", "cells", said, {})]
    return Row(line, {"name": " ".join(cells), "email": text[start:end].strip("<> ")}, {}, problems)


def _name(cell: str) -> str:
    """A name without what stands around it."""
    kept = cell.strip(_AROUND)
    kept = kept[1:-1] if kept.startswith("(") and kept.endswith(")") else kept
    return " ".join(kept.split())
