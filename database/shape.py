"""What a file of SQLite consists of, compared with schema.sql: tables, indexes, triggers and views."""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import cache
from typing import Any

from database import schema

Execute = Callable[[str], Iterable[Any]]


def differences(execute: Execute) -> list[str]:
    """How the file that `execute` queries differs from schema.sql, a sentence each; [] if it does not.

    A trigger can do anything, so that one which is not ours is damage, too.
    """
    found, wanted = shape(execute), _wanted()
    return [
        *(f"{each}: is missing" for each in wanted if each not in found),
        *(f"{each}: is not ours" for each in found if each not in wanted),
        *(f"{each}: is not as it should be" for each in wanted if each in found and found[each] != wanted[each]),
    ]


def shape(execute: Execute) -> Mapping[str, object]:
    """All that the file consists of, such as ``table users``, each with what distinguishes it from another one."""
    objects = execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite@_%' ESCAPE '@'")
    return {
        f"{kind} {name}": _table(execute, name, sql) if kind == "table" else _plain(sql)
        for kind, name, sql in list(objects)
    }


@cache
def _wanted() -> Mapping[str, object]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema.SCHEMA.read_text())
        return shape(connection.execute)


def _table(execute: Execute, name: str, sql: str) -> object:
    """Columns in no order, references, unique columns and checks: a migrated table has another text than a new one."""
    quoted = name.replace('"', '""')
    columns = {each[1:] for each in execute(f'PRAGMA table_xinfo("{quoted}")')}
    references = {each[2:] for each in execute(f'PRAGMA foreign_key_list("{quoted}")')}
    unique = [each[1] for each in execute(f'PRAGMA index_list("{quoted}")') if each[3] == "u"]
    keys = {tuple(row[2] for row in execute(f'PRAGMA index_info("{each}")')) for each in unique}
    return columns, references, keys, sorted(_checks(_plain(sql)))


def _checks(sql: str) -> Iterator[str]:
    """The conditions after each CHECK, with their brackets."""
    for found in re.finditer(r"\bcheck \(", sql):
        depth, end = 1, found.end()
        while depth and end < len(sql):
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield sql[found.end() : end]


def _plain(sql: str) -> str:
    """A text of SQL without what makes no difference."""
    return " ".join(re.sub(r"--[^\n]*", "", sql).split()).lower()
