"""What the tests share: a house of their own for each test, the real command, the real server."""

import asyncio
import atexit
import gc
import html
import os
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path
from typing import IO, Any

import flask
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP
from argon2 import PasswordHasher
from selenium import webdriver
from sqlalchemy import Engine, create_engine, event, text

import axe
import clock
import compiled
import database
import described
import forked
import memory
import postgres
import programs
from app import create_app
from chromium import Window, started
from faults import figures
from models import ApiKey, Code, Invite, Member
from programs import require
from rules import (
    accounts,
    blocked_addresses,
    deliveries,
    drafts,
    gate,
    invites,
    keys,
    passes,
    passwords,
    presets,
    projects,
    redemption,
    sessions,
    tokens,
    webhooks,
)
from settings import HOME, PREFIX, Settings, in_force, load_settings
from upkeep import backup

flask.Flask.test_client_class = described.Client
flask.Flask.url_map_class = compiled.MapDrawnOnce
flask.Flask.jinja_options = {"bytecode_cache": compiled.TemplatesCompiledOnce()}
event.listen(Engine, "engine_connect", compiled.share_statements)
AS_SERVED = passwords._hasher  # what the servers and commands hash with, which are other processes
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # as theirs, with a hundredth of the work

# The many processes that the tests start begin sooner where they find the modules compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if folder := memory.folder():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)  # where pytest makes what is called tmp_path

COMMAND = Path(sys.executable).parent / "invite-api"


LONG = pytest.StashKey[int]()  # how many tests were left out since they take long


def _found(program: str, package: str) -> str:
    """The path of a program without which nothing is tested at all."""
    if path := programs.found(program):
        return path
    raise LookupError(f"{program} is not installed here: apt-get install {package}")


def pytest_addoption(parser):
    """What CI adds to a newcomer's run: the long harnesses, and the other engine; and what a release adds."""
    parser.addoption("--long", action="store_true", help="the long harnesses, too (marked `long`)")
    parser.addoption("--postgresql", action="store_true", help="all tests that are not about SQLite, on PostgreSQL")
    parser.addoption("--full", action="store_true", help="tests/faults: the hour-long profile, for docs/ROBUSTNESS.md")
    parser.addoption("--passed", type=Path, metavar="FILE", help="write down which tests have passed")
    parser.addoption("--but", type=Path, metavar="FILE", help="leave out the tests that a run before has written there")


def pytest_configure(config):
    """Gather what a full run shows, in the process that sees all of it; what is named is run, however long it takes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # a Mac's `most` is endless, and more than it takes
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # usually 1,024, which thousands of tests exceed
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background, as all it starts
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.args_source is config.ArgsSource.ARGS or config.getoption("keyword") or config.getoption("full"):
        config.option.long = True
    if config.getoption("full") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(figures.Recorder())
    if config.getoption("postgresql") and not hasattr(config, "workerinput"):
        config.add_cleanup(_start_postgresql().remove)


def _start_postgresql() -> postgres.Server:
    """Start the server that all tests use, each with a database of its own."""
    try:
        server = postgres.Server(_found)
    except LookupError as error:
        raise pytest.UsageError(str(error)) from error
    server.start()
    os.environ[postgres.ADDRESS] = server.url
    return server


def pytest_collection_modifyitems(config, items):
    """Leave out what the run was not asked for: it is counted at the end, or was tested without --postgresql."""
    if not config.getoption("long"):
        short = [each for each in items if not each.get_closest_marker("long")]
        config.stash[LONG] = len(items) - len(short)
        _leave_out(config, items, short)  # to skip them one by one took as long as a seventh of the tests
    if config.getoption("postgresql"):
        elsewhere = {"sqlite", "own_postgresql", "any_database"}
        ours = [each for each in items if not elsewhere & {mark.name for mark in each.iter_markers()}]
        _leave_out(config, items, ours)
    if file := config.getoption("but"):
        passed = set(file.read_text().splitlines())
        _leave_out(config, items, [each for each in items if _name(each) not in passed])


def pytest_collection_finish():
    """Do not look through the thousands of tests for garbage again and again: that took a third of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)


