"""A real Prosody to be compared with, over its default storage or over SQLite, with so many invites in it."""

import http.client
import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from common import free_port, wait_until_it_listens

import clock

HOST = "chat.example"
STORAGES = {
    "internal": 'storage = "internal"',
    "sqlite": 'storage = "sql"; sql = {{ driver = "SQLite3", database = "{folder}/data/prosody.sqlite" }}',
}
CONFIG = """
data_path = "{folder}/data"
plugin_paths = {{ "{folder}/plugins" }}
log = {{ error = "{folder}/prosody.log" }}
run_as_root = true
modules_enabled = {{ "invites", "invites_api", "invites_page", "invites_register", "invites_register_web" }}
modules_disabled = {{ "c2s", "s2s", "offline" }}
http_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {port} }}
https_ports = {{}}
http_default_host = "{host}"
http_external_url = "http://127.0.0.1:{port}/"
http_paths = {{ invites_page = "/invite", invites_register_web = "/register" }}
{storage}
VirtualHost "{host}"
"""
# mod_invites_register_web does not load without this, which Debian leaves out.
POLICY = "function get_policy() return { length = 8 } end\nfunction check_password() return true end\n"


@dataclass
class Prosody:
    """A running one; `key` is a good key of its, `token` that of an open invite."""

    port: int
    key: str
    token: str


def missing() -> list[str]:
    """The Debian packages without which there is nothing to compare with."""
    needed = {"prosody": "prosody prosody-modules lua-dbi-sqlite3", "wrk": "wrk"}
    return [packages for program, packages in needed.items() if shutil.which(program) is None]


@contextmanager
def prosody(storage: str, stored: int) -> Iterator[Prosody]:
    """A Prosody of one's own, with so many open invites in its store."""
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        for each in ("data", "plugins"):
            (folder / each).mkdir()
        (folder / "plugins" / "mod_password_policy.lua").write_text(POLICY)
        config = folder / "prosody.cfg.lua"
        chosen = STORAGES[storage].format(folder=folder)
        config.write_text(CONFIG.format(folder=folder, port=port, host=HOST, storage=chosen))
        control = ["prosodyctl", "--config", str(config), "mod_invites_api", "create", HOST, "bench"]
        key = subprocess.run(control, capture_output=True, text=True, check=True).stdout.split()[-1]
        _fill(folder, storage, stored)
        process = subprocess.Popen(
            [shutil.which("prosody") or "", "-F", "--config", str(config)], stdout=subprocess.DEVNULL
        )
        try:
            wait_until_it_listens(port)
            yield Prosody(port, key, _token(port, key))
        finally:
            process.kill()
            process.wait()


def _fill(folder: Path, storage: str, stored: int) -> None:
    """Write invites into the store as mod_invites does."""
    now = int(clock.now().timestamp())
    facts = {"type": "register", "created_at": now, "expires": now + 7 * 86400}
    if storage == "internal":
        lines = [f'["{clock.random_text(18)}"] = {{ {_lua({**facts, "reusable": False})} }};' for _ in range(stored)]
        host = folder / "data" / HOST.replace(".", "%2e")
        host.mkdir(parents=True, exist_ok=True)
        (host / "invite_token.dat").write_text("return {\n" + "\n".join(lines) + "\n};\n")
        return
    rows = ((HOST, "", "invite_token", clock.random_text(18), "json", json.dumps(facts)) for _ in range(stored))
    with closing(sqlite3.connect(folder / "data" / "prosody.sqlite")) as connection, connection:
        connection.executemany(
            'INSERT INTO prosody (host, "user", store, "key", type, value) VALUES (?,?,?,?,?,?)', rows
        )


def _token(port: int, key: str) -> str:
    """The token of a new invite."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/invites_api?key={key}")
    location = connection.getresponse().headers["Location"]
    connection.close()
    return str(location).partition("?")[2]


def _lua(facts: dict[str, object]) -> str:
    return " ".join(f'["{name}"] = {json.dumps(value)};' for name, value in facts.items())
