"""Beyond one machine: a real PostgreSQL, several servers of ours on it, a real Redis between them."""

import dataclasses
import json
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import psycopg
import pytest
from redis import Redis, RedisError
from sqlalchemy import text

import clock
import database
from conftest import HASH, PASSWORD, SHARED_SECRET, Served, free_port, make_settings, wait_for
from database import Interrupted, Unavailable, schema
from faults.crowd import JSON, Place
from models import User
from programs import require
from rules import accounts, drafts, holds, invites, keys, projects, redemption, sessions
from rules.refusals import RateLimited
from settings import HOME, Settings, database_url, in_force
from upkeep import transfer, upgrade
from web import limits, readiness

pytestmark = [pytest.mark.xdist_group("postgresql"), pytest.mark.own_postgresql, pytest.mark.long]


@pytest.fixture
def there(tmp_path, url):
    """Settings in force that name it."""
    with in_force(make_settings(tmp_path / "instance", DATABASE_URL=url, SECRET_KEY=SHARED_SECRET)) as settings:
        yield settings


@pytest.fixture
def opened(there):
    """It, opened."""
    opened = database.open_database(there)
    yield opened
    opened.close()


def post(served: Served, path: str, body: dict[str, str], **headers: str):
    """The status of a call, and what it says."""
    answer = served.get(path, "POST", json.dumps(body).encode(), **JSON, **headers)
    return answer.status, json.loads(answer.body)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What another program sees."""
    with psycopg.connect(url) as other:
        return other.execute(query).fetchall()


def test_what_one_server_made_another_accepts_and_a_third_knows_as_used(fleet, url):
    one, two, three = fleet(3)
    place = Place.furnish(one)
    token = one.get(f"/invites_api?key={place.key}").headers["Location"].partition("?")[2]
    who = place.bearers[1][1]
    assert post(two, f"/invites/{token}/accept", {}, Authorization=who)[0] == 200
    replayed = post(three, f"/invites/{token}/accept", {}, Authorization=place.bearers[2][1])
    assert replayed[1]["code"] == "INVITE_USED"
    assert post(three, "/auth/logout", {}, Authorization=who)[0] == 200
    for each in (one, two, three):
        assert each.get("/auth/me", Authorization=who).status == 401
    three.run("delete", place.key.partition("/")[0])
    for each in (one, two, three):
        assert each.get(f"/invites_api?key={place.key}").status == 403
    assert all(json.loads(each.get("/ready").body)["status"] == "ready" for each in (one, two, three))


def test_a_restart_between_two_calls_is_not_noticed(opened, postgresql):
    """The lost connection is found out by the first statement, and the unit may be done once more."""
    with opened.writing():
        key = keys.create("test")
    with postgresql.away():
        pass
    with pytest.raises(Interrupted), opened.writing():
        keys.authenticate(key)
    with opened.writing():
        assert keys.authenticate(key).name == "test"


def test_a_call_after_a_restart_is_answered(fleet, postgresql):
    (one,) = fleet(1)
    key = one.run("create", "test")
    for _ in range(6):
        assert one.get(f"/invites_api?key={key}").status == 201
    with postgresql.away():
        pass
    assert [one.get(f"/invites_api?key={key}").status for _ in range(12)] == [201] * 12
    assert "tried once more" in one.log.read_text()


def test_that_postgresql_hangs_is_told_at_once_however_many_wait_for_it(fleet, postgresql):
    (one,) = fleet(1)
    assert one.get("/ready").status == 200
    with ThreadPoolExecutor(16) as many, postgresql.hanging():
        waiting = [many.submit(one.get, f"/invites/{'0' * 64}") for _ in range(16)]
        time.sleep(readiness.FRESH)
        began = time.monotonic()
        looked = [one.get("/ready") for _ in range(2)]
        taken = time.monotonic() - began
        assert not any(each.done() for each in waiting)
    assert {each.status for each in looked} == {503}
    assert taken < 2 * (readiness.TIMEOUT + 1)
    wait_for(lambda: one.get("/ready").status == 200)


def test_a_commit_that_may_have_happened_is_not_tried_again(opened, url):
    """It could have been done: who called is told 503 and looks."""
    with pytest.raises(Unavailable) as refused, opened.writing() as unit:
        unit.session.add(User(id="u", username="anne", created_at=clock.now()))
        unit.flush()
        rows(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
    assert not isinstance(refused.value, Interrupted)


def test_a_deadlock_is_tried_again(opened):
    error = psycopg.errors.DeadlockDetected()
    with pytest.raises(Interrupted), opened.writing():
        raise error


def test_many_first_starts_at_once_make_one_schema(url, tmp_path):
    def start(number: int) -> int | None:
        settings = make_settings(tmp_path / str(number), DATABASE_URL=url, SECRET_KEY="of all these servers")
        opened = database.open_database(settings)
        with opened.reading() as unit:
            return opened.version(unit.connection)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(start, range(8))) == {schema.VERSION}


def test_a_server_with_another_master_secret_is_refused_at_its_start(opened, url, tmp_path):
    """Links, forms and codes of the one would now and then be nothing to the other."""

    def open_with(**secrets: str) -> database.Database:
        return database.open_database(make_settings(tmp_path / "other", DATABASE_URL=url, **secrets))

    with pytest.raises(database.Unavailable, match="another master secret: give all of them the same"):
        open_with(SECRET_KEY="of this server alone")
    renewed = open_with(SECRET_KEY="that is to be that of all", SECRET_KEY_FALLBACKS=SHARED_SECRET)
    opened.close()
    with opened.reading() as unit:  # who was here goes on, with new connections too
        assert opened.version(unit.connection) == schema.VERSION
    renewed.close()
    opened.close()
    open_with(SECRET_KEY="of this server alone").close()  # nobody else is there: a key that was lost can be replaced


def test_a_server_that_acknowledges_too_early_is_told_to_wait(postgresql, url, there):
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    opened = database.open_database(there)
    with opened.reading() as unit:
        assert unit.connection.scalar(text("SHOW synchronous_commit")) == "on"
        assert unit.connection.scalar(text("SHOW lock_timeout")) == "5s"
    opened.close()


def test_what_stands_in_a_row_does_not_get_into_errors(opened):
    with opened.writing():
        accounts.create(accounts.Names("anne", "anne@example.org"), HASH)
    with pytest.raises(Exception, match="violates unique") as told, opened.writing() as unit:
        unit.connection.execute(
            text("INSERT INTO users (id, username, created_at) SELECT 'x', username, now() FROM users")
        )
    assert "anne" not in f"{told.value!r} {told.value.__cause__!r}"


def test_another_programs_database_is_left_alone(url, there):
    with psycopg.connect(url) as other:
        other.execute("CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(Unavailable, match="has tables, but not ours"):
        database.open_database(there)
    assert rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("recipes",)]


def test_a_database_in_another_encoding_is_refused(postgresql, tmp_path):
    with psycopg.connect(f"{postgresql.url}/postgres", autocommit=True) as other:
        other.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(Unavailable, match="not in UTF-8"):
        database.open_database(make_settings(tmp_path, DATABASE_URL=f"{postgresql.url}/latin"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("postgresql://postgres@127.0.0.1:{free}/x", "Connection refused"),
        ("{url}_not_there", 'database ".*_not_there" does not exist'),
    ],
)
def test_what_cannot_be_reached_is_named_without_its_password(url, tmp_path, invite_api, wrong, words):
    given = wrong.format(url=url, free=free_port()).replace("postgres@", "postgres:hunter2@")
    refused = invite_api("list", INSTANCE=str(tmp_path / "i"), DATABASE_URL=given)
    assert refused.returncode == 1
    assert re.search(words, refused.stderr)
    assert "hunter2" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_of_two_hosts_the_one_that_answers_is_found(url, tmp_path):
    both = url.replace("@127.0.0.1", "@127.0.0.9,127.0.0.1") + "?target_session_attrs=read-write"
    settings = make_settings(tmp_path, DATABASE_URL=both)
    opened = database.open_database(settings)
    assert opened.is_current()
    opened.close()
    with database.exclusive(settings) as exclusive:
        assert exclusive.version == schema.VERSION


def test_a_standby_is_not_ready_and_says_why(fleet, url):
    (one,) = fleet(1)
    key = one.run("create", "test")
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
    refused = one.get(f"/invites_api?key={key}")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    ready = one.get("/ready")
    assert ready.status == 503
    assert "the primary" in ready.body
    assert "read-only" not in ready.body


def test_the_schema_is_not_changed_while_somebody_uses_it(opened, there, url):
    with pytest.raises(Unavailable, match="is in use"), database.exclusive(there):
        pass
    opened.close()
    with database.exclusive(there) as exclusive:
        assert exclusive.version == schema.VERSION
        with pytest.raises(Unavailable, match="is being migrated"):
            database.open_database(there)


def test_a_step_of_a_migration_is_taken_as_a_whole_or_not_at_all(opened, there, tmp_path):
    opened.close()
    step = tmp_path / f"{schema.VERSION + 1:04}_x.sql"
    step.write_text("ALTER TABLE users ADD COLUMN shoe_size INTEGER;\nDROP TABLE nowhere;\n")
    with database.exclusive(there) as exclusive:
        with pytest.raises(Unavailable, match=r"_x\.sql: .*nothing of this step was done"):
            list(upgrade.migrate(exclusive, [step]))
        assert exclusive.version == schema.VERSION
        step.write_text("ALTER TABLE users ADD COLUMN shoe_size INTEGER;\n")
        assert list(upgrade.migrate(exclusive, [step])) == [step.stem]
        assert exclusive.version == schema.VERSION + 1
        exclusive.execute("SELECT shoe_size FROM users")


def definition(url: str) -> list[str]:
    """The tables of a database in SQL: their columns, in the order of their names, constraints and indexes."""
    command = [require("pg_dump", "postgresql"), "--schema-only", "--no-owner", url.replace("+psycopg", "")]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    written = re.sub(r"_check\d+", "_check", written)  # checks of several columns are numbered as they were added
    parts = (each for each in re.split(r";\n", re.sub(r"(?m)^(--|SET|\\|SELECT).*\n", "", written)) if each.strip())
    return sorted("\n".join(sorted(line.rstrip(",") for line in each.strip().splitlines())) for each in parts)


def test_a_database_that_was_upgraded_has_the_tables_of_a_new_one(there, url, postgresql):
    released = (HOME / "tests" / "released" / "0.1.0.sql").read_text()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as old:
        tables = re.sub(r'(?m)^(INSERT INTO "(?!schema_version)|BEGIN|COMMIT).*\n', "", released)
        left = deque(schema.statements(tables, "postgresql"))
        while left:  # a dump of SQLite's has them in the order of their names
            try:
                old.execute(left[0].encode())
            except psycopg.errors.UndefinedTable:
                left.append(left[0])
            left.popleft()
    with database.exclusive(there) as exclusive:
        list(upgrade.migrate(exclusive, upgrade.steps(exclusive.version)))
    new = postgresql.make_database(f"new_{clock.random_hex(8)}")
    with in_force(dataclasses.replace(there, database_url=database_url(new))) as settings:
        database.open_database(settings).close()
    assert definition(url) == definition(new)


def furnish(settings: Settings, count: int) -> dict[str, str]:
    """An installation with something of everything; what opens it."""
    house = database.open_database(settings)
    with in_force(settings):
        with house.writing() as unit:
            alice = accounts.create(accounts.Names("alice", "alice@example.org"), HASH)
            garden = projects.create(alice, projects.ProjectDraft("Jardín"))
            invites.create(drafts.Draft(email="dora@example.org", note="ünï"), drafts.SHELL, mailed=True)
            unit.flush()
            pair, key = sessions.start(alice), keys.create("test")
            accounts.register(
                invites.create_token(drafts.Draft(project=garden.slug), drafts.SHELL), accounts.Names("bob"), HASH
            )
            wanted = drafts.Draft(project=garden.slug, uses=9, access=60 * clock.DAY, data='{"ä": 1}', approve=True)
            shared = invites.create(wanted, drafts.SHELL)
            unit.flush()
            waiting = redemption.accept(invites.token(shared), accounts.create(accounts.Names("eve"), HASH))
            taken = [holds.take(shared, key.partition("/")[0], holds.Wanted(each)) for each in ("one", "two", "three")]
            holds.release(taken[0].id, key.partition("/")[0])
            holds.complete(taken[1].id, key.partition("/")[0])
            assert waiting.waiting_for == "approval"
            projects.extend(projects.find_member(garden, accounts.named("bob")), 30 * clock.DAY)
        tokens = []
        for _ in range(0, count, 1000):
            with house.writing():
                made = [invites.prepare(drafts.Draft(), drafts.SHELL) for _ in range(min(1000, count))]
                invites.add(made)
                tokens += [invites.token(each) for each in made]
    house.close()
    return {"key": key, "bearer": f"Bearer {pair.access}", "tokens": tokens}


@pytest.fixture
def old(tmp_path):
    """The settings of an installation on SQLite."""
    file = tmp_path / "old" / "invites.db"
    file.parent.mkdir()
    return make_settings(tmp_path / "old", DATABASE_URL=f"sqlite:///{file}", SECRET_KEY=SHARED_SECRET)


def test_an_installation_moves_with_all_that_opens_it(old, url, fleet, invite_api, tmp_path, pytestconfig):
    count = 100_000 if pytestconfig.getoption("full") else 2000
    opens = furnish(old, count)
    moved = invite_api("db", "copy", "--from", old.database_url, "--to", url, INSTANCE=str(tmp_path / "old"))
    assert (moved.returncode, moved.stderr[:5]) == (0, "Note:")
    assert f"invites: {count + 3}\n" in moved.stdout
    assert f"only with the same master secret: {tmp_path}/old/secret.key\n" in moved.stderr
    (one,) = fleet(1)
    seen = {one.get(f"/invites/{each}").status for each in opens["tokens"][:: count // 500]}
    assert seen == {200}
    hashes = {each for (each,) in rows(url, "SELECT token_hash FROM invites")}
    assert {sha256(each.encode()).hexdigest() for each in opens["tokens"]} <= hashes
    assert one.get("/auth/me", Authorization=opens["bearer"]).status == 200
    assert one.get(f"/invites_api?key={opens['key']}").status == 201
    assert post(one, "/auth/login", {"email": "alice@example.org", "password": PASSWORD})[0] == 200
    assert rows(url, "SELECT recipient FROM outbox WHERE due_at IS NOT NULL") == [("dora@example.org",)]


def test_what_came_from_sqlite_goes_back_the_same(old, url, tmp_path):
    furnish(old, 50)
    there = dataclasses.replace(old, database_url=database_url(url))
    back = dataclasses.replace(old, database_url=f"sqlite:///{tmp_path / 'back.db'}")
    assert transfer.copy(old, there) == transfer.copy(there, back)
    states = "SELECT state, count(*) FROM redemptions GROUP BY state ORDER BY state"
    assert rows(url, states) == [("approval", 2), ("done", 1), ("held", 1), ("released", 1)]
    assert rows(url, "SELECT uses, waiting FROM invites WHERE approve") == [(3, 3)]
    assert rows(url, "SELECT count(*) FROM members WHERE ends_at IS NOT NULL") == [(1,)]
    for each in (there, back):
        with in_force(each), database.using(each), database.open_database(each).reading():
            assert redemption.miscounted() == []


def test_a_copy_goes_only_into_an_empty_database_and_not_from_one_in_use(old, there, tmp_path):
    furnish(old, 10)
    with database.using(old), pytest.raises(Unavailable, match="is in use"):
        transfer.copy(old, there)
    transfer.copy(old, there)
    with pytest.raises(Unavailable, match="is not empty"):
        transfer.copy(old, there)


def test_nobody_comes_while_a_database_is_copied(old, there, tmp_path):
    """Who came was let in, and what was used meanwhile could be open again in the copy."""
    refused = []

    def come(rows: int) -> Callable[[int], object]:
        with ThreadPoolExecutor(1) as other, pytest.raises(Unavailable) as told:
            other.submit(database.open_database, there).result()
        refused.append(str(told.value))
        return lambda rows: None

    furnish(old, 10)
    transfer.copy(old, there, come)
    transfer.copy(there, dataclasses.replace(old, database_url=f"sqlite:///{tmp_path / 'back.db'}"), come)
    assert refused == [f"{database.display_name(there)}: is being migrated or copied: try again when that is done"] * 2
    database.open_database(there).close()


def test_a_copy_that_is_not_the_same_is_noticed_and_undone(old, there, url, monkeypatch):
    """The control: one cell that comes over changed."""
    furnish(old, 10)
    with psycopg.connect(url, autocommit=True) as other:
        database.open_database(there).close()
        other.execute(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN IF NEW.note IS NOT NULL THEN NEW.note := 'x'; END IF; RETURN NEW; END$$"
        )
        other.execute("CREATE TRIGGER meddle BEFORE INSERT ON invites FOR EACH ROW EXECUTE FUNCTION meddle()")
    with pytest.raises(Unavailable, match="invites is not what it was; nothing was copied"):
        transfer.copy(old, there)
    assert rows(url, "SELECT count(*) FROM invites") == [(0,)]


def test_commands_about_the_file_say_that_there_is_none(url, invite_api, tmp_path):
    for arguments in (("db", "backup", "x.db"), ("db", "restore", "x.db", "--yes")):
        refused = invite_api(*arguments, INSTANCE=str(tmp_path / "i"), DATABASE_URL=url)
        assert (refused.returncode, "pg_dump" in refused.stderr) == (1, True)
    told = invite_api("db", "path", INSTANCE=str(tmp_path / "i"), DATABASE_URL=url.replace("postgres@", "postgres:x@"))
    assert told.stdout.strip() == url
    assert invite_api("db", "check", INSTANCE=str(tmp_path / "i"), DATABASE_URL=url).stdout == "ok\n"
    assert "nothing to do" in invite_api("db", "migrate", INSTANCE=str(tmp_path / "i"), DATABASE_URL=url).stdout


@pytest.fixture
def redis(tmp_path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Redis of the test's own: its URL, and its process."""
    port = free_port()
    command = [require("redis-server", "redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", tmp_path], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            return bool(Redis.from_url(url).ping())
        except RedisError:
            return False

    wait_for(answers)
    yield url, process
    process.kill()
    process.wait()


def test_servers_with_one_redis_count_together(fleet, redis):
    one, two = fleet(2, LIMITS="on", LIMITS_URL=redis[0])
    wrong = {"email": "nobody@example.org", "password": "wrong"}
    statuses = [post(each, "/auth/login", wrong)[0] for each in (one, two) * 6]
    assert statuses == [401] * 10 + [429] * 2
    key = one.run("create", "test")
    assert {each.get(f"/invites_api?key={key}").status for each in (one, two)} == {201}


def test_servers_without_one_count_for_themselves(fleet):
    """The control: what shows that they count together."""
    one, two = fleet(2, LIMITS="on")
    wrong = {"email": "nobody@example.org", "password": "wrong"}
    assert [post(each, "/auth/login", wrong)[0] for each in (one, two) * 6] == [401] * 12


@pytest.mark.parametrize("shared", [True, False])
def test_a_call_is_counted_in_another_bucket_instead(redis, shared):
    counting = limits.RateLimits(True, redis[0] if shared else "")
    for _ in range(3):  # one call that is moved each time; the bucket that it is moved to takes two
        counting.count("2/minute", "address")
        counting.move("2/minute", ("address",), ("account",))
    counting.count("2/minute", "address")
    with pytest.raises(RateLimited):
        counting.count("2/minute", "address")
    counting.move("2/minute", ("nobody",), ("somebody",))  # what was not counted is not taken back
    counting.count("1/minute", "nobody")
    with pytest.raises(RateLimited):
        counting.count("1/minute", "nobody")


def test_while_redis_is_away_a_server_counts_for_itself(redis, caplog):
    url, process = redis
    counting = limits.RateLimits(True, url)
    counting.count("2/minute", "somebody")
    process.kill()
    process.wait()
    counting.count("2/minute", "somebody")
    counting.count("2/minute", "somebody")
    with pytest.raises(RateLimited):
        counting.count("2/minute", "somebody")
    assert caplog.text.count("LIMITS_URL does not answer") == 1
