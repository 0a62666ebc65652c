"""What the admin's lists cost at many invites and events: memory, the first byte, a page, the counts.

Run it with `python bench/admin_list.py [ROWS]`; it compares ROWS (a million) with a thousand.
"""

import json
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing

from common import Served, instance, serving, spread

import clock
import database
from rules import accounts, listing, sessions, tokens
from settings import Settings, in_force

PAGES = 60
ACTIVITY = (  # from the plain page to the one that looks at the most rows
    "",
    "?type=invite",
    "?type=key.created",
    "?since=1d",
    "?actor=somebody+7&type=key.deleted",
    "?actor=shell&since=2020-01-01",
)
COLUMNS = "id, nonce, token_hash, role, plan, makes_admin, max_uses, uses, created_at, expires_at, made_by"


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Invites as they lie in the table, one a minute; a third is used, most are expired."""
    now = clock.now()
    for number in range(count):
        nonce = tokens.new_nonce()
        made = now - number * clock.MINUTE
        times = (f"{each:%Y-%m-%d %H:%M:%S.%f}" for each in (made, made + 7 * clock.DAY))
        digest = tokens.digest(tokens.invite_token(nonce))
        yield (clock.new_id(), nonce, digest, "member", "solo", 0, 1, number % 3 == 0, *times, "bench")


def happened(count: int) -> Iterator[tuple[object, ...]]:
    """Events as they lie in the table, one a minute, the oldest first, by a hundred people; few are about keys."""
    now = clock.now()
    for number in range(count):
        at = now - (count - number) * clock.MINUTE
        type_ = ("invite.created", "invite.used")[number % 2] if number % 1000 else "key.created"
        yield f"{at:%Y-%m-%d %H:%M:%S.%f}", type_, "somebody", f"somebody {number % 100}"


def fill(settings: Settings, count: int) -> dict[str, str]:
    """Make a database with so many rows, and an admin; the header that signs in their program."""
    house = database.open_database(settings)
    with closing(sqlite3.connect(database.files.file_of(settings))) as connection, connection:
        places = ", ".join("?" * len(COLUMNS.split()))
        connection.executemany(f"INSERT INTO invites ({COLUMNS}) VALUES ({places})", rows(count))  # noqa: S608
        connection.executemany("INSERT INTO events (at, type, actor, actor_id) VALUES (?, ?, ?, ?)", happened(count))
    with house.writing():
        root = accounts.create(accounts.Names("root"))
        accounts.set_admin(root, True)
        return {"Authorization": f"Bearer {sessions.start(root).access}"}


def browser(settings: Settings) -> dict[str, str]:
    """The header that signs in the admin's browser."""
    with in_force(settings), database.open_database(settings).writing():
        return {"Cookie": f"{settings.cookie_name}={sessions.start_in_browser(accounts.named('root'))}"}


def stream(served: Served, headers: dict[str, str]) -> tuple[float, float, int]:
    """Read the whole list: seconds to the first byte, seconds in all, bytes."""
    connection = served.connect()
    began = time.perf_counter()
    connection.request("GET", "/api/admin/invites", headers=headers)
    response = connection.getresponse()
    size = len(response.read(1))
    first = time.perf_counter() - began
    while chunk := response.read(1 << 16):
        size += len(chunk)
    return first, time.perf_counter() - began, size


def main() -> None:
    """Measure both sizes, alternating, and print them side by side."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sizes = (1000, many)
    with instance() as small, instance() as large:
        headers = [fill(small, sizes[0]), fill(large, sizes[1])]
        with serving(small) as one, serving(large) as other:
            measure(sizes, (small, large), (one, other), headers)


def apart(size: int, house: database.Database) -> None:
    """The page and the counts each alone, without HTTP."""
    wanted = listing.Filter(after=(clock.now() - 300 * clock.MINUTE, ""))
    works = (
        ("page alone", lambda: listing.page(wanted, 100)),
        ("counts alone", listing.counts),
        ("a scrape's counts by state", listing.by_state),
    )
    for name, work in works:
        taken = []
        for _ in range(PAGES):
            began = time.perf_counter()
            with house.reading():
                work()
            taken.append(time.perf_counter() - began)
        print(f"{name}, of {size:>9,} invites, ms  {spread(taken)}")


def measure(
    sizes: tuple[int, int],
    settings: tuple[Settings, Settings],
    served: tuple[Served, Served],
    headers: list[dict[str, str]],
) -> None:
    """Pages first, alternating; then the whole list of the large one."""
    cookies = [browser(each) for each in settings]
    pages: list[list[float]] = [[], []]
    for _ in range(PAGES):
        for which in (0, 1):
            seconds, body = served[which].get("/api/admin/invites?limit=100", headers[which])
            pages[which].append(seconds)
            assert json.loads(body)["total"] == sizes[which]
    for which in (0, 1):
        print(f"a page of 100 and both counts, of {sizes[which]:>9,} invites, ms  {spread(pages[which])}")
    print(f"ratio of the medians: {statistics.median(pages[0]) / statistics.median(pages[1]):.2f}")
    for query in ACTIVITY:
        taken: list[list[float]] = [[], []]
        for _ in range(PAGES):
            for which in (0, 1):
                seconds, body = served[which].get(f"/admin/activity{query}", cookies[which])
                taken[which].append(seconds)
                assert b"<h1>Activity" in body
        for which in (0, 1):
            print(f"/admin/activity{query}, of {sizes[which]:>9,} events, ms  {spread(taken[which])}")
    for which in (0, 1):
        with in_force(settings[which]):
            apart(sizes[which], database.open_database(settings[which]))
    firsts = [stream(served[0], headers[0])[0] for _ in range(5)]
    before = served[1].memory()
    first, whole, size = stream(served[1], headers[1])
    grown = served[1].memory("VmHWM") - before
    print(
        f"whole list of {sizes[1]:,}: first byte after {first * 1000:.1f} ms "
        f"(of {sizes[0]:,}: {statistics.median(firsts) * 1000:.1f} ms), "
        f"{size / 1e6:.0f} MB in {whole:.1f} s, memory grew by at most {grown:.1f} MB to {before + grown:.0f} MB"
    )


if __name__ == "__main__":
    main()
