"""The first row of a guest list, which names the columns: which field each is, in the spellings that people use."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NoReturn

from rules.drafts import READERS
from rules.listing import Listed
from rules.refusals import N_, Invalid

AS_IS = "%(message)s"  # not for translators: only the command shows these, and it speaks English
FORMULA = tuple("=+-@＝＋－＠")  # what a spreadsheet takes for a formula starts with one of these

COLUMNS = (*READERS, "preset")

FIRST, LAST = "first name", "last name"  # two columns that are one field, the name

# Besides the names of the fields themselves, as address books and people call them. No spaces, hyphens or capitals.
SPELLINGS: Mapping[str, str] = {
    "name": "fullname displayname guest guestname gast gastname anzeigename vollername vollständigername nom "
    "nomcomplet nombre nombrecompleto nome nomecompleto naam",
    FIRST: "firstname givenname forename vorname vornamen rufname prénom prenom voornaam",
    LAST: "lastname familyname surname nachname familienname zuname nomdefamille apellido apellidos cognome achternaam",
    "email": "mail emailaddress mailaddress emailadresse mailadresse emailadress email1value email1address "
    "primaryemail courriel adresseemail adressemail correo correoelectrónico correoelectronico indirizzoemail "
    "emailadres",
    "project": "projekt projet proyecto progetto",
    "role": "rolle",
    "ttl": "lifetime validfor expiresafter gültigkeit gültigkeitsdauer",
    "uses": "maxuses nutzungen",
    "redirect_url": "redirect",
    "preset": "vorlage template",
    "access": "zugang zugangsdauer",
    "approve": "approval freigabe freigeben",
    "data": "daten",
    "message": "personalmessage nachricht greeting grußwort",
    "note": "notes notiz notizen comment comments kommentar bemerkung bemerkungen",
}


def _plain(heading: str) -> str:
    """A heading without what people write differently: capitals, spaces, hyphens, dots."""
    return "".join(each for each in unicodedata.normalize("NFKC", heading).casefold() if each.isalnum())


_FIELDS = {word: name for name, words in SPELLINGS.items() for word in words.split()} | {
    _plain(name): name for name in COLUMNS
}
_EXPORTED = {_plain(each.name) for each in fields(Listed)} | {"link"}
_TELLS_AN_EXPORT = {"id", "state", "madeby", "createdat"}


@dataclass(frozen=True)
class Columns:
    """The columns of a guest list: the field of each, or None for one that is left out, or "" for one without a name.

    `headings` is what the file calls each field. An export has an apostrophe before what looks like a formula.
    """

    names: Sequence[str | None]
    headings: Mapping[str, str]
    is_export: bool

    def sort(self, cells: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        """The cells of a row by field, and those that belong to no column."""
        named = zip(self.names, map(self._unguarded, cells), strict=False)
        given = {name: cell for name, cell in named if name}
        beyond = [
            *cells[len(self.names) :],
            *(cell for name, cell in zip(self.names, cells, strict=False) if name == ""),
        ]
        if FIRST in given or LAST in given:
            parts = [given.pop(FIRST, ""), given.get("name", ""), given.pop(LAST, "")]
            whole = parts[1] if all(parts) else " ".join(filter(None, parts))
            given["name"] = whole
        return given, [each for each in beyond if each]

    def _unguarded(self, cell: str) -> str:
        guarded = self.is_export and cell.startswith("'") and cell[1:].lstrip()[:1] in FORMULA
        return cell[1:] if guarded else cell


def read(line: int, header: Sequence[str], left_out: list[str] | None) -> Columns:
    """The columns that a header names; raises Invalid for one that is there twice, or that is unknown.

    With a list for `left_out` unknown ones are left out, and their headings added to it.
    """
    plain = [_plain(each) for each in header]
    is_export = set(plain) >= _TELLS_AN_EXPORT
    names: list[str | None] = []
    headings: dict[str, str] = {}
    for heading, key in zip(header, plain, strict=True):
        name = "" if not heading else _FIELDS.get(key)
        if is_export and key in _EXPORTED and (name is None or (key == "uses" and "maxuses" in plain)):
            name = None
        elif name is None or (name == "" and left_out is not None):
            name = None
            _note(line, heading, key, left_out)
        elif name in headings:
            refuse(N_("line %(line)s, column %(heading)s: is there twice"), line=line, heading=heading)
        if name:
            headings[name] = heading
        names.append(name)
    if not headings:
        refuse(AS_IS, message=f"is empty; its first line names the columns: {', '.join(COLUMNS)}")
    if "name" not in headings and (FIRST in headings or LAST in headings):
        headings["name"] = headings.get(FIRST) or headings[LAST]
    return Columns(names, headings, is_export)


def _note(line: int, heading: str, key: str, left_out: list[str] | None) -> None:
    """Note a column that is unknown; raises Invalid if none is to be left out."""
    if left_out is None:
        near = difflib.get_close_matches(key, map(_plain, COLUMNS), 1)
        hint = f"did you mean {_FIELDS[near[0]]}?" if near else f"there are {', '.join(COLUMNS)}"
        said = f"line {line}, column {heading}: there is no such column; {hint} --ignore-unknown leaves it out"
        refuse(AS_IS, message=said)
    if heading:
        left_out.append(heading)


def names_columns(header: Sequence[str]) -> bool:
    """Whether the cells of a first line name columns: one of them is a heading that we know, and none an address."""
    return any(_plain(each) in _FIELDS for each in header) and not any("@" in each for each in header)


def guarded(text: str) -> str:
    """A text for a cell of CSV: what a spreadsheet would take for a formula has an apostrophe before it."""
    return f"'{text}" if text.lstrip()[:1] in FORMULA else text


def refuse(text: str, **facts: object) -> NoReturn:
    """Raise Invalid for a file that is no guest list."""
    raise Invalid.at("source", "csv", text, **facts)