def pytest_sessionfinish(session):
    """Have a worker say how many tests it was not asked for."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["long"] = session.config.stash.get(LONG, 0)


def pytest_testnodedown(node):
    """Hear it from a worker: all of them were given the same tests."""
    node.config.stash[LONG] = getattr(node, "workeroutput", {}).get("long", 0)


def _leave_out(config, items, kept):
    """Keep these tests, and count the others."""
    left = set(items).difference(kept)
    config.hook.pytest_deselected(items=[each for each in items if each in left])
    items[:] = kept


def _name(item) -> str:
    """A test's name as reports have it, without the group that xdist adds to what one worker runs."""
    group = item.get_closest_marker("xdist_group")
    return item.nodeid.removesuffix(f"@{group.args[0]}") if group else item.nodeid


@pytest.fixture(autouse=True)
def _forget_databases(request):
    """Drop what a test has made on PostgreSQL."""
    used = postgres.is_used() and "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if used else None
    yield
    if folder:
        postgres.forget(folder, _furnish)


def _furnish(url: str) -> None:
    """Make our tables in an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        database.open_database(make_settings(Path(folder), DATABASE_URL=url)).close()


def pytest_terminal_summary(terminalreporter):
    """Say loudly what was not tested, and what to do about it (``-rs`` names each test)."""
    skipped = terminalreporter.stats.get("skipped", ())
    reasons = Counter(each.longrepr[2].removeprefix("Skipped: ") for each in skipped)
    reasons["they take long: run with --long"] = terminalreporter.config.stash.get(LONG, 0)
    for reason, count in (+reasons).most_common():
        tests = f"{count} tests" if count > 1 else "1 test"
        terminalreporter.write_line(f"NOT TESTED: {tests}: {reason}", yellow=True, bold=True)
    if file := terminalreporter.config.getoption("passed"):
        file.write_text("\n".join(each.nodeid for each in terminalreporter.stats.get("passed", ())))


def make_settings(instance: Path, **settings: str) -> Settings:
    """Settings as the environment would give them; flood limits are off unless asked for."""
    given = {"INSTANCE": str(instance), "LIMITS": "off", **_engine(instance), **settings}
    return load_settings({f"INVITE_API_{name}": value for name, value in given.items()})


def naming(instance: Path) -> dict[str, str]:
    """What of the environment names an instance and its database."""
    return {f"{PREFIX}{name}": value for name, value in {"INSTANCE": str(instance), **_engine(instance)}.items()}


def _engine(instance: Path) -> dict[str, str]:
    return {"DATABASE_URL": postgres.url_for(instance)} if postgres.is_used() else {}


@pytest.fixture
def settings(tmp_path):
    """The settings of this test's house, in force."""
    with in_force(make_settings(tmp_path / "instance")) as chosen:
        yield chosen


def settings_with_mail(**usual: str):
    """A fixture `settings` for a file of tests, with a mail server; a parameter of a test adds to the usual ones."""

    @pytest.fixture
    def settings(request, tmp_path, smtp):
        given = {"SMTP_URL": smtp, **usual, **getattr(request, "param", {})}
        with in_force(make_settings(tmp_path / "instance", **given)) as chosen:
            yield chosen

    return settings


@pytest.fixture(scope="session")
def empty(tmp_path_factory) -> Path:
    """A file with our tables and no rows in them, as the first start creates it."""
    with in_force(make_settings(tmp_path_factory.mktemp("empty"), DATABASE_URL="")) as settings:
        database.open_database(settings).close()
        return database.files.file_of(settings)


@pytest.fixture
def house(settings, empty):
    """A database of this test's own, from a copy: to create the tables takes longer than most tests."""
    if settings.on_sqlite and not database.is_there(settings):
        shutil.copyfile(empty, database.files.ensured_file(settings))
    opened = database.open_database(settings)
    yield opened
    opened.close()


@pytest.fixture
def key(house):
    """A good API key, ID/SECRET."""
    with house.writing():
        return keys.create("test")


@pytest.fixture
def client(settings, house):
    """A client of the application, without a socket between them."""
    app = create_app(settings)
    yield app.test_client()
    app.extensions["invite_api"].database.close()


@pytest.fixture
def make_invite(house):
    """Make an invite as the shell does, and return its token."""

    def make(**given):
        with house.writing():
            return invites.token(invites.create(drafts.read(given), drafts.SHELL))

    return make


@pytest.fixture
def rows(house):
    """``rows(Invite, Event)``: all that these tables hold, each in the order of its key."""

    def look(*models):
        with house.reading() as unit:
            tables = [each.__table__ for each in models]
            return [unit.session.execute(each.select().order_by(*each.primary_key)).all() for each in tables]

    return look


