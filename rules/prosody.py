"""The API keys that Prosody's mod_invites_api has stored in a data directory.

They are in Lua text, a file for each host (Prosody's storage "internal"), or in a SQLite file (its storage "sql").
"""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from rules.headings import AS_IS
from rules.keys import ImportedKey
from rules.refusals import Invalid
from settings import texts

STORE = "invite_api_keys"

# A piece of what Prosody's util.serialization writes: a text, a number, a word or a sign.
_PIECE = re.compile(r'\s*("(?:[^"\\]|\\.)*"|-?[0-9][\w.+-]*|[A-Za-z_]\w*|[{}\[\]=;,])', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-9]{3}|.)", re.DOTALL)
_ESCAPED = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
# What `parse` may raise for half a table or for other text.
_HALF = (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


def keys(folder: Path, host: str | None = None) -> list[tuple[str, ImportedKey]]:
    """The keys of a data directory, or of one host in it, as pairs of host and key.

    `folder` may also be the SQLite file itself. Raises Invalid if it cannot be read or holds no keys.
    """
    try:
        found = [each for each in _stored(folder) if host in (None, each[0])]
        keys = [(name, _foreign(facts)) for name, facts in found]
    except (OSError, sqlite3.Error, ValueError) as error:
        raise _unreadable(folder, f"cannot be read: {error}") from error
    except _HALF as error:
        raise _unreadable(folder, "cannot be read: something in it is not whole") from error
    if not keys:
        of = f" of {host}" if host else ""
        raise _unreadable(folder, f"holds no API keys{of}: name Prosody's data_path, such as /var/lib/prosody")
    return keys


def _stored(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.glob(f"*/{STORE}.dat")):
        for facts in parse(path.read_text(encoding="utf-8")).values():
            yield unquote(path.parent.name), facts
    for path in [folder] if folder.is_file() else sorted(folder.glob("*.sqlite")):
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            rows = "SELECT host, value FROM prosody WHERE store = ? AND type = 'json' AND key <> '' ORDER BY host, key"
            yield from ((host, json.loads(value)) for host, value in connection.execute(rows, (STORE,)))


def _foreign(facts: dict[str, Any]) -> ImportedKey:
    created = facts.get("created_at")
    given = facts.get("name") or ""
    unseen = set(texts.unseen(given))
    name = "".join(" " if place in unseen else each for place, each in enumerate(given)).strip()[:100]
    return ImportedKey(
        id=str(facts["id"]),
        secret=str(facts["token"]),
        name=name or None,
        created_at=datetime.fromtimestamp(created, UTC) if created else None,
    )


def parse(text: str) -> dict[str, Any]:
    """The table in a file that Prosody has written; raises ValueError or one of _HALF for any other text."""
    pieces = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _PIECE.match(text, place)
        if match is None:
            raise ValueError(f"not as Prosody writes it, at character {place}")
        pieces.append(match[1])
        place = match.end()
    if pieces.pop(0) != "return":
        raise ValueError("does not begin with return")
    pieces.reverse()
    table = _value(pieces)
    if not isinstance(table, dict):
        raise ValueError("holds no table")
    return table


def _value(pieces: list[str]) -> Any:
    """The value that the pieces, in reverse order, end with; its pieces are removed from the list."""
    piece = pieces.pop()
    if piece == "{":
        return dict(_members(pieces))
    if piece[0] == '"':
        # Lua's escapes stand for bytes, and the bytes for UTF-8.
        return _ESCAPE.sub(_byte, piece[1:-1].encode()).decode(errors="replace")
    if piece in ("true", "false"):
        return piece == "true"
    return float(piece) if piece != "nil" else None


def _members(pieces: list[str]) -> Iterator[tuple[Any, Any]]:
    while (sign := pieces.pop()) != "}":
        if sign in ";,":
            continue
        if sign != "[":
            raise ValueError(f"not as Prosody writes it: {sign}")
        key = _value(pieces)
        if (pieces.pop(), pieces.pop()) != ("]", "="):
            raise ValueError("a member has no value")
        yield key, _value(pieces)


def _byte(escape: "re.Match[bytes]") -> bytes:
    code = escape[1]
    return bytes([int(code) if code.isdigit() else _ESCAPED.get(code[0], code[0])])


def _unreadable(folder: Path, message: str) -> Invalid:
    return Invalid.at("folder", "store", AS_IS, message=f"{folder} {message}")
