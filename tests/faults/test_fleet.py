"""Several servers over one PostgreSQL, and many who want the same thing of all of them at once."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg
import pytest

import postgres
from conftest import PASSWORD, Answer, Served, free_port, wait_for
from faults import tampered
from faults.crowd import CLIENTS, JSON, Fact, Place, crowd, lost_from
from faults.test_race import RACERS, heats
from programs import require

pytestmark = [pytest.mark.xdist_group("postgresql"), pytest.mark.own_postgresql, pytest.mark.long]
PROCESSES = 4
RESTART = "PostgreSQL restarts, a server dies"
FAULT = f"invite, {RACERS} threads at once, PostgreSQL"
FOLLOWED = f"events, followed while {CLIENTS} clients write at {PROCESSES} servers"
HOLDS, USES = f"uses that wait, {RACERS} threads at once, PostgreSQL", 5


def racers(servers: list[Served]) -> list[str]:
    """The headers of so many accounts."""
    token = servers[0].run("invite", "create", "--uses", str(RACERS)).partition("?")[2]

    def register(number: int) -> str:
        body = {"invite_token": token, "email": f"racer{number}@example.org", "password": PASSWORD}
        served = servers[number % len(servers)]
        answer = served.get("/auth/register/with-invite", "POST", json.dumps(body).encode(), **JSON)
        return f"Bearer {json.loads(answer.body)['token']}"

    return [register(number) for number in range(RACERS)]


def race(servers: list[Served], count: int) -> list[Counter[str]]:
    """Have all accept an invite at once, each through its server, again and again: what each was told."""
    bearers = racers(servers)
    links = servers[0].run("invite", "create", "--count", str(count)).split()
    wanted = [each.partition("?")[2] for each in links]
    ports = [each.port for each in servers]
    doors = [HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60) for number in range(RACERS)]

    def accept(heat: int, number: int) -> str:
        headers = JSON | {"Authorization": bearers[number]}
        doors[number].request("POST", f"/invites/{wanted[heat]}/accept", "{}", headers)
        answer = doors[number].getresponse()
        said = json.loads(answer.read())
        return "accepted" if answer.status == 200 else said["code"]

    outcomes = heats(accept, count)
    for each in doors:
        each.close()
    return outcomes


def over(outcomes: list[Counter[str]]) -> int:
    """How many got an invite that somebody else had got."""
    return sum(max(0, each["accepted"] - 1) for each in outcomes)


def test_of_64_at_once_at_four_servers_one_accepts_an_invite(fleet, url, profile, figures):
    row, count = figures(FAULT), profile(10, 1000)
    outcomes = race(fleet(PROCESSES), count)
    under = sum(each["accepted"] == 0 for each in outcomes)
    errors = sum(each.total() - each["accepted"] - each["INVITE_USED"] for each in outcomes)
    row.shows(
        f"{count:,} invites × {RACERS} threads, through {PROCESSES} servers",
        f"{over(outcomes)} over, {under} under, {errors} errors",
    )
    assert (over(outcomes), under, errors) == (0, 0, 0)
    with psycopg.connect(url) as other:
        counts = other.execute("SELECT (SELECT sum(uses) FROM invites), (SELECT count(*) FROM redemptions)").fetchone()
    assert counts == (count + RACERS,) * 2


def test_servers_that_look_before_they_act_are_caught(fleet, figures):

    found = over(race(fleet(PROCESSES, sys.executable, tampered.__file__, "look_first"), 10))
    figures(FAULT).catches(f"looks, then acts: {found} over in 10 invites")
    assert found > 0


def hold_all(servers: list[Served], count: int) -> list[int]:
    """Have all hold, release and complete uses of an invite at once, each through its server, again and again.

    How many guests of each invite were let in, with those who take what is left afterwards.
    """
    key = servers[0].run("create", "--may", "redeem")
    links = servers[0].run("invite", "create", "--uses", str(USES), "--count", str(count)).split()
    ports = [each.port for each in servers]
    with ExitStack() as stack:
        doors = [HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60) for number in range(RACERS)]
        programs = [_Program(stack.enter_context(closing(each)), key) for each in doors]
        wanted = [each.partition("?")[2] for each in links]
        outcomes = heats(lambda heat, number: programs[number].visit(wanted[heat], number), count)
        assert [set(each) - {"done", "refused"} for each in outcomes] == [set()] * count
        return [each["done"] + programs[0].take_rest(token) for each, token in zip(outcomes, wanted, strict=True)]


class _Program:
    """A program that holds uses, over one connection."""

    def __init__(self, door: HTTPConnection, key: str) -> None:
        self._door, self._headers = door, JSON | {"Authorization": f"Bearer {key}"}

    def visit(self, token: str, guest: int) -> str:
        """Hold a use for a guest, and release it twice, as who got no answer does, or complete it."""
        for turn in range(3):
            status, hold = self._ask("POST", "", token=token, subject=f"{guest}")
            if status == 201 and (guest + turn) % 3:
                assert [self._ask("DELETE", f"/{hold['id']}")[0] for _ in range(2)] == [204, 204]
            elif status == 201:
                assert self._ask("POST", f"/{hold['id']}/complete")[1]["state"] == "done"
                return "done"
        return "refused"

    def take_rest(self, token: str) -> int:
        """Let in as many guests as can be; how many."""
        guests = (f"late {number}" for number in range(RACERS))
        return len(list(takewhile(lambda each: self._takes(token, each), guests)))

    def _takes(self, token: str, guest: str) -> bool:
        return self._ask("POST", "", token=token, subject=guest, complete=True)[0] == 201

    def _ask(self, method: str, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        self._door.request(method, f"/v1/holds{path}", json.dumps(body) if body else None, self._headers)
        answer = self._door.getresponse()
        return answer.status, json.loads(answer.read() or "{}")


def test_of_64_at_once_at_four_servers_five_are_let_in_by_holds(fleet, url, profile, figures):
    row, count = figures(HOLDS), profile(2, 200)
    found = hold_all(fleet(PROCESSES), count)
    over, under = (sum(max(0, sign * (each - USES)) for each in found) for sign in (1, -1))
    row.shows(
        f"{count:,} invites × {USES} uses × {RACERS} threads, through {PROCESSES} servers",
        f"{over} over, {under} under",
    )
    assert found == [USES] * count
    assert gone(url, set()) == set()


def test_servers_that_give_uses_back_blindly_are_caught(fleet, figures):
    servers = fleet(PROCESSES, sys.executable, tampered.__file__, "give_back_blindly=1")
    with pytest.raises(AssertionError):  # an answer 500, or too many are let in
        assert hold_all(servers, 3) == [USES] * 3
    figures(HOLDS).catches("gives back without its guard: others are let in, or none")


@contextmanager
def balancer(folder: Path, fleet: list[Served]) -> Iterator[Served]:
    """A real nginx that gives the servers their requests in turn."""
    port = free_port()
    upstream = "\n".join(f"server 127.0.0.1:{each.port} max_fails=1 fail_timeout=5s;" for each in fleet)
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ }}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            upstream servers {{ {upstream} }}
            server {{
                listen 127.0.0.1:{port};
                location / {{ proxy_pass http://servers; }}
                location = /invites_api {{ proxy_pass http://servers; proxy_next_upstream off; }}
            }}
        }}
        """
    )
    process = subprocess.Popen([require("nginx", "nginx-light"), "-c", folder / "nginx.conf", "-p", folder])
    try:
        wait_for((folder / "nginx.pid").exists)
        yield dataclasses.replace(fleet[0], process=process, url=f"http://127.0.0.1:{port}", port=port)
    finally:
        process.terminate()
        process.wait(30)