@pytest.fixture
def stored(house):
    """The invites in the database, in the order they were made."""

    def look():
        with house.reading() as unit:
            return unit.session.query(Invite).order_by(Invite.created_at).all()

    return look


def seen(page) -> str:
    """The text of a page as its reader sees it."""
    return " ".join(html.unescape(re.sub("<[^>]*>", "", page.text)).split())


PASSWORD = "correct horse battery"
HASH = passwords.hash(PASSWORD)


class Person:
    """Somebody with an account, who is signed in."""

    def __init__(self, house, name: str) -> None:
        self.house, self.name, self.hash = house, name, HASH
        with house.writing():
            accounts.create(accounts.Names(name, f"{name}@example.org"), HASH)
        self.bearer = self.sign_in()

    def sign_in(self) -> dict[str, str]:
        """The header of a fresh session; also kept as `pair` and `bearer`."""
        with self.house.writing():
            self.pair = sessions.start(accounts.named(self.name))
        return {"Authorization": f"Bearer {self.pair.access}"}

    def verify_address(self) -> None:
        """As if a mailed code had been entered."""
        with self.house.writing():
            accounts.named(self.name).email_verified_at = clock.now()

    def forget_address(self) -> None:
        """Go on with the user name alone."""
        with self.house.writing():
            user = accounts.named(self.name)
            user.email = user.email_verified_at = None


@pytest.fixture
def alice(house):
    return Person(house, "alice")


@pytest.fixture
def charlie(house):
    """A stranger, who has proved the address charlie@example.org."""
    charlie = Person(house, "charlie")
    charlie.verify_address()
    return charlie


@pytest.fixture
def root(house):
    """An admin of the site."""
    root = Person(house, "root")
    with house.writing():
        accounts.set_admin(accounts.named("root"), True)
    return root


@pytest.fixture
def use(house):
    """Spend an invite; the id of the account that did."""

    def register(token, name="bob"):
        with house.writing():
            return accounts.register(token, accounts.Names(name), HASH)[0].id

    return register


@pytest.fixture
def fill(house):
    """Put so many invites into the table, all at once."""

    def insert(count):
        with house.writing():
            for _ in range(count):
                invites.create(drafts.Draft(), drafts.SHELL)

    return insert


def ask(instance: Path, statement: str, **values: object) -> list[tuple[Any, ...]]:
    """Do something to an instance's database as another program would; the rows that it gives."""
    engine = create_engine(make_settings(instance).database_url)
    with engine.begin() as connection:
        done = connection.execute(text(statement), values)
        rows = [tuple(each) for each in done] if done.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def meddle(tmp_path):
    """`ask`, of the database of this test."""
    return partial(ask, tmp_path / "instance")


@pytest.fixture
def at_rest(settings):
    """All that is stored, as whoever stole it has it."""

    def read() -> bytes:
        if settings.on_sqlite:
            return b"".join(each.read_bytes() for each in settings.instance.glob("invites.db*"))
        command = [require("pg_dump", "postgresql"), settings.database_url.replace("+psycopg", "")]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return read


class Browser:
    """A browser that keeps cookies and sends forms that stood on pages of ours."""

    def __init__(self, client) -> None:
        self.client = client

    def csrf(self) -> str:
        page = self.client.get("/login")
        page = page if page.status_code == 200 else self.client.get("/logout")  # who is signed in is led on
        return re.search(r'name="csrf" value="([^"]+)"', page.text)[1]

    def post(self, path: str, headers: dict[str, str] | None = None, csrf: str | None = None, **fields: str):
        fields["csrf"] = self.csrf() if csrf is None else csrf
        return self.client.post(path, data=fields, headers=headers or {"Sec-Fetch-Site": "same-origin"})

    def follow(self, answer):
        """The page that an answer leads to."""
        return self.client.get(answer.location.removeprefix("http://127.0.0.1:8080"))

    def sign_in(self, name: str, password: str = PASSWORD, token: str = ""):
        return self.post("/login", user=name, password=password, token=token)


def led(answer) -> str:
    """Where an answer leads, without what it notes about signing in."""
    return re.sub("[?&]entered=[0-9]+$", "", answer.location)


@pytest.fixture
def browser(client, alice):
    """A browser in which nobody is signed in yet."""
    return Browser(client.application.test_client())


