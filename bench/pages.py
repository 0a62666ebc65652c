"""What a page costs the server, and the lists of admins and programs with a million invites and events.

Run it with `python bench/pages.py [ROWS]`. Times are inside the process (no socket), in milliseconds:
median, with minimum and maximum.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from admin_list import fill
from common import instance, spread

import database
from app import create_app
from rules import accounts, drafts, invites, sessions, timeline
from settings import Settings

TIMES = 60


def cost(get: Callable[[], Any]) -> tuple[list[float], int]:
    """How many seconds each of many calls takes, and how long the answer is."""
    lasted = []
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = get()
        lasted.append(time.perf_counter() - began)
        if answer.status_code != 200:
            raise SystemExit(f"{answer.request.path} answers {answer.status_code}")
    return lasted, len(answer.data)


def measure(settings: Settings, count: int) -> dict[str, list[float]]:
    """Print and return what each page costs with so many invites."""
    by_token = fill(settings, count)
    house = database.open_database(settings)
    with house.writing():
        token = invites.token(invites.create(drafts.Draft(name="Anne"), drafts.SHELL))
        cookie = sessions.start_in_browser(accounts.named("root"))
    guest, root = (create_app(settings).test_client() for _ in range(2))
    root.set_cookie(settings.cookie_name, cookie)
    asked = [(guest, "/"), (guest, f"/invite?{token}"), (guest, "/login"), (guest, f"/qr?{token}")]
    asked += [(root, "/admin"), (root, "/admin?status=active"), (root, "/admin?q=anne"), (root, "/admin?q=nobody")]
    asked += [(root, "/admin/invites/new"), (root, "/admin/keys"), (root, "/admin/people")]
    middle = timeline.cursor(count // 2)
    listed = ["/v1/invites", "/v1/invites?state=active", "/v1/invites?text=nobody"]
    listed += ["/v1/events", "/v1/events?type=invite.created", f"/v1/events?cursor={middle}"]
    listed += ["/v1/events?user=somebody+7", "/v1/events?user=somebody+7&type=key.deleted"]
    costs = {}
    for client, path in [*asked, *((guest, each) for each in listed)]:
        shown = path.replace(token, "TOKEN").replace(middle, "MIDDLE")
        headers = by_token if path.startswith("/v1") else {}
        costs[shown], size = cost(partial(client.get, path, headers=headers))
        print(f"{count:>9,}  {shown:42} {spread(costs[shown])}  {size:,} bytes")
    return costs


def main() -> None:
    """Compare a thousand invites with many."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with instance() as settings:
        few = measure(settings, 1000)
    with instance() as settings:
        lots = measure(settings, many)
    print("\nmedian with a thousand / median with many:")
    for path, lasted in few.items():
        print(f"{path:42} {statistics.median(lasted) / statistics.median(lots[path]):.2f}")


if __name__ == "__main__":
    main()
