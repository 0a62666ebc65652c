"""Installing it as people do: one name in the environment, the data in the user's folder, among modules of any name."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import servers
from programs import require
from settings import HOME, PREFIX

pytestmark = pytest.mark.sqlite

SECRET = "the secret of whoever builds a package of their checkout"


@dataclass
class Environment:
    """An environment of Python with our dependencies in it, for a user with a home of their own."""

    folder: Path
    home: Path
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "XDG_"))}
        self.environ = inherited | {"HOME": str(self.home), "PYTHONPATH": ""}
        self.home.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder], check=True)
        # Off-line and quick: the packages of the tests, without what their own .pth files lead to.
        (self.packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.folder)}))

    @property
    def ours(self) -> set[str]:
        """What we have put there."""
        return {each.name for each in self.packages.iterdir()} - {"dependencies.pth"}

    def install(self, *what: str | Path) -> None:
        """Install a wheel, or a checkout with ``-e``, without its dependencies."""
        pip = [sys.executable, "-m", "pip", "-q", "--python", self.python, "install", "--no-compile"]
        offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        subprocess.run([*pip, *offline, *what], env=self.environ, check=True)

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        """The command that it got."""
        return self.folder / "bin" / "invite-api"

    @property
    def data(self) -> Path:
        """Where the user's data belongs."""
        return self.home / ".local" / "share" / "invite-api"

    def run(self, *arguments: str, by: tuple[str | Path, ...] = (), **more: str) -> subprocess.CompletedProcess[str]:
        """Run the command, in the home of its user."""
        call = [*(by or (self.command,)), *arguments]
        environ = self.environ | more
        return subprocess.run(call, capture_output=True, text=True, cwd=self.home, env=environ, check=False)