# What the examples of the commands name.
SOME_ID = "5b0e0c6e-0000-4000-8000-000000000000"
OTHER_ID = "c7a1f2d8-0000-4000-8000-000000000000"  # fixed, too: one in 256 random ids begins as the other does
SOME_WEBHOOK = "0d6f2c1a-0000-4000-8000-000000000000"
STORE = 'return { ["HTwALnKL0001"] = { ["id"] = "HTwALnKL0001"; ["token"] = "73UUylA2ZJbu9x1XMATuIbjWpip8ow1"; }; };'
GUESTS = "name,email\nAnne,anne@example.org\nBob,bob@example.org\n"


@pytest.fixture
def seeded(house, settings, tmp_path):
    """A house with everything that the examples name."""
    with house.writing() as unit:
        for name in ("alice", "anne", "bob"):
            accounts.create(accounts.Names(name, f"{name}@example.org"), HASH)
        garden = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        joined = {"project": garden, "user": accounts.named("bob"), "joined_at": clock.now()}
        unit.session.add(Member(id=clock.new_id(), role="member", **joined))
        gate.set_origins("tea-garden", ["https://garden.example.org"])
        passes.create(projects.member("tea-garden", accounts.named("bob")), "calendar", id_=SOME_ID)
        presets.create("family", {"plan": "gold", "uses": "5"})
        unit.session.add(ApiKey(id="HTwALnKL", name="x", secret_hash=tokens.digest("x"), created_at=clock.now()))
        made = invites.prepare(drafts.Draft(email="dora@example.org"), drafts.SHELL, mailed=True)
        made.id = SOME_ID
        invites.add([made])
        asked = drafts.Draft(approve=True, uses=3)
        asked_for = invites.token(invites.create(asked, accounts.as_inviter(accounts.named("anne")), id_=OTHER_ID))
        for name in ("alice", "bob"):
            redemption.accept(asked_for, accounts.named(name))
        failed = deliveries.test(webhooks.create(webhooks.Wanted("https://app.example.org/"), 0, id_=SOME_WEBHOOK)[0])
        blocked_addresses.block_address("nobody@example.org")
        failed.due_at, failed.attempts, failed.status, failed.milliseconds = None, 1, 500, 38
    if settings.on_sqlite:
        backup.make(database.files.file_of(settings), tmp_path / "yesterday.db")
    house.close()
    (tmp_path / "guests.csv").write_text(GUESTS)
    (tmp_path / "prosody" / "chat%2eexample").mkdir(parents=True)
    (tmp_path / "prosody" / "chat%2eexample" / "invite_api_keys.dat").write_text(STORE)
    return tmp_path


@pytest.fixture
def shell(seeded):
    """Type a line into a shell in that house; what it printed. One that needs no shell is run without."""
    environ = os.environ | {
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        "HOME": str(seeded),
        **naming(seeded / "instance"),
    }

    def run(line):
        name, *arguments = shlex.split(line)
        if name == "invite-api" and not set(line) & set("|&;<>$`\n"):
            return forked.run(arguments, environ, seeded)
        typed = ["bash", "-o", "pipefail", "-c", line]
        return subprocess.run(typed, capture_output=True, text=True, env=environ, cwd=seeded, check=False, timeout=60)

    return run


