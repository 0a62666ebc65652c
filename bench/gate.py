"""What the gate costs an app behind nginx, with few members stored and with many; writes bench/GATE.md.

Run it with `python bench/gate.py` (wrk and nginx-light from Debian's packages), or `--smoke` for a glance. The apps are
a page and a constant of a Flask application, and nginx itself. The same nginx stands before each, with the gate and,
at a public path, without. Everything runs on this one machine, the load too.
"""

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from common import free_port, instance, machine, row, serving, wait_until_it_listens
from load import Call, load
from run import hello
from sqlalchemy import select

import clock
import database
from models import Session
from rules import accounts, gate, projects, proxies, sessions
from settings import Settings, in_force

HERE = Path(__file__).resolve().parent
ORIGIN = "http://photos.example.org"
FEW, MANY = 1_000, 1_000_000
COUNTS = (8, 32)
MEMBERS = "id, project_id, user_id, role, joined_at"
USERS = "id, username, created_at"


def fill(settings: Settings, members: int) -> dict[str, str]:
    """Make a database with a project of so many members; the headers with which one of them asks for the app."""
    house = database.open_database(settings)
    with house.writing():
        owner = accounts.create(accounts.Names("owner"))
        project = projects.create(owner, projects.ProjectDraft("Photos"))
        gate.set_origins("photos", [ORIGIN])
        sessions.start_in_browser(owner)
        session_id = database.session().scalars(select(Session.id)).one()
        cookie, project_id = gate.sign_browser_pass(session_id, gate.find("photos", "photos.example.org")), project.id
    moment = f"{clock.now():%Y-%m-%d %H:%M:%S.%f}"
    people = [(clock.new_id(), f"guest-{number}", moment) for number in range(members)]
    with closing(sqlite3.connect(database.files.file_of(settings))) as connection, connection:
        connection.executemany(f"INSERT INTO users ({USERS}) VALUES (?, ?, ?)", people)  # noqa: S608
        rows = ((clock.new_id(), project_id, each[0], "member", moment) for each in people)
        connection.executemany(f"INSERT INTO members ({MEMBERS}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608
    return {"Host": "photos.example.org", "Cookie": f"invite-pass-photos={cookie}"}


@contextmanager
def nginx(settings: Settings, port: int, app: int | None) -> Iterator[int]:
    """The port of nginx as the command configures it, before an app; without one it is the app as well."""
    here, itself = free_port(), free_port()
    with in_force(replace(settings, port=port)):
        made = proxies.app(f"127.0.0.1:{app or itself}", ["/public/"])
        printed = proxies.configuration("nginx", "photos", [ORIGIN], made)
    printed = printed.replace("listen 80", f"listen 127.0.0.1:{here}").replace("    listen [::]:80;\n", "")
    static = f"server {{ listen 127.0.0.1:{itself}; keepalive_requests 1000000; return 200 hello; }}"
    with TemporaryDirectory() as folder:
        user = "" if os.geteuid() else "user root;"
        kinds = ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{each}_temp_path {folder}/{each};" for each in kinds)
        (Path(folder) / "nginx.conf").write_text(
            f"{user} pid {folder}/pid; daemon off; error_log {folder}/error.log crit; events {{}}\n"
            f"http {{ {temporary} access_log off; keepalive_requests 1000000; {static}\n{printed} }}"
        )
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        process = subprocess.Popen([str(program), "-p", folder, "-c", "nginx.conf", "-e", f"{folder}/error.log"])
        try:
            wait_until_it_listens(here)
            yield here
        finally:
            process.terminate()
            process.wait()


def calls(stack: ExitStack, members: int) -> dict[str, tuple[int, Call]]:
    """What is asked for with so many members stored, by its name: the port, and the call."""
    settings = stack.enter_context(instance())
    shown = fill(settings, members)
    served = stack.enter_context(serving(settings))
    flask = stack.enter_context(nginx(settings, served.port, stack.enter_context(hello())))
    static = stack.enter_context(nginx(settings, served.port, None))
    at_app = {"Host": shown["Host"]}
    return {
        "the gate alone": (served.port, Call(["/gate/photos"], headers={**shown, "X-Forwarded-Host": shown["Host"]})),
        "a page of a Flask app": (flask, Call(["/list"], headers=shown)),
        "a page of a Flask app, no gate": (flask, Call(["/public/list"], headers=at_app)),
        "a constant of a Flask app": (flask, Call(["/"], headers=shown)),
        "a constant of a Flask app, no gate": (flask, Call(["/public/"], headers=at_app)),
        "nginx as an app": (static, Call(["/"], headers=shown)),
        "nginx as an app, no gate": (static, Call(["/public/"], headers=at_app)),
    }


def report(smoke: bool) -> Iterator[str]:
    """GATE.md, line by line."""
    seconds, rounds = (1, 1) if smoke else (2, 3)
    sizes, counts = ((FEW,), (32,)) if smoke else ((FEW, MANY), COUNTS)
    rates: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    with ExitStack() as stack:
        asked = {size: calls(stack, size) for size in sizes}
        for number in range(rounds):
            for connections in counts:
                for size, named in asked.items():
                    for name, (port, call) in named.items():
                        rates[name, size, connections].append(load(port, call, connections, seconds).rate)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    yield "# What the gate costs, measured\n"
    yield f"{machine()}; nginx, the apps and the load share these cores. `python bench/gate.py`: {rounds} rounds of"
    yield f"{seconds} s that alternate, medians (minimum to maximum).\n"
    yield row("what", "members", "connections", "a second", "of it without a gate", f"of it with {FEW:,} members")
    yield row(*["---"] * 6)
    for (name, size, connections), found in rates.items():
        told = f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})"
        bare = share(found, rates.get((f"{name}, no gate", size, connections)))
        yield row(name, f"{size:,}", connections, told, bare, share(found, rates[name, FEW, connections]))


def share(found: list[float], beside: list[float] | None) -> str:
    """How many times as often as what stands beside it; "" if nothing does."""
    return f"{statistics.median(found) / statistics.median(beside):.2f}" if beside else ""


def main() -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a glance: one short round, nothing written")
    smoke = parser.parse_args().smoke
    text = "\n".join(report(smoke)) + "\n"
    print(text)
    if not smoke:
        (HERE / "GATE.md").write_text(text)


if __name__ == "__main__":
    main()
