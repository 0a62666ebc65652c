"""Searching in texts of any script: in capitals or not, however it was typed.

A database folds the case of ASCII alone (SQLite), or as its locale does (PostgreSQL). So what is not all ASCII is
stored folded as well, and that is compared. A function of Python that SQLite calls for each row took twice the time
at a million names in Cyrillic, and kept the interpreter's lock; this takes less than before (bench/search.py).
"""

import unicodedata
from typing import Any

from sqlalchemy import ColumnElement, case, false, or_

from rules import fields
from settings import texts

_DOT_ABOVE = "\u0307"  # what folding leaves of a Turkish capital i
_ALIKE = str.maketrans({**dict.fromkeys("\u2010\u2011", "-"), "’": "'", "ı": "i", **dict.fromkeys(texts.JOINERS)})


def alike(one: str, other: str) -> bool:
    """Whether two names are the same to a reader: in capitals or not, in wide letters, with other spaces."""
    first, second = (folded(unicodedata.normalize("NFKC", each)) for each in (one, other))
    return first == second


def folded(text: str) -> str:
    """A text as it is compared: case folded as Unicode has it, in one form of each letter, every i with one dot.

    Hyphens, apostrophes and spaces of all kinds are alike, and joiners are left out.
    """
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFD", text).casefold().replace(f"i{_DOT_ABOVE}", "i").translate(_ALIKE)
    spaced = "".join(" " if texts.is_space(each) else each for each in plain)
    return unicodedata.normalize("NFC", spaced)


def stored(*given: str | None) -> str | None:
    """What to store for a search in these texts, beside them; None where all are ASCII, which databases fold."""
    if all(each is None or each.isascii() for each in given):
        return None
    return folded("\n".join(filter(None, given)))


def as_stored(text: str) -> str:
    """What is searched for; the domain of an address that is written in other letters, as addresses are stored."""
    return fields.typed_name(text) if "@" in text else text


def found(text: str, beside: Any, *columns: Any) -> ColumnElement[bool]:
    """That one of the columns has a text in it; `beside` is the column with what `stored` made of them."""
    wanted = folded(as_stored(text))
    in_ascii = or_(*(each.icontains(wanted, autoescape=True) for each in columns)) if wanted.isascii() else false()
    return case((beside.is_(None), in_ascii), else_=beside.contains(wanted, autoescape=True))