@pytest.fixture
def invite_api(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command, in another folder than the checkout."""

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return forked.run(arguments, _environ(tmp_path / "instance", environ), tmp_path)

    return run


@dataclass
class Answer:
    """What came back over the socket."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Served:
    """A server of ours in a process of its own."""

    process: "subprocess.Popen[bytes] | forked.Process"
    url: str
    port: int
    log: Path
    instance: Path
    environ: dict[str, str] = field(repr=False)

    def get(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Answer:
        """One request over the socket; redirects are not followed."""
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with _opener.open(request, timeout=30) as response:
                return Answer(response.status, dict(response.headers), response.read().decode(errors="replace"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read().decode(errors="replace"))

    def run(self, *arguments: str) -> str:
        """The stdout of a command beside the running server."""
        return forked.run(arguments, self.environ, Path.cwd(), check=True).stdout.strip()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


class Mailbox:
    """A mail server's memory; `answers` are what it says to the next mails instead of taking them."""

    def __init__(self):
        self.mails = []
        self.answers = []

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.pop(0) if self.answers else None
        if answer == "take it and hang up":
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            server.transport.close()
            return "250 OK"
        if answer:
            return answer
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"

    def link(self, number=-1):
        """The link in a mail."""
        return re.search(r"http://\S+", self.mails[number].get_body(("plain",)).get_content())[0]

    def digits(self, number=-1):
        """The code in a mail."""
        return re.search(r"\b\d{6}\b", self.mails[number].get_body(("plain",)).get_content())[0]


@pytest.fixture
def digits(house):
    """The code that was mailed last."""

    def look():
        with house.reading() as unit:
            return tokens.mail_code(unit.session.query(Code).one().nonce)

    return look


MAILS = "smtp://127.0.0.1:1"  # nothing is delivered there: what matters is what waits


@contextmanager
def smtp_server(mailbox: Mailbox) -> Iterator[str]:
    """A mail server on this machine; its URL."""
    with listening_for_mail(Controller(mailbox, hostname="127.0.0.1", port=free_port(), ready_timeout=60)) as port:
        yield f"smtp://127.0.0.1:{port}"


@contextmanager
def listening_for_mail(server: Controller) -> Iterator[int]:
    """The port of a mail server, which listens during the block and then hangs up.

    It waits until it has: a socket that is still open fails whatever test is running when that is noticed.
    """

    lines: list[SMTP] = []
    factory = server.factory

    def answered() -> SMTP:
        lines.append(factory())
        return lines[-1]

    async def hang_up() -> None:
        for each in lines:
            if each.transport:
                each.transport.abort()
        if talking := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(talking, timeout=10)

    server.factory = answered
    server.start()
    try:
        yield server.port
    finally:
        asyncio.run_coroutine_threadsafe(hang_up(), server.loop).result()
        server.stop()


@pytest.fixture
def mailbox():
    return Mailbox()


@pytest.fixture
def smtp(mailbox):
    """A mail server on this machine; its URL."""
    with smtp_server(mailbox) as url:
        yield url


@pytest.fixture(scope="session")
def chromium() -> Iterator[webdriver.Chrome]:
    """A real browser; all tests of a worker use it, one after the other."""
    with started(require("chromium", "chromium"), require("chromedriver", "chromium-driver")) as driver:
        yield driver


@pytest.fixture
def window(chromium) -> Window:
    """A real browser's window in which nobody was before."""
    window = Window(chromium)
    window.fresh()
    return window


@pytest.fixture(scope="session")
def axe_source() -> str:
    """The source of axe-core."""
    return axe.source(lambda: require("npm", "npm"))


@pytest.fixture(scope="session")
def town(tmp_path_factory):
    """Apps behind the gate and three proxies; all tests of it run in one worker."""
    import proxied

    with proxied.opened(tmp_path_factory.mktemp("town")) as town:
        town.person("bob", *proxied.ORIGINS, shown="Zoë 李")
        town.person("charlie")
        yield town


class DiedAtItsStart(AssertionError):
    """A server ended before it listened; what it had logged."""


@contextmanager
def servers(folder: Path) -> Iterator[Callable[..., Served]]:
    """Start real servers over one instance, in this folder; they end with the block.

    `command` is what runs ``serve``: the real command, unless that is wrapped or tampered with.
    """
    running: list[Served] = []

    def start(command: Sequence[str | Path] = (COMMAND,), **environ: str) -> Served:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        instance = folder / "instance"
        full = _environ(instance, {"PUBLIC_URL": url, **environ})
        log = folder / f"server-{port}.log"
        with log.open("wb") as stderr:
            process = _begun(command, ["serve", "--port", str(port)], full, stderr)
        served = Served(process, url, port, log, instance, full)
        running.append(served)
        _wait_until_it_listens(served)
        return served

    try:
        yield start
    finally:
        for served in running:
            served.process.kill()
            served.process.wait()


def _begun(
    command: Sequence[str | Path], arguments: Sequence[str], environ: dict[str, str], stderr: IO[bytes]
) -> "subprocess.Popen[bytes] | forked.Process":
    """A process of the command; forked where it is our own, or run by a script of Python."""
    first, *rest = command
    if first == COMMAND:
        return forked.Process(arguments, environ, Path.cwd(), stderr, stderr)
    if first == sys.executable:
        script, *options = rest
        return forked.Process([*options, *arguments], environ, Path.cwd(), stderr, stderr, script)
    return subprocess.Popen([*command, *arguments], stderr=stderr, env=environ)


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Served]]:
    """Start real servers over this test's instance folder; they end with the test."""
    with servers(tmp_path) as start:
        yield start


@pytest.fixture
def served(serve) -> Served:
    """A real server over this test's instance folder."""
    return serve()


SHARED_SECRET = "a-secret-that-all-servers-share"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """A PostgreSQL that waits for its disk, as real ones do."""
    server = postgres.Server(require)
    server.start(durable=True)
    yield server
    server.remove()


@pytest.fixture
def url(postgresql) -> str:
    """An empty database there."""
    return postgresql.make_database(f"empty_{clock.random_hex(8)}")


@contextmanager
def opened_on(engine: str, request, tmp_path):
    """An empty database on ``sqlite`` or ``postgresql``, whatever the run is on, and its settings, in force."""
    url = request.getfixturevalue("url") if engine == "postgresql" else f"sqlite:///{tmp_path}/invites.db"
    with in_force(make_settings(tmp_path / "instance", DATABASE_URL=url)) as settings:
        house = database.open_database(settings)
        yield house, settings
        house.close()


@pytest.fixture
def fleet(tmp_path, url):
    """Start so many servers on it, each with a folder of its own, as on machines of their own."""
    with ExitStack() as running:

        def start(count: int, *command: str | Path, **environ: str) -> list[Served]:
            begin = [running.enter_context(servers(tmp_path / str(number))) for number in range(count)]
            for number in range(count):
                (tmp_path / str(number)).mkdir(exist_ok=True)
            given = {"DATABASE_URL": url, "SECRET_KEY": SHARED_SECRET, **environ}
            return [each(command, **given) if command else each(**given) for each in begin]

        yield start


@pytest.fixture
def good_key(served) -> str:
    """An API key of that server."""
    return served.run("create", "test")


def _wait_until_it_listens(served: Served) -> None:
    deadline = time.monotonic() + 120
    while "listens on" not in served.log.read_text():
        if served.process.poll() is not None:
            raise DiedAtItsStart(served.log.read_text())
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)