def trouble(dying: Served, front: Served, place: Place, postgresql: postgres.Server) -> list[Answer]:
    """Kill a server, then restart PostgreSQL, in the midst of a crowd's work; what was said while it was not there."""
    time.sleep(1)
    dying.process.kill()
    time.sleep(0.5)
    with postgresql.away("immediate"):
        said = [front.get(f"/invites_api?key={place.key}") for _ in range(4)]
    wait_for(lambda: front.get(f"/invites_api?key={place.key}").status == 201)
    time.sleep(1)
    return said


def gone(url: str, told: set[Fact]) -> set[Fact]:
    """What was told but is not in the database."""
    with psycopg.connect(url) as other:
        return lost_from(lambda query: other.execute(query).fetchall(), told)


def test_a_server_dies_and_postgresql_restarts_and_nothing_is_lost_or_doubled(
    fleet, url, postgresql, tmp_path, profile, figures
):
    row, times = figures(RESTART), profile(1, 20)
    told, refused = set[Fact](), 0
    servers = fleet(2)
    place = Place.furnish(servers[0])
    for _ in range(times):
        (dying,) = fleet(1)
        with balancer(tmp_path, [*servers, dying]) as front, crowd(front, place) as books:
            said = trouble(dying, front, place, postgresql)
        assert {(each.status, each.headers.get("Retry-After")) for each in said} == {(503, "5")}
        assert [each for each in books.rude if ": 502 " not in each] == []  # the balancer's word for the one that died
        told |= books.told
        refused += books.statuses[503]
    missing = gone(url, told)
    row.shows(
        f"{times} times, 3 servers behind nginx, {CLIENTS} clients",
        f"{refused:,} answers 503 with Retry-After, none other 5xx of ours; "
        f"{len(missing)} of {len(told):,} acknowledged writes lost, nothing used twice",
    )
    assert missing == set()