def files(folder: Path) -> set[Path]:
    """All files in an environment but what Python keeps there of modules it has read."""
    return {each for each in folder.rglob("*") if each.is_file() and each.suffix != ".pyc"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A clean checkout, in use: it has a database and a secret."""
    folder = tmp_path_factory.mktemp("checkout") / "invite-api"
    left_out = shutil.ignore_patterns(".git", ".venv", ".cache", ".*_cache", ".hypothesis", "instance", "__pycache__")
    shutil.copytree(HOME, folder, ignore=left_out)
    (folder / "instance").mkdir()
    (folder / "instance" / "secret.key").write_text(SECRET)
    return folder


def build(checkout: Path, kind: str) -> Path:
    """A package of a checkout: ``wheel`` or ``sdist``."""
    to = checkout.with_name(f"{checkout.name}-{kind}")
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", to]
    subprocess.run(command, cwd=checkout, capture_output=True, check=True)
    (built,) = to.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(copy) -> Path:
    return build(copy, "wheel")


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Environment:
    """An environment outside of the checkout, with the wheel in it."""
    folder = tmp_path_factory.mktemp("environment")
    made = Environment(folder / "venv", folder / "home")
    made.install(wheel)
    return made


@pytest.fixture
def installed(environment) -> Environment:
    """The same, for a user who has nothing yet."""
    shutil.rmtree(environment.home)
    environment.home.mkdir()
    return environment


@pytest.fixture
def hostile(tmp_path) -> Path:
    """A folder with other people's modules under all of our names."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    names = {each.stem for each in HOME.glob("*.py")} | {each.parent.name for each in HOME.glob("*/__init__.py")}
    for each in {*names, "config", "server"} - {"invite_api", "conftest", "tests"}:
        (folder / f"{each}.py").write_text(f"raise SystemExit('the {each} of somebody else')\n")
    return folder


@pytest.mark.long
def test_a_wheel_puts_one_name_into_an_environment(installed):
    assert {each.partition("-")[0] for each in installed.ours} == {"invite_api"}
    assert len(installed.ours) == 2  # the second describes it


@pytest.mark.long
def test_an_invite_is_found_again_after_a_restart_and_nothing_is_written_into_the_environment(
    installed, tmp_path, monkeypatch
):
    before = files(installed.folder)
    monkeypatch.setenv("HOME", str(installed.home))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with servers(tmp_path) as serve:
        first = serve([installed.command], INSTANCE="")
        assert f"its database is {installed.data / 'invites.db'}" in first.log.read_text()
        key = installed.run("create").stdout.strip()
        made = first.get(f"/invites_api?key={key}")
        first.process.terminate()
        assert first.process.wait(20) == 0
        token = made.headers["Location"].partition("?")[2]
        second = serve([installed.command], INSTANCE="")
        assert second.get(f"/invite?{token}").status == 200
        assert second.get("/static/style.css").status == 200
        assert second.get("/openapi.json").status == 200
    assert installed.run("invite", "list").stdout.count("active") == 1
    assert installed.run("db", "path").stdout == f"{installed.data / 'invites.db'}\n"
    assert {"invites.db", "secret.key"} <= set(os.listdir(installed.data))
    assert files(installed.folder) == before


@pytest.mark.long
def test_the_users_data_folder_may_be_elsewhere(installed, tmp_path):
    told = installed.run("db", "path", XDG_DATA_HOME=str(tmp_path))
    assert told.stdout == f"{tmp_path}/invite-api/invites.db\n"
    told = installed.run("db", "path", INVITE_API_INSTANCE=str(tmp_path))
    assert told.stdout == f"{tmp_path}/invites.db\n"


def test_an_installed_command_passes_by_other_peoples_modules(installed, hostile):
    done = installed.run("create", PYTHONPATH=str(hostile))
    assert (done.returncode, done.stderr) == (0, "")
    shutil.copytree(hostile, installed.home, dirs_exist_ok=True)
    done = installed.run("list", by=(installed.python, "-m", "invite_api"))  # looks first where it is typed
    assert (done.returncode, done.stderr) == (0, "")
    assert "\t" in done.stdout


def test_the_modules_of_other_people_would_be_noticed(installed, hostile):
    launched = f"import sys; sys.path.insert(0, {str(hostile)!r}); from cli import main; main()"
    done = installed.run("create", by=(installed.python, "-c", launched))
    assert "the cli of somebody else" in done.stderr


def test_modules_that_were_loaded_before_us_under_our_names_are_not_taken_for_ours(installed, tmp_path):
    (tmp_path / "settings").mkdir()
    for name in ("settings/__init__.py", "settings/deep.py", "models.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "sitecustomize.py").write_text("import models, settings.deep\n")
    done = installed.run("create", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_who_does_not_own_the_database_is_told_who_does(installed):
    """As with a sudo that keeps HOME."""
    assert installed.run("create").returncode == 0
    os.chown(installed.data / "invites.db", 65534, 65534)
    done = installed.run("list")
    assert done.returncode == 1
    assert "belongs to another user; run this as its owner: sudo -u nobody invite-api …" in done.stderr


def test_a_source_distribution_has_no_secret_and_makes_the_same_wheel(copy, wheel, tmp_path):
    with tarfile.open(build(copy, "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert not (source / "instance").exists()
    assert (source / "tests" / "conftest.py").exists()
    assert build(source, "wheel").read_bytes() == wheel.read_bytes()


def test_all_that_runs_is_in_the_wheel_and_nothing_else(wheel):
    packed = {Path(each) for each in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in each}
    call = [require("git", "git"), "ls-files"]
    listed = subprocess.run(call, capture_output=True, text=True, check=True, cwd=HOME).stdout
    runs = {each for each in map(Path, listed.splitlines()) if each.suffix in (".py", ".sql", ".html", ".txt", ".po")}
    apart = {"tests", "bench", "docs", "examples", "requirements.txt"}
    runs = {each for each in runs if each.parts[0] not in apart} - {Path("invite_api/wheel.py")}
    assert {Path("invite_api") / each for each in runs if each.parts[0] != "invite_api"} <= packed
    assert {each.parts[0] for each in packed} == {"invite_api"}
    assert not any("instance" in each.parts or "tests" in each.parts for each in packed)


@pytest.mark.long
def test_an_editable_install_stays_with_its_checkout(copy, hostile, tmp_path):
    environment = Environment(tmp_path / "venv", tmp_path / "home")
    environment.install("-e", copy)
    assert {each for each in environment.ours if "-" not in each} == {"_invite_api.pth"}
    done = environment.run("db", "path", PYTHONPATH=str(hostile))
    assert (done.stdout, done.stderr) == (f"{copy / 'instance' / 'invites.db'}\n", "")
    assert not environment.data.exists()
