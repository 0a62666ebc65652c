"""A real Synapse to be compared with: its registration tokens over SQLite, with so many of them in it.

It is installed from PyPI into an environment of its own, bench/.cache/synapse, when it is first asked for.
"""

import http.client
import json
import sqlite3
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from common import free_port, wait_until_it_listens

import clock

HOST = "chat.example"
HOME = Path(__file__).resolve().parent / ".cache" / "synapse"
PACKAGE = "matrix-synapse==1.163.2"
NEW, VALIDITY = (
    "/_synapse/admin/v1/registration_tokens/new",
    "/_matrix/client/v1/register/m.login.registration_token/validity",
)
UNLIMITED = {"per_second": 1_000_000, "burst_count": 1_000_000}


@dataclass
class Synapse:
    """A running one; `headers` are those of its admin, `token` is an open registration token of its."""

    port: int
    headers: Mapping[str, str]
    token: str


def is_installed() -> bool:
    """Whether it is there."""
    return (HOME / "bin" / "register_new_matrix_user").exists()


def install() -> None:
    """Install Synapse into its environment, unless it is there."""
    if is_installed():
        return
    venv.create(HOME, with_pip=True)
    command = [HOME / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE]
    subprocess.run(command, check=True)


@contextmanager
def synapse(stored: int) -> Iterator[Synapse]:
    """A Synapse of one's own, with so many open registration tokens in its database."""
    install()
    with TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        config = folder / "synapse.json"  # JSON is YAML as well
        config.write_text(json.dumps(_config(folder, port)))
        (folder / "log.json").write_text(json.dumps({"version": 1, "root": {"level": "ERROR"}}))
        run = [HOME / "bin" / "python", "-m", "synapse.app.homeserver", "-c", config]
        subprocess.run([*run, "--generate-keys"], check=True, stdout=subprocess.DEVNULL)
        process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_it_listens(port)
            _fill(folder / "synapse.sqlite", stored)
            headers = _admin(config, port)
            yield Synapse(port, headers, _asked(port, NEW, {}, headers)["token"])
        finally:
            process.terminate()
            process.wait()


def _config(folder: Path, port: int) -> Mapping[str, object]:
    """All that is not as it is by itself: where it listens, its files, and no rate limits."""
    listens = {"bind_addresses": ["127.0.0.1"], "port": port, "type": "http", "resources": [{"names": ["client"]}]}
    limits = ("address", "account", "failed_attempts")
    return {
        "server_name": HOST,
        "listeners": [listens],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "synapse.sqlite")}},
        "log_config": str(folder / "log.json"),
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "pid_file": str(folder / "synapse.pid"),
        "registration_shared_secret": clock.random_hex(16),
        "macaroon_secret_key": clock.random_hex(16),
        "form_secret": clock.random_hex(16),
        "registration_requires_token": True,
        "enable_registration": True,
        "report_stats": False,
        "trusted_key_servers": [],
        "rc_registration_token_validity": UNLIMITED,
        "rc_login": dict.fromkeys(limits, UNLIMITED),
    }


def _fill(file: Path, stored: int) -> None:
    """Write tokens as Synapse does: one use each, none yet, no end."""
    rows = ((clock.random_text(12), 1, 0, 0, None) for _ in range(stored))
    columns = "token, uses_allowed, pending, completed, expiry_time"
    with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
        connection.executemany(f"INSERT INTO registration_tokens ({columns}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608


def _admin(config: Path, port: int) -> Mapping[str, str]:
    """The headers of a new admin's calls."""
    password = clock.random_hex(8)
    command = [HOME / "bin" / "register_new_matrix_user", "-u", "root", "-p", password, "-a", "-c", config]
    subprocess.run([*command, f"http://127.0.0.1:{port}"], check=True, stdout=subprocess.DEVNULL)
    who = {"type": "m.id.user", "user": "root"}
    login = {"type": "m.login.password", "identifier": who, "password": password}
    token = _asked(port, "/_matrix/client/v3/login", login, {})["access_token"]
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


def _asked(port: int, path: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Mapping[str, str]:
    """What a POST answers; ends the run if it is refused."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path, json.dumps(body), dict(headers))
        answer = connection.getresponse()
        found: Mapping[str, str] = json.loads(answer.read())
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {found}")
    return found


if __name__ == "__main__":
    install()
    print(f"Synapse is in {HOME}", file=sys.stderr)
