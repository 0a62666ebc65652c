"""Whether `/ready` notices what stands in the way, says it in words, and recovers by itself."""

import resource
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import text

import clock
import database
import postgres
from app import create_app
from conftest import at_last, make_settings, read_only, smtp_server, wait_for
from database import schema
from delivery import courier
from delivery.outbox import deliver_one
from programs import missing, require
from rules import drafts, invites, webhooks
from settings import in_force
from web import readiness

CHECKS = (*(() if postgres.is_used() else ("disk",)), "database", "schema", "outbox", "webhooks", "writing")


def wrong(answer):
    """What is said to be wrong, by the name of the check."""
    assert set(answer.json["checks"]) == set(CHECKS)
    found = {name: said for name, said in answer.json["checks"].items() if said != "ok"}
    assert answer.status_code == (503 if found else 200)
    assert answer.json["status"] == ("not ready" if found else "ready")
    assert ("Retry-After" in answer.headers) is bool(found)
    return found


def outcome(client):
    """What a fresh look finds wrong, once the last one has been forgotten."""
    time.sleep(readiness.FRESH)
    return wrong(client.get("/ready"))


@contextmanager
def file_system(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, of this size."""
    mount, umount = require("mount", "mount"), require("umount", "mount")
    folder.mkdir()
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=False)
    if mounted.returncode:
        missing("the right to mount a file system (run the tests as root)", "mount")
    try:
        yield folder
    finally:
        subprocess.run([umount, "--lazy", folder], check=True)


def test_it_is_ready_when_all_is_well(client):
    answer = client.get("/ready")
    assert answer.json == {"status": "ready", "checks": dict.fromkeys(CHECKS, "ok")}
    assert answer.headers["Cache-Control"] == "no-store"
    assert wrong(answer) == {}


@pytest.mark.sqlite
def test_what_is_wrong_is_told_without_paths(client, settings):
    path = database.files.file_of(settings)
    for each in path.parent.glob("invites.db*"):
        each.rename(each.with_name(f"away-{each.name}"))
    answer = client.get("/ready")
    assert set(wrong(answer)) == {"database", "schema", "webhooks", "writing"}
    assert "deleted or replaced" in answer.json["checks"]["database"]
    assert "restart invite-api" in answer.json["checks"]["database"]
    assert str(path.parent) not in answer.text
    for each in path.parent.glob("away-*"):
        each.rename(each.with_name(each.name.removeprefix("away-")))
    assert outcome(client) == {}


@pytest.mark.sqlite
def test_a_replaced_file_is_noticed(client, settings):
    path = database.files.file_of(settings)
    assert wrong(client.get("/ready")) == {}
    path.rename(path.with_suffix(".away"))
    path.write_bytes(path.with_suffix(".away").read_bytes())
    assert "deleted or replaced" in outcome(client)["writing"]


@pytest.mark.sqlite
def test_a_file_that_may_not_be_written_is_noticed_and_its_mending_too(settings, house):
    house.close()
    with read_only(database.files.file_of(settings)):
        client = create_app(settings).test_client()
        found = wrong(client.get("/ready"))
        assert set(found) == {"writing"}
        assert "may not be written" in found["writing"]
    assert outcome(client) == {}


@pytest.mark.sqlite
def test_a_server_that_began_on_a_file_it_may_not_write_writes_once_it_may(serve, settings, house, key):
    house.close()
    with read_only(database.files.file_of(settings)):
        served = serve()
        assert served.get("/ready").status == 503
        assert served.get(f"/invites_api?key={key}").status == 503
        assert served.get("/health").status == 200
    wait_for(lambda: served.get("/ready").status == 200)
    assert served.get(f"/invites_api?key={key}").status == 201


@pytest.mark.sqlite
def test_a_damaged_file_is_noticed(client, settings):
    with closing(sqlite3.connect(database.files.file_of(settings))) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    client.application.extensions["invite_api"].database.close()
    with database.files.file_of(settings).open("r+b") as file:
        file.write(b"SQLite format 3\0" + b"\xff" * 8000)
    assert "go back to a backup" in wrong(client.get("/ready"))["database"]


@pytest.mark.long
@pytest.mark.sqlite
def test_a_lock_that_another_program_holds_is_told_within_a_second_or_so_and_its_end_too(house, settings):
    clients, taken = [create_app(settings).test_client() for _ in range(3)], []  # what else runs here may halt one
    with closing(sqlite3.connect(database.files.file_of(settings), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for client in clients:
            began = time.monotonic()
            found = wrong(client.get("/ready"))
            taken.append(time.monotonic() - began)
            assert set(found) == {"writing"}
            assert "another program holds the database's lock" in found["writing"]
        assert min(taken) < readiness.TIMEOUT + 1
        other.execute("ROLLBACK")
    for client in clients:
        wait_for(lambda client=client: client.get("/ready").status_code == 200)


@pytest.mark.sqlite
def test_a_flood_of_questions_while_the_lock_is_held_costs_no_more_than_one(client, settings):
    with closing(sqlite3.connect(database.files.file_of(settings), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        client.get("/ready")
        taken = []
        for _ in range(100):
            began = time.monotonic()
            assert client.get("/ready").status_code == 503
            taken.append(time.monotonic() - began)
    assert statistics.median(taken) < 0.01  # a second for a hundred; what else runs here may halt some of them


@pytest.mark.long
@pytest.mark.sqlite
def test_whoever_asks_while_the_lock_is_held_holds_up_nobody_else(serve):
    assert at_last(lambda: slowest_beside_those_who_ask(serve()), 0.5) < 0.5


def slowest_beside_those_who_ask(served):
    """How long /health takes at most while twenty ask whether a server is ready that cannot write."""
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(20) as at_once:
            asked = [at_once.submit(served.get, path) for path in ("/ready",) * 20]
            taken = []
            while not all(each.done() for each in asked):
                began = time.monotonic()
                assert served.get("/health").status == 200
                taken.append(time.monotonic() - began)
    assert {each.result().status for each in asked} == {503}
    return max(taken)


def test_a_schema_of_another_version_is_noticed(client, house):
    with house.writing() as unit:
        unit.connection.execute(text("UPDATE schema_version SET version = 99"))
    found = wrong(client.get("/ready"))
    assert set(found) == {"schema"}
    assert "is version 99" in found["schema"]


@pytest.mark.long
@pytest.mark.sqlite
def test_a_full_disk_is_noticed_and_its_mending_too(tmp_path):
    with file_system(tmp_path / "small", "40m") as folder:
        client = create_app(make_settings(folder)).test_client()
        assert wrong(client.get("/ready")) == {}
        (folder / "filler").write_bytes(bytes(30 * 1024 * 1024))
        assert set(outcome(client)) == {"disk"}
        with (folder / "more").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
            while filler.write(bytes(4096)):
                pass
        found = outcome(client)
        assert set(found) == {"disk", "writing"}
        assert "make room" in found["disk"]
        assert "the disk is full" in found["writing"]
        for name in ("filler", "more"):
            (folder / name).unlink()
        assert outcome(client) == {}
        client.application.extensions["invite_api"].database.close()


@pytest.mark.long
@pytest.mark.sqlite
def test_a_server_that_may_write_no_more_says_so_and_recovers(serve):
    served = serve()
    assert served.get("/ready").status == 200
    size = max(each.stat().st_size for each in served.instance.glob("invites.db*"))
    unlimited = resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    wait_for(lambda: served.get("/ready").status == 503)
    assert '"database":"ok"' in served.get("/ready").body
    assert served.get("/health").status == 200
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_for(lambda: served.get("/ready").status == 200)


def spent(house):
    with house.reading() as unit:
        return unit.connection.scalar(text("SELECT spent FROM counters WHERE purpose = 'ready'"))


def test_a_flood_of_questions_writes_once_a_second(client, house):
    began = time.monotonic()
    with ThreadPoolExecutor(8) as at_once:
        answers = list(at_once.map(lambda _: client.application.test_client().get("/ready"), range(400)))
    assert {each.status_code for each in answers} == {200}
    assert 1 <= spent(house) <= 1 + (time.monotonic() - began) / readiness.FRESH


@pytest.mark.sqlite
def test_the_write_is_on_disk(client, house, settings):
    """Rewriting a row as it was would not touch the file."""
    journal = Path(f"{database.files.file_of(settings)}-wal")
    client.get("/ready")
    before = journal.stat().st_size
    assert outcome(client) == {}
    assert journal.stat().st_size > before
    assert spent(house) == 2


@pytest.fixture
def post(tmp_path, house, mailbox):
    """A mail server, a client of a service that mails by it, letters, and delivery."""
    with smtp_server(mailbox) as url, in_force(make_settings(tmp_path / "instance", SMTP_URL=url)) as settings:
        yield Post(house, create_app(settings).test_client())


class Post:
    def __init__(self, house, client):
        self.house, self.client = house, client

    def write(self, address="dora@example.org"):
        with self.house.writing():
            invites.create(drafts.read({"email": address}), drafts.SHELL, mailed=True)

    def deliver(self):
        while deliver_one(self.house):
            pass

    def later(self, minutes):
        return time_machine.travel(clock.now() + minutes * clock.MINUTE)


@pytest.mark.long
@pytest.mark.parametrize("answer", ["451 not now", "421 go away"])
def test_mail_that_the_server_refuses_is_noticed_and_its_delivery_too(post, mailbox, answer):
    post.write()
    mailbox.answers = [answer] * 2
    post.deliver()
    assert outcome(post.client) == {}
    with post.later(16):
        post.deliver()
        found = outcome(post.client)
        assert set(found) == {"outbox"}
        assert "invite-api outbox list --waiting" in found["outbox"]
    with post.later(30):
        post.deliver()
        assert len(mailbox.mails) == 1
        assert outcome(post.client) == {}


def test_a_letter_that_a_later_one_has_overtaken_holds_nothing_up(post, mailbox):
    post.write("first@example.org")
    mailbox.answers = ["451 not now"]
    post.deliver()
    with post.later(0.5):
        post.write("second@example.org")
        post.deliver()
    assert len(mailbox.mails) == 1
    with post.later(20):
        assert outcome(post.client) == {}


def test_a_recipient_whom_the_mail_server_does_not_know_holds_nothing_up(post, mailbox):
    async def refuse(server, session, envelope, address, options):
        return "550 no such user"

    mailbox.handle_RCPT = refuse
    post.write()
    post.deliver()
    with post.later(20):
        assert outcome(post.client) == {}


def test_a_letter_that_is_refused_for_good_holds_nothing_up(post, mailbox):
    post.write()
    mailbox.answers = ["554 looks like spam"]
    post.deliver()
    with post.later(20):
        assert outcome(post.client) == {}


def test_mail_that_nobody_carries_is_noticed(tmp_path, house):
    post = Post(house, create_app(make_settings(tmp_path / "instance", SMTP_URL="smtp://127.0.0.1:1")).test_client())
    with in_force(make_settings(tmp_path / "instance")):
        post.write()
    with post.later(16):
        assert set(outcome(post.client)) == {"outbox"}


def test_without_a_mail_server_what_waits_does_not_count(client, house, settings):
    post = Post(house, client)
    post.write()
    with post.later(60):
        assert outcome(client) == {}


@pytest.mark.long
@pytest.mark.sqlite
def test_the_log_says_when_it_begins_and_when_it_ends(client, settings, caplog):
    with caplog.at_level("INFO"):
        client.get("/ready")
        with closing(sqlite3.connect(database.files.file_of(settings), isolation_level=None)) as other:
            other.execute("UPDATE schema_version SET version = 99")
            assert outcome(client) == outcome(client)
            other.execute(f"UPDATE schema_version SET version = {schema.VERSION}")
        assert outcome(client) == {}
    told = [each.getMessage() for each in caplog.records if "ready" in each.getMessage()]
    assert told == [
        f"not ready: schema is version 99, this server needs {schema.VERSION}: restart invite-api",
        "ready again",
    ]


@pytest.mark.long
def test_events_that_nobody_tries_to_send_to_a_webhook_are_noticed_and_a_dead_receiver_is_not(client, house):
    with house.writing():
        id_ = webhooks.create(webhooks.Wanted("http://127.0.0.1:1/", private=True), 0)[0].id
    now = clock.now()
    for minutes, found in ((14, set()), (16, {"webhooks"})):  # no deliveries are written
        with time_machine.travel(now + minutes * clock.MINUTE):
            assert set(outcome(client)) == found
    courier.dispatch(house)
    with time_machine.travel(now + 16 * clock.MINUTE):  # nobody sends them
        assert set(outcome(client)) == {"webhooks"}
        assert courier.deliver_some(house)
        assert outcome(client) == {}
    with time_machine.travel(now + 60 * clock.MINUTE):
        assert set(outcome(client)) == {"webhooks"}
        with house.writing():
            webhooks.disable(webhooks.named_locked(id_))
        assert outcome(client) == {}
