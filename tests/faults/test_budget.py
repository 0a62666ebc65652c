"""Many create at once as one account with a few places left: as many invites are created as it has places."""

import json
import sys
from collections import Counter
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest

from conftest import PASSWORD, Served
from faults import tampered
from faults.crowd import JSON
from faults.test_race import RACERS, heats

pytestmark = [pytest.mark.xdist_group("postgresql"), pytest.mark.own_postgresql, pytest.mark.long]

PLACES = 5
FAULT = f"budget: the last places, {RACERS} threads at once"
WITH_SERVERS = {"SQLite": 1, "PostgreSQL": 4}
TAMPERED = (sys.executable, tampered.__file__, "remembers_budgets=1")


@pytest.fixture(params=WITH_SERVERS)
def begin(request, serve):
    """Start the servers of a database, in which everybody may invite five people; and what its row is called."""
    count = WITH_SERVERS[request.param]

    def start(*command: str) -> list[Served]:
        if count == 1:
            return [serve(command, BUDGET=f"{PLACES}/30d") if command else serve(BUDGET=f"{PLACES}/30d")]
        return request.getfixturevalue("fleet")(count, *command, BUDGET=f"{PLACES}/30d")

    return start, f"{FAULT}, {request.param}"


def inviters(served: Served, count: int) -> list[str]:
    """The headers of so many accounts."""
    token = served.run("invite", "create", "--uses", str(count)).partition("?")[2]

    def register(number: int) -> str:
        body = {"invite_token": token, "email": f"inviter{number}@example.org", "password": PASSWORD}
        answer = served.get("/auth/register/with-invite", "POST", json.dumps(body).encode(), **JSON)
        return f"Bearer {json.loads(answer.body)['token']}"

    return [register(number) for number in range(count)]


def race(servers: list[Served], count: int) -> list[Counter[str]]:
    """Have all create an invite at once as one account, each through its server, again and again as another one.

    What each was told.
    """
    bearers, ports = inviters(servers[0], count), [each.port for each in servers]
    with ExitStack() as stack:
        doors = [
            stack.enter_context(closing(HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=60)))
            for number in range(RACERS)
        ]

        def create(heat: int, number: int) -> str:
            headers = JSON | {"Authorization": bearers[heat]}
            doors[number].request("POST", "/api/invite", json.dumps({"name": "Dora"}), headers)
            answer = doors[number].getresponse()
            said = json.loads(answer.read())
            return "created" if answer.status == 201 else f"{answer.status} {said['code']}"

        return heats(create, count)


def test_of_64_at_once_as_many_create_as_there_are_places(begin, profile, figures):
    start, fault = begin
    count = profile(3, 200)
    servers = start()
    found = race(servers, count)
    over, under = (sum(max(0, sign * (each["created"] - PLACES)) for each in found) for sign in (1, -1))
    figures(fault).shows(
        f"{count} accounts × {PLACES} places × {RACERS} threads, through {len(servers)} servers",
        f"{over} over, {under} under, all others told when",
    )
    assert found == [{"created": PLACES, "429 BUDGET_SPENT": RACERS - PLACES}] * count


def test_servers_that_remember_what_was_spent_are_caught(begin, figures):
    start, fault = begin
    over = sum(each["created"] - PLACES for each in race(start(*TAMPERED), 3))
    figures(fault).catches(f"looks up once what was spent: {over} over in 3 accounts")
    assert over > 0
