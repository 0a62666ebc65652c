"""What a flood of sign-ins does to everybody else, and whether time tells known names from unknown ones.

Run it with `python bench/login_flood.py`.
"""

import json
import statistics
import threading
import time
from collections import Counter

from common import Served, instance, percentile, serving

import database
from rules import accounts, passwords

CLIENTS = 48
SECONDS = 10
PAIRS = 150


def login(served: Served, name: str) -> tuple[float, int]:
    """Try a wrong password: seconds and status."""
    connection = served.connect()
    body = json.dumps({"email": name, "password": "not the password"})
    began = time.perf_counter()
    connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return time.perf_counter() - began, response.status


def flood(served: Served, until: float, statuses: "Counter[int]") -> None:
    """One client that goes on trying."""
    while time.perf_counter() < until:
        statuses[login(served, f"user{len(statuses)}@example.org")[1]] += 1


def main() -> None:
    """Measure how long /health takes meanwhile, then the two kinds of name, alternating."""
    with instance() as settings:
        house = database.open_database(settings)
        with house.writing():
            for number in range(PAIRS // 50 + 1):
                accounts.create(accounts.Names(f"known{number}"), passwords.hash("correct horse battery"))
        with serving(settings) as served:
            during_flood(served)
            by_name(served)


def during_flood(served: Served) -> None:
    """48 clients sign in as fast as they are let, another one asks for /health."""
    statuses: Counter[int] = Counter()
    until = time.perf_counter() + SECONDS
    clients = [threading.Thread(target=flood, args=(served, until, statuses)) for _ in range(CLIENTS)]
    for each in clients:
        each.start()
    health = []
    while time.perf_counter() < until:
        health.append(served.get("/health", {})[0])
        time.sleep(0.01)
    for each in clients:
        each.join()
    print(f"{CLIENTS} clients signing in for {SECONDS} s: {dict(statuses)}")
    median, worst = statistics.median(health) * 1000, percentile(health, 0.99) * 1000
    print(f"/health meanwhile, ms: median {median:.1f}, p99 {worst:.1f}")
    print(f"memory: at most {served.memory('VmHWM'):.0f} MB")


def by_name(served: Served) -> None:
    """Known and unknown names, turn by turn, a wrong password each; fewer than lock an account."""
    known, unknown = [], []
    for number in range(PAIRS):
        turns = [(known, f"known{number // 50}"), (unknown, f"unknown{number // 50}")]
        for taken, name in turns[:: 1 if number % 2 else -1]:
            taken.append(login(served, name)[0])
    medians = statistics.median(known), statistics.median(unknown)
    print(
        f"a wrong password, ms: known name {medians[0] * 1000:.2f}, unknown {medians[1] * 1000:.2f}, "
        f"ratio {medians[0] / medians[1]:.3f}"
    )


if __name__ == "__main__":
    main()