def free_port() -> int:
    """A port of this machine that nobody listens on, and that nobody else is given for a good while.

    A socket that is bound and does not listen keeps it: whoever lets the system choose gets another, who
    connects is refused, and a server that sets SO_REUSEADDR, as all do, may listen there.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    _KEPT.append(probe)
    if len(_KEPT) > 100:
        _KEPT.popleft().close()
    return probe.getsockname()[1]


_KEPT: deque[socket.socket] = deque()
atexit.register(lambda: [each.close() for each in _KEPT])


def _environ(instance: Path, environ: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {"INSTANCE": str(instance), "LIMITS": "off", **_engine(instance), **environ}
    return inherited | {f"{PREFIX}{name}": value for name, value in given.items()}


@dataclass
class Checkout:
    """A copy of this checkout, and the command that runs what is in it."""

    folder: Path
    bin: Path

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run its command, which reads its own `instance/` unless told otherwise."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        call = [self.bin / "invite-api", *arguments]
        return subprocess.run(
            call, capture_output=True, text=True, timeout=300, cwd=self.folder, env=inherited | environ, check=False
        )


@pytest.fixture
def checkout_copy(tmp_path) -> Checkout:
    """A checkout of this test's own, with the packages of the environment that the tests run in."""
    copy = Checkout(tmp_path / "invite-api", tmp_path / "bin")
    shutil.copytree(HOME, copy.folder, ignore=shutil.ignore_patterns(".*", "instance"))
    copy.bin.mkdir()
    command = copy.bin / "invite-api"
    start = f"import sys; sys.path.insert(0, {str(copy.folder)!r})\nfrom cli import main\nmain()\n"
    command.write_text(f"#!{sys.executable}\n{start}")
    command.chmod(0o755)
    return copy


def at_last(measure: Callable[[], float], most: float, times: int = 5) -> float:
    """What is measured, as soon as it is less than this, or at last: what else runs here may disturb some."""
    for _ in range(times):
        if (found := measure()) < most:
            break
    return found


def wait_for(happened: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something is so, but not for ever."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Have a file that nobody may write, not even root."""
    if os.geteuid():
        path.chmod(0o400)
        yield
        path.chmod(0o600)
        return
    chattr = require("chattr", "e2fsprogs")
    if subprocess.run([chattr, "+i", path], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this file system knows no immutable files; run the tests as another user than root")
    try:
        yield
    finally:
        subprocess.run([chattr, "-i", path], check=True)