def test_servers_that_answer_before_they_commit_are_caught(fleet, url, postgresql, tmp_path, figures):
    servers = fleet(3, sys.executable, tampered.__file__, "answer_first=0.5")
    place = Place.furnish(servers[0])
    time.sleep(1)
    with balancer(tmp_path, servers) as front, crowd(front, place) as books:
        trouble(servers[2], front, place, postgresql)
    missing = gone(url, books.told)
    figures(RESTART).catches(f"answers before it commits: {len(missing)} of {len(books.told)} lost")
    assert missing


class Follower:
    """A program that asks for what happened since it last asked, of one server after the other."""

    def __init__(self, servers: list[Served]) -> None:
        self._servers, self.cursor, self.told = servers, "", list[str]()
        self._shown = {"Authorization": f"Bearer {servers[0].run('create', '--may', 'read')}"}

    def ask(self) -> int:
        """Ask once; how much was new."""
        self._servers.append(self._servers.pop(0))
        path = f"/v1/events?limit=200{self.cursor and f'&cursor={self.cursor}'}"
        page = json.loads(self._servers[0].get(path, **self._shown).body)
        self.told += [each["id"] for each in page["events"]]
        self.cursor = page["next"]
        return len(page["events"])

    def follow(self, over: threading.Event) -> None:
        """Ask until it is over, and until nothing is new."""
        while not over.is_set() or self.ask():
            self.ask()


def followed(servers: list[Served], place: Place, folder: Path, seconds: float) -> tuple[list[str], list[str]]:
    """What a follower was told while a crowd was at work for so long; and what it would be told now."""
    follower, over = Follower([*servers]), threading.Event()
    with balancer(folder, servers) as front, ThreadPoolExecutor(1) as pool:
        following = pool.submit(follower.follow, over)
        with crowd(front, place):
            time.sleep(seconds)
        over.set()
        following.result()
    told, follower.told, follower.cursor = follower.told, [], ""
    while follower.ask():
        pass
    return told, follower.told


def test_who_follows_several_servers_is_told_everything_once(fleet, url, tmp_path, profile, figures):
    servers = fleet(PROCESSES)
    told, there = followed(servers, Place.furnish(servers[0]), tmp_path, profile(3, 120))
    figures(FOLLOWED).shows(
        f"{len(there):,} events in {profile(3, 120)} s, PostgreSQL",
        f"{len(set(there) - set(told))} missed, {len(told) - len(set(told))} told twice, all in the order of commits",
    )
    assert len(there) > 100
    assert told == there
    assert gone(url, set()) == set()


def test_servers_that_tell_what_others_may_still_come_before_are_caught(fleet, tmp_path, figures):
    servers = fleet(PROCESSES, sys.executable, tampered.__file__, "unbound=1")
    place = Place.furnish(servers[0])
    for _ in range(5):
        told, there = followed(servers, place, tmp_path, 5)
        if missed := len(set(there) - set(told)):
            break
    figures(FOLLOWED).catches(f"does not wait for what has an earlier number: {missed} of {len(there)} missed")
    assert missed > 0
