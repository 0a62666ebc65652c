"""Programs at apps behind the gate: calendars at a real Radicale, and websockets, by the real nginx and Caddy."""

import asyncio
import base64
import socket
import subprocess
from contextlib import contextmanager, suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from programs import require
from proxied import CALENDAR, CHAT, Caller, Town, Visitor
from rules import accounts, sessions
from settings import HOME

pytestmark = [pytest.mark.any_database, pytest.mark.long, pytest.mark.xdist_group("gate_proxies")]

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Tea Garden//EN
BEGIN:VEVENT
UID:tea@example.org
DTSTAMP:20261201T120000Z
DTSTART:20261205T150000Z
DTEND:20261205T160000Z
SUMMARY:Tea in the garden
END:VEVENT
END:VCALENDAR
"""
QUERY = (
    '<c:calendar-query xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:d="DAV:">'
    "<d:prop><c:calendar-data/></d:prop></c:calendar-query>"
)


@pytest.fixture(params=["nginx", "caddy"])
def caller(request, town) -> Caller:
    return town.callers[request.param]


def basic(password: str) -> tuple[str, str]:
    return "Authorization", f"Basic {base64.b64encode(f'any:{password}'.encode()).decode()}"


# Calendars


def test_a_calendar_asks_for_a_password_and_takes_a_pass(caller, town):
    asked = caller.call("PROPFIND", f"{CALENDAR}/", ("Depth", "0"))
    assert asked.status == 401
    assert any(each.startswith("Basic ") for each in asked.headers.get_all("WWW-Authenticate"))
    shown = basic(town.program("bob", "calendar"))
    place = f"{CALENDAR}/bob/tea-{caller.name}/"
    assert caller.call("MKCALENDAR", place, shown).status == 201
    kept = caller.call("PUT", f"{place}tea.ics", shown, ("Content-Type", "text/calendar"), body=EVENT.encode())
    assert kept.status == 201
    found = caller.call("REPORT", place, shown, ("Depth", "1"), body=QUERY.encode())
    assert found.status == 207
    assert "Tea in the garden" in found.text
    assert caller.call("DELETE", place, shown).status == 200


def test_a_calendar_program_keeps_an_event_and_finds_it_again(caller, town):
    python = require("caldav-python", "tests/clients/install", by="run")
    there = f"127.0.0.1:{caller.port_of(CALENDAR)}"
    shown = [f"{CALENDAR}/", there, town.folder / "nginx" / "ca.pem", town.program("bob", "calendar")]
    command = [python, HOME / "tests" / "clients" / "caldav_client.py", *shown]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "Tea in the garden\n"), done.stderr


@pytest.fixture(scope="module")
def kay(town) -> tuple[str, str]:
    """What the calendar program of another member shows."""
    town.person("kay", "calendar")
    return basic(town.program("kay", "calendar"))


@pytest.mark.parametrize("name", ["X-Remote-User", "x_remote_user", "X.Remote-User", "X-Remote_User", "Remote-User"])
def test_nobody_opens_the_calendar_of_another_person(name, caller, kay):
    made_up = (name, "bob")
    assert caller.call("PROPFIND", f"{CALENDAR}/kay/", kay, ("Depth", "0"), made_up).status == 207
    assert caller.call("PROPFIND", f"{CALENDAR}/bob/", kay, ("Depth", "0"), made_up).status == 403


# Websockets


class Chat:
    """A websocket that is open."""

    def __init__(self, loop: asyncio.Runner, connection: ClientConnection) -> None:
        self._loop, self._connection = loop, connection

    def recv(self) -> str | bytes:
        """What comes next, within ten seconds."""
        return self._loop.run(asyncio.wait_for(self._connection.recv(), 10))

    def send(self, text: str) -> None:
        self._loop.run(self._connection.send(text))


@contextmanager
def chatting(caller: Caller, *headers: tuple[str, str]):
    """A websocket to the chat, without the threads of websockets.sync, two of which use one TLS connection at once."""
    there = {"ssl": caller.context, "server_hostname": "chat.example.org", "proxy": None}

    async def opened() -> ClientConnection:
        plain = socket.create_connection(("127.0.0.1", caller.port_of(CHAT)))
        return await connect("wss://chat.example.org/", sock=plain, additional_headers=headers, **there)

    with asyncio.Runner() as loop:
        connection = loop.run(opened())
        yield Chat(loop, connection)
        loop.run(connection.close())


def cookie(visitor: Visitor) -> tuple[str, str]:
    return "Cookie", "; ".join(f"{name}={value}" for name, value in visitor.jar["chat.example.org"].items())


def entered(caller: Caller, town: Town, name: str) -> Visitor:
    """A browser with a pass for the chat, which has no pages."""
    visitor = town.signed_in(caller.name, name)
    with suppress(AssertionError):
        visitor.visit(f"{CHAT}/")
    return visitor


def test_a_websocket_opens_for_a_member_and_for_nobody_else(caller, town):
    for shown in (cookie(entered(caller, town, "bob")), basic(town.program("bob", "chat"))):
        with chatting(caller, shown, ("Remote-User", "root"), ("remote_user", "root")) as chat:
            assert chat.recv() == "bob"
            chat.send("hello")
            assert chat.recv() == "hello"
    for shown in ((), (("Cookie", "__Host-invite-pass-chat=x"),)):
        with pytest.raises(InvalidStatus) as refused, chatting(caller, *shown):
            pass
        assert refused.value.response.status_code == 401


def test_an_open_websocket_outlives_a_removal_and_no_other_opens(caller, town):
    town.person(f"lou-{caller.name}", "chat")
    shown = cookie(entered(caller, town, f"lou-{caller.name}"))
    with chatting(caller, shown) as chat:
        assert chat.recv() == f"lou-{caller.name}"
        town.change(lambda: sessions.end_all(accounts.named(f"lou-{caller.name}")))
        chat.send("still here")
        assert chat.recv() == "still here"
        with pytest.raises(InvalidStatus), chatting(caller, shown):
            pass
