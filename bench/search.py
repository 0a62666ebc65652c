"""What a search through many invites costs: names in ASCII and in another script, texts in both, nothing found.

Run it with `python bench/search.py [ROWS]`: a million by default. With `--beside CHECKOUT` the same is measured
with the code of another checkout, such as one of the commit before, over databases that it makes itself.
"""

import argparse
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

HERE = Path(__file__).resolve()
INSIDE = "--inside"

if INSIDE in sys.argv:  # the code of another checkout, before any of ours
    sys.path.insert(0, str(Path(sys.argv[sys.argv.index(INSIDE) + 1]) / "bench"))

from common import instance  # noqa: E402

import clock  # noqa: E402
import database  # noqa: E402
from models import Invite  # noqa: E402
from rules import listing, tokens  # noqa: E402
from settings import Settings  # noqa: E402

NAMES = {"ASCII": ("Anne-Marie", "a note of the operator"), "Cyrillic": ("Ирина Петровна", "заметка оператора")}
TEXTS = {"ASCII": "anne-marx", "Cyrillic": "иринэ"}
TIMES = 5


def rows(count: int, kind: str) -> Iterator[dict[str, object]]:
    """Invites as they lie in the table, one a minute; two thirds have a note."""
    now, (name, note) = clock.now(), NAMES[kind]
    for number in range(count):
        nonce, made = tokens.new_nonce(), now - number * clock.MINUTE
        times = [f"{each:%Y-%m-%d %H:%M:%S.%f}" for each in (made, made + 7 * clock.DAY)]
        texts = {
            "name": f"{name} {number}",
            "email": f"guest{number}@example.org",
            "note": note if number % 3 else None,
        }
        row = {"id": clock.new_id(), "nonce": nonce, "token_hash": tokens.digest(nonce), **texts, **folded(texts)}
        yield row | {"created_at": times[0], "expires_at": times[1]}


def folded(texts: dict[str, str | None]) -> dict[str, object]:
    """What is stored beside an invite for searches; nothing by older code."""
    if not hasattr(Invite, "folded"):
        return {}
    from rules import searching

    return {"folded": searching.stored(*texts.values())}


def fill(settings: Settings, count: int, kind: str) -> None:
    """Put so many invites into the database."""
    given = next(rows(1, kind))
    columns, places = ", ".join(given), ", ".join(f":{each}" for each in given)
    statement = (
        f"INSERT INTO invites ({columns}, role, plan, max_uses, uses, made_by) "  # noqa: S608
        f"VALUES ({places}, 'member', 'solo', 1, 0, 'bench')"
    )
    with closing(sqlite3.connect(database.files.file_of(settings))) as connection, connection:
        connection.executemany(statement, rows(count, kind))


def measured(count: int) -> dict[str, float]:
    """The least time of five that each search took, in milliseconds. It looks at all rows, as nothing is found."""
    taken: dict[str, float] = {}
    for kind in NAMES:
        with instance() as settings:
            house = database.open_database(settings)
            fill(settings, count, kind)
            for script, text in list(TEXTS.items()) * TIMES:
                began = time.perf_counter()
                with house.reading():
                    assert listing.page(listing.read({"q": text}), 500) == []
                spent = (time.perf_counter() - began) * 1000
                name = f"names in {kind}, text in {script}"
                taken[name] = min(spent, taken.get(name, spent))
            house.close()
    return taken


def main() -> None:
    """Measure, beside another checkout if one is named, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--beside", type=Path)
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    ours = measured(asked.rows)
    if asked.inside:
        print(json.dumps(ours))
        return
    theirs = {}
    if asked.beside:
        call = [sys.executable, str(HERE), str(asked.rows), INSIDE, str(asked.beside)]
        theirs = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
    for name, spent in ours.items():
        beside = f", beside {theirs[name]:6.0f} ms: {spent / theirs[name]:.2f}" if theirs else ""
        print(f"{name:36} {spent:6.0f} ms{beside}")


if __name__ == "__main__":
    main()
