"""What was backed up is back: links, keys and people; and what was shut since then stays shut."""

import json
import os
import pty
import sqlite3
import subprocess
from contextlib import closing

import pytest
import time_machine

import clock
import database
from app import create_app
from conftest import COMMAND, HASH, PASSWORD, make_settings
from database import Unavailable, lock, session
from delivery import courier
from models import Code, Delivery, Invite, Letter, Member, Pass, Redemption, User
from rules import (
    accounts,
    admins,
    blocked_addresses,
    branches,
    budgets,
    changing,
    deliveries,
    drafts,
    expiry,
    gate,
    holds,
    invites,
    keys,
    passes,
    passwords,
    presets,
    projects,
    redemption,
    registration,
    resets,
    timeline,
    tokens,
    waiting,
    webhooks,
)
from rules.refusals import NoCode
from upkeep import backup, restore

pytestmark = pytest.mark.sqlite

GARBAGE = b"dear diary\n" * 1000


def ruin(source):
    """As a failing disk does it; what is in the journal could else be read from there."""
    source.write_bytes(GARBAGE)
    source.with_name("invites.db-wal").unlink()


@pytest.fixture
def source(house, settings):
    return database.files.file_of(settings)


@pytest.fixture
def copy(source, tmp_path):
    """Back the house up, and the file of that."""
    return lambda: backup.make(source, tmp_path / "copy.db")


@pytest.fixture
def put_back(settings, tmp_path):
    """Restore the backup; all that was said of it."""

    def put(reopen=False, **elsewhere):
        with restore.prepared(settings, tmp_path / "copy.db", reopen) as ready:
            ready.finish()
        return {each.heading.partition(" since")[0]: each.things for each in ready.findings} | dict.fromkeys(
            ready.notes
        )

    return put


@pytest.fixture
def reopened(settings):
    """Work in the database as it is now, in a unit of its own."""

    def work(look):
        with database.open_database(settings).writing():
            return look()

    return work


def test_links_keys_and_people_are_as_they_were(copy, put_back, make_invite, key, alice, source, settings):
    token = make_invite(name="Anne")
    copy()
    ruin(source)
    put_back()
    client = create_app(settings).test_client()
    assert "Anne" in client.get(f"/invite?{token}").text
    assert client.post("/invites_api", headers={"Authorization": f"Bearer {key}"}).status_code == 201
    assert client.post("/auth/login", json={"email": "alice", "password": PASSWORD}).status_code == 200


def test_nobody_is_signed_in_by_a_restore(copy, put_back, alice, settings):
    copy()
    put_back()
    client = create_app(settings).test_client()
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    refresh = {"refresh_token": alice.pair.refresh}
    assert client.post("/auth/token/refresh", json=refresh).status_code == 401


def test_a_mailed_code_is_not_good_again(copy, put_back, house, alice, reopened):
    with house.writing():
        registration.start_proof(accounts.named("alice"))
    copy()
    put_back()
    assert reopened(lambda: session().query(Code).count()) == 0
    with pytest.raises(NoCode):
        reopened(lambda: registration.count_try("alice@example.org", accounts.named("alice").id))


def test_a_spent_invite_stays_spent(copy, put_back, make_invite, use, settings, reopened):
    once, thrice = make_invite(email="anne@example.org"), make_invite(uses=3)
    use(thrice, "first")
    copy()
    use(once, "second")
    use(thrice, "third")
    said = put_back()
    assert [whose for _, whose in said["invites were used"]] == ["anne@example.org", None]
    assert [whose for _, whose in said["accounts were created"]] == ["anne@example.org", "third"]
    client = create_app(settings).test_client()
    assert client.get(f"/invite?{once}").status_code == 410
    assert reopened(lambda: invites.find(thrice).uses) == 2
    assert reopened(lambda: list(redemption.miscounted())) == []


def test_who_used_it_is_remembered_if_the_backup_knows_them(copy, put_back, make_invite, house, alice, reopened):
    from rules import redemption

    token = make_invite()
    copy()
    with house.writing():
        redemption.accept(token, accounts.named("alice"))
    put_back()
    assert reopened(lambda: [each.user.username for each in invites.find(token).redemptions]) == ["alice"]


def test_two_pasts_do_not_give_an_invite_more_uses_than_it_has(copy, put_back, make_invite, use, settings, reopened):
    token = make_invite(uses=2)
    first = copy()
    use(token, "one")
    use(token, "two")
    backup.make(database.files.file_of(settings), first.with_name("later.db"))
    put_back(reopen=True)
    reopened(lambda: accounts.register(token, accounts.Names("three"), HASH))
    with restore.prepared(settings, first.with_name("later.db")) as ready:
        ready.finish()
    assert ready.notes == []  # the two were compared
    assert reopened(lambda: invites.find(token).uses) == 2
    assert reopened(lambda: list(redemption.miscounted())) == []


def test_two_pasts_do_not_count_the_use_of_one_account_twice(copy, put_back, make_invite, alice, settings, reopened):
    token = make_invite(uses=3)
    first = copy()
    reopened(lambda: redemption.accept(token, accounts.named("alice")))
    later = backup.make(database.files.file_of(settings), first.with_name("later.db"))
    put_back(reopen=True)
    reopened(lambda: redemption.accept(token, accounts.named("alice")))
    with restore.prepared(settings, later) as ready:
        ready.finish()
    assert ready.notes == []  # the two were compared
    assert reopened(lambda: invites.find(token).uses) == 1
    assert reopened(lambda: list(redemption.miscounted())) == []


def lapse(_, hold, __):
    with time_machine.travel(clock.now() + clock.HOUR, tick=False):
        expiry.give_back([hold])


# What becomes of a hold, and the state that it has then.
GOES_ON = {
    "it goes on": (lambda *_: None, "held"),
    "completed": (lambda _, hold, key_id: holds.complete(hold, key_id), "done"),
    "taken back": (lambda _, hold, key_id: holds.release(hold, key_id), "released"),
    "its invite is revoked": (lambda token, *_: changing.revoke(invites.find(token)), "revoked"),
    "nobody completes it": (lapse, "lapsed"),
}


@pytest.mark.parametrize("begun", ["before the backup", "since the backup"])
@pytest.mark.parametrize("what", GOES_ON)
def test_a_use_that_waited_is_after_a_restore_what_it_was(
    copy, put_back, make_invite, use, key, house, reopened, what, begun
):
    """With it is restored that another one of the same guest was taken back, so that both have one name."""
    token, key_id, (happen, state) = make_invite(uses=3), key.partition("/")[0], GOES_ON[what]

    def look():
        invite = invites.find(token)
        rows = [(each.id, each.state, each.until, each.redeemed_at, each.released_at) for each in invite.redemptions]
        return invite.uses, invite.waiting, invite.lapses_at, sorted(rows)

    def hold():
        with house.writing():
            earlier = holds.take(invites.find(token), key_id, holds.Wanted("guest"))
            holds.release(earlier.id, key_id)
            return holds.take(invites.find(token), key_id, holds.Wanted("guest")).id

    use(token)
    held = hold() if begun == "before the backup" else None
    copy()
    held = held or hold()
    with house.writing():
        happen(token, held, key_id)
    with house.reading():
        before = look()
    assert state in {each[1] for each in before[-1] if each[0] == held}
    assert set(put_back()) <= {
        *("invites were used", "invites are held, or a use of them waits,", "uses of invites were given back"),
        "invites were revoked",
    }
    assert reopened(look) == before
    assert reopened(lambda: list(redemption.miscounted())) == []


def test_who_waits_for_a_yes_waits_on_after_a_restore(copy, put_back, make_invite, house, alice, reopened):
    token = make_invite(approve="yes", name="Anne")
    copy()
    with house.writing():
        redemption.accept(token, accounts.named("alice"))
        use_id = session().query(Redemption).one().id
    assert [whose for _, whose in put_back()["invites are held, or a use of them waits,"]] == ["Anne"]
    assert reopened(lambda: waiting.approve(use_id).user.username) == "alice"
    assert reopened(lambda: invites.find(token).state(clock.now())) == "used"


def test_what_waits_for_somebody_whom_the_backup_does_not_know_does_not_wait_on(
    copy, put_back, make_invite, house, reopened
):
    for_guests, for_programs = make_invite(approve="yes"), make_invite()
    copy()
    with house.writing():
        accounts.register(for_guests, accounts.Names("newcomer"), HASH)
        key_id = keys.create("since").partition("/")[0]
        holds.take(invites.find(for_programs), key_id, holds.Wanted("guest"))
    put_back()
    for token in (for_guests, for_programs):
        assert reopened(lambda token=token: invites.find(token).uses) == 0
    assert reopened(lambda: list(redemption.miscounted())) == []


def test_what_waits_ends_where_its_invite_was_revoked_in_another_past(
    copy, put_back, make_invite, house, key, settings, reopened
):
    token, key_id = make_invite(uses=3), key.partition("/")[0]
    first = copy()
    with house.writing():
        held = holds.take(invites.find(token), key_id, holds.Wanted("guest")).id
    later = backup.make(database.files.file_of(settings), first.with_name("later.db"))
    put_back(reopen=True)
    reopened(lambda: changing.revoke(invites.find(token)))
    with restore.prepared(settings, later) as ready:
        ready.finish()
    assert ready.notes == []  # the two were compared
    assert reopened(lambda: (invites.find(token).uses, invites.find(token).lapses_at)) == (0, None)
    assert reopened(lambda: session().get(Redemption, held).state) == "revoked"
    assert reopened(lambda: list(redemption.miscounted())) == []


def test_what_happened_since_stays_told_and_no_number_is_given_twice(copy, put_back, make_invite, use, reopened):
    use(make_invite())
    copy()
    use(make_invite(), "since")

    def told():
        return [(each.number, each.type) for each in timeline.oldest(timeline.Filter(), 0)]

    before = reopened(told)
    put_back()
    assert reopened(told) == before
    reopened(lambda: invites.create(drafts.read({}), drafts.SHELL))
    assert reopened(told)[-1][0] > before[-1][0]


def test_a_program_that_follows_is_told_on_where_nothing_is_left_of_the_database(
    copy, put_back, make_invite, source, reopened
):
    copy()
    for _ in range(3):
        make_invite()
    ruin(source)
    put_back()
    reopened(lambda: invites.create(drafts.read({}), drafts.SHELL))
    assert [each.type for each in reopened(lambda: timeline.oldest(timeline.Filter(), 3))] == ["invite.created"]


def test_what_was_shut_stays_shut(copy, put_back, make_invite, house, alice, charlie, settings, reopened):
    token = make_invite(name="Anne")
    with house.writing():
        for name in ("stem", "mallory", "dora"):
            accounts.create(accounts.Names(name), HASH)
    copy()
    with house.writing():
        changing.revoke(invites.find(token))
        accounts.disable(accounts.named("alice"))
        accounts.remove(accounts.named("charlie"))
        stem = accounts.named("stem")
        accounts.create(accounts.Names("leaf"), HASH, inviter_id=stem.id)
        branches.move(accounts.named("mallory"), stem)
        branches.disable(stem)
        budgets.set_budget(accounts.named("dora"), "0")
    said = put_back()
    assert [whose for _, whose in said["invites were revoked"]] == ["Anne"]
    assert len(said["accounts were disabled or deleted"]) == 4
    assert [whose for _, whose in said["accounts got another budget"]] == ["dora"]
    together = reopened(lambda: branches.to_enable(accounts.named("stem")).people)
    assert [each.called for each in together] == ["stem", "mallory"]
    client = create_app(settings).test_client()
    assert client.get(f"/invite?{token}").status_code == 404
    for name in ("alice", "charlie"):
        assert client.post("/auth/login", json={"email": name, "password": PASSWORD}).status_code == 401


def test_what_was_shut_by_mistake_is_open_again_if_asked_for(copy, put_back, make_invite, use, house, alice, settings):
    used, withdrawn = make_invite(), make_invite()
    copy()
    use(used)
    with house.writing():
        changing.revoke(invites.find(withdrawn))
        accounts.disable(accounts.named("alice"))
    put_back(reopen=True)
    client = create_app(settings).test_client()
    assert [client.get(f"/invite?{each}").status_code for each in (used, withdrawn)] == [200, 200]
    assert client.post("/auth/login", json={"email": "alice", "password": PASSWORD}).status_code == 200


def test_what_was_made_since_is_named_and_kept_aside(copy, put_back, make_invite, house, key, settings, source):
    copy()
    token = make_invite(email="dora@example.org")
    with house.writing():
        later = keys.create("later").partition("/")[0]
        keys.delete(key.partition("/")[0])
    said = put_back()
    assert [whose for _, whose in said["invites were created"]] == ["dora@example.org"]
    assert said["API keys were created"] == [(later, "later")]
    assert said["API keys were deleted"] == [(key.partition("/")[0], "test")]
    (kept,) = source.parent.glob("invites-before-restore-*.db")
    former = database.open_database(make_settings(settings.instance, DATABASE_URL=f"sqlite:///{kept}"))
    with former.reading():
        assert invites.find(token).email == "dora@example.org"


def test_on_a_new_machine_nothing_is_compared(copy, make_invite, key, tmp_path):
    make_invite()
    copy()
    elsewhere = make_settings(tmp_path / "new")
    with database.open_database(elsewhere).writing():  # a server was started there too early
        pass
    with restore.prepared(elsewhere, tmp_path / "copy.db") as ready:
        ready.finish()
    assert (ready.notes, ready.findings) == ([], [])
    assert oct(database.files.file_of(elsewhere).stat().st_mode & 0o777) == "0o600"


def test_the_folder_of_a_restored_database_is_private(copy, tmp_path):
    copy()
    elsewhere = tmp_path / "new"
    elsewhere.mkdir(mode=0o755)
    with restore.prepared(make_settings(elsewhere), tmp_path / "copy.db") as ready:
        ready.finish()
    assert oct(elsewhere.stat().st_mode & 0o777) == "0o700"


def test_mail_that_went_out_since_is_not_sent_again(copy, put_back, seeded, house, reopened):
    copy()
    with house.writing() as unit:
        for each in unit.session.query(Letter):
            each.sent_at, each.due_at = clock.now(), None
    put_back()
    assert reopened(lambda: [each.due_at for each in database.session().query(Letter)]) == [None]


def test_who_wanted_no_more_invitations_since_gets_none(copy, put_back, house, reopened):
    with house.writing():
        blocked_addresses.block_address("dora@example.org")
    copy()
    with house.writing():
        blocked_addresses.block_address("anne@example.org")
    put_back()
    blocked = [f"{name}@example.org" for name in ("dora", "anne", "bob")]
    assert reopened(lambda: [bool(blocked_addresses.blocked_since(each)) for each in blocked]) == [True, True, False]


def test_webhooks_are_as_they_are_now_and_nothing_is_sent_again(copy, put_back, house, make_invite, reopened):
    wanted = webhooks.Wanted("http://127.0.0.1:1/", "invite", private=True)
    with house.writing():
        kept, off, gone = (webhooks.create(wanted, 0)[0].id for _ in range(3))
    make_invite()
    courier.dispatch(house)
    copy()
    make_invite()
    courier.dispatch(house)
    with house.writing() as unit:
        secret = webhooks.rotate(webhooks.named_locked(kept))
        webhooks.disable(webhooks.named_locked(off))
        webhooks.delete(webhooks.named_locked(gone))
        new = webhooks.create(wanted, 0)[0].id
        first = unit.session.query(Delivery).filter_by(webhook_id=kept).order_by(Delivery.event).first()
        first.due_at, first.sent_at, first.attempts = None, clock.now(), 1
    found = put_back()
    assert [id_ for id_, _ in found["webhooks were created"]] == [new]
    assert [id_ for id_, _ in found["webhooks were deleted"]] == [gone]

    def look():
        states = {each.id: each.state for each in webhooks.newest()}
        rows = database.session().query(Delivery).filter_by(webhook_id=kept).order_by(Delivery.event)
        signed = webhooks.signature(webhooks.named(kept), "1", 1, b"x").split()
        return states, [each.state for each in rows], len(signed), webhooks.named(kept).seen

    states, log, signatures, seen = reopened(look)
    assert states == {kept: "enabled", off: "disabled", gone: "disabled"}
    assert log == ["sent", "waiting"]
    assert (signatures, secret[:6]) == (2, "whsec_")
    reopened(lambda: invites.create(drafts.read({}), drafts.SHELL))
    reopened(lambda: [deliveries.write(each) for each in deliveries.unwritten(2**62)])
    assert reopened(look)[1] == ["sent", "waiting", "waiting"]
    assert reopened(look)[3] > seen


def test_a_database_that_cannot_be_read_is_replaced_and_that_is_said(copy, put_back, make_invite, source):
    make_invite()
    copy()
    ruin(source)
    (note,) = put_back()
    assert note.startswith("the present database cannot be compared (file is not a database)")
    (kept,) = source.parent.glob("invites-before-restore-*.db")
    assert kept.read_bytes() == GARBAGE


@pytest.mark.long
def test_the_journal_of_the_former_database_does_not_get_into_the_next(copy, put_back, serve, settings, tmp_path):
    copy()
    served = serve()
    served.run("invite", "create", "--name", "Anne")
    served.process.kill()
    served.process.wait()
    assert database.files.file_of(settings).with_name("invites.db-wal").stat().st_size
    assert [len(each) for each in put_back().values()] == [1]
    with closing(sqlite3.connect(database.files.file_of(settings))) as file:
        assert file.execute("SELECT count(*) FROM invites").fetchone() == (0,)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_copy_with_a_journal_beside_it_is_restored_whole(house, source, make_invite, tmp_path, settings):
    make_invite(name="Anne")
    for end in ("", "-wal"):
        (tmp_path / f"copy.db{end}").write_bytes(source.with_name(source.name + end).read_bytes())
    before = (tmp_path / "copy.db").read_bytes()
    elsewhere = make_settings(tmp_path / "new")
    with restore.prepared(elsewhere, tmp_path / "copy.db") as ready:
        ready.finish()
    with database.open_database(elsewhere).reading() as unit:
        assert [each.name for each in unit.session.query(invites.Invite)] == ["Anne"]
    assert (tmp_path / "copy.db").read_bytes() == before


def test_a_database_behind_a_link_is_replaced_where_it_is(tmp_path, make_invite, house, settings):
    make_invite(name="Anne")
    house.close()
    path = database.files.file_of(settings)
    behind = tmp_path / "big disk" / "invites.db"
    behind.parent.mkdir()
    path.rename(behind)
    path.symlink_to(behind)
    file = backup.make(path, tmp_path / "copy.db")
    for name in (behind, path):
        with lock.using(name), pytest.raises(Unavailable, match="is in use"), restore.prepared(settings, file):
            pass
    with database.open_database(settings).writing() as unit:
        unit.session.query(invites.Invite).one().name = "Bob"
    with restore.prepared(settings, file) as ready:
        ready.finish()
    assert path.readlink() == behind
    with database.open_database(settings).reading() as unit:
        assert unit.session.query(invites.Invite).one().name == "Anne"
    assert len(list(behind.parent.glob("invites-before-restore-*.db"))) == 1


def truncated(file):
    file.write_bytes(file.read_bytes()[:8192])
    return r"copy\.db: is not whole: its checksum is not the one in copy\.db\.sha256"


def truncated_without_its_checksum(file):
    backup.sums_of(file).unlink()
    file.write_bytes(file.read_bytes()[:8192])
    return r"copy\.db: .*(malformed|damaged)"


def of_another_program(file):
    backup.sums_of(file).unlink()
    file.unlink()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE recipes (id INTEGER)")
    return r"copy\.db: this is no database of invite-api"


def of_another_program_that_counts_its_schemas_too(file):
    of_another_program(file)
    with closing(sqlite3.connect(file)) as other:
        other.executescript("CREATE TABLE schema_version (version TEXT); INSERT INTO schema_version VALUES ('1');")
    return r"copy\.db: this is no database of invite-api"


def of_no_version(file):
    backup.sums_of(file).unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("DELETE FROM schema_version")
    return r"copy\.db: it no longer says which version"


def with_a_row_that_refers_to_nothing(file):
    backup.sums_of(file).unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(
            "INSERT INTO members (id, project_id, user_id, role, joined_at) "
            "VALUES ('m', 'of no project', 'and no user', 'member', '2026-01-01')"
        )
    return r"copy\.db: is damaged: members, row 1: refers to a row"


def a_pipe(file):
    file.unlink()
    os.mkfifo(file)
    return r"copy\.db: is no file; nothing was changed"


def newer(file):
    backup.sums_of(file).unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("UPDATE schema_version SET version = 99")
    return r"copy\.db: its schema is version 99, this invite-api needs \d+: install"


def no_database(file):
    backup.sums_of(file).unlink()
    file.write_bytes(GARBAGE)
    return r"copy\.db: file is not a database"


def nothing(file):
    file.unlink()
    return r"copy\.db: No such file or directory; nothing was changed"


@pytest.mark.parametrize(
    "spoil",
    [
        *(truncated, truncated_without_its_checksum, newer, no_database, nothing, a_pipe),
        with_a_row_that_refers_to_nothing,
        *(of_another_program, of_another_program_that_counts_its_schemas_too, of_no_version),
    ],
)
def test_what_is_no_good_backup_changes_nothing(copy, put_back, make_invite, source, spoil):
    token = make_invite()
    words = spoil(copy())
    there = {each.name for each in source.parent.iterdir()}
    with pytest.raises(Unavailable, match=words):
        put_back()
    assert {each.name for each in source.parent.iterdir()} - there <= {"invites.db.lock"}
    with closing(sqlite3.connect(source)) as file:
        assert file.execute("SELECT token_hash FROM invites").fetchall() == [(tokens.digest(token),)]


def test_a_backup_without_its_checksum_is_taken_with_a_warning(copy, put_back):
    backup.sums_of(copy()).unlink()
    assert list(put_back()) == ["there is no copy.db.sha256 beside it to compare it with"]


@pytest.mark.long
def test_while_a_server_runs_nothing_is_restored_and_one_that_was_killed_is_no_hindrance(serve, invite_api, tmp_path):
    served = serve()
    served.run("db", "backup", str(tmp_path / "copy.db"))
    refused = invite_api("db", "restore", "copy.db", "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    in_use = "invites.db: is in use: stop the server (and other invite-api commands) first; nothing was changed\n"
    assert refused.stderr.endswith(in_use)
    assert "is in use" in invite_api("db", "migrate").stderr
    served.process.kill()
    served.process.wait()
    done = invite_api("db", "restore", "copy.db", "--yes")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/instance/invites.db\n")
    assert invite_api("db", "check").stdout == "ok\n"


@pytest.mark.long
def test_during_a_restore_neither_server_nor_command_starts(house, source, invite_api):
    with lock.exclusive(source):
        for arguments in (["list"], ["serve", "--port", "0"], ["db", "backup", "copy.db"]):
            done = invite_api(*arguments)
            assert done.returncode == 1
            assert "is being restored or migrated: try again" in done.stderr


def test_another_program_that_has_the_database_open_is_in_the_way(copy, put_back, make_invite, source, monkeypatch):
    monkeypatch.setattr(database.sqlite, "TIMEOUT", 0.1)
    make_invite()
    copy()
    with closing(sqlite3.connect(source, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM invites").fetchone()
        make_invite()
        with pytest.raises(Unavailable, match="another program has it open; nothing was changed"):
            put_back()


@pytest.mark.long
def test_without_yes_nothing_is_restored(invite_api, tmp_path):
    invite_api("invite", "create")
    invite_api("db", "backup", "copy.db")
    invite_api("invite", "create", "--email", "dora@example.org")
    done = invite_api("db", "restore", "copy.db")
    assert done.returncode == 1
    assert "Warning: 1 invites were created since the backup; their links will no longer work:\n" in done.stderr
    assert "  dora@example.org\n" in done.stderr
    assert done.stderr.endswith("Error: nothing was changed: give --yes\n")
    assert len(json.loads(invite_api("invite", "list", "--json").stdout)) == 2


@pytest.mark.long
@pytest.mark.parametrize(("typed", "ended", "left"), [("y", 0, 0), ("n", 1, 1)])
def test_at_a_terminal_it_asks(invite_api, tmp_path, typed, ended, left):
    invite_api("create")
    invite_api("db", "backup", "copy.db")
    invite_api("invite", "create")
    ours, theirs = pty.openpty()
    os.write(ours, f"{typed}\n".encode())
    environ = os.environ | {"INVITE_API_INSTANCE": str(tmp_path / "instance")}
    call = [COMMAND, "db", "restore", str(tmp_path / "copy.db")]
    done = subprocess.run(call, stdin=theirs, capture_output=True, text=True, env=environ, check=False)
    for each in (ours, theirs):
        os.close(each)
    assert done.returncode == ended
    assert f"Replace {tmp_path}/instance/invites.db by {tmp_path}/copy.db? [y/N]: " in done.stderr
    assert len(invite_api("invite", "list").stdout.splitlines()) == left


def test_a_user_of_the_backup_is_as_the_backup_says(copy, put_back, alice, house, reopened):
    copy()
    with house.writing():
        accounts.named("alice").display_name = "Alice the Second"
    put_back()
    assert reopened(lambda: [each.display_name for each in database.session().query(User)]) == [None]


def test_a_leaked_link_that_was_replaced_stays_dead(copy, put_back, make_invite, house, settings):
    leaked = make_invite(name="Anne")
    copy()
    with house.writing():
        changing.rotate(invites.find(leaked))
        successor = invites.token(session().query(Invite).one())
    assert [whose for _, whose in put_back()["invites got a new link, or were mailed,"]] == ["Anne"]
    client = create_app(settings).test_client()
    assert [client.get(f"/invite?{each}").status_code for each in (leaked, successor)] == [404, 200]


def test_a_link_that_was_mailed_since_works_on(copy, put_back, make_invite, house, settings):
    make_invite(name="Anne", email="anne@example.org")
    copy()
    with house.writing():
        invites.mail(session().query(Invite).one())
        mailed = invites.mail_token(session().query(Invite).one())
    put_back()
    assert create_app(settings).test_client().get(f"/invite?{mailed}").status_code == 200


def test_a_used_link_for_a_new_password_stays_used_and_the_password_as_it_is(copy, put_back, house, alice, settings):
    with house.reading():
        link = resets.link(accounts.named("alice")).partition("?")[2]
    copy()
    with house.writing():
        resets.use(link, passwords.hash("another horse battery"))
    assert [whose for _, whose in put_back()["passwords were set"]] == ["alice@example.org"]
    client = create_app(settings).test_client()
    assert client.get(f"/password/reset?{link}").status_code == 400
    logins = [{"email": "alice", "password": each} for each in (PASSWORD, "another horse battery")]
    assert [client.post("/auth/login", json=each).status_code for each in logins] == [401, 200]


def test_who_is_no_admin_any_more_stays_none(copy, put_back, house, root, alice, reopened):
    copy()
    with house.writing():
        accounts.set_admin(accounts.named("root"), False)
        accounts.set_admin(accounts.named("alice"), True)
    said = put_back()
    assert [whose for _, whose in said["accounts stopped being admins of the site"]] == ["root@example.org"]
    assert [whose for _, whose in said["accounts became admins of the site"]] == ["alice@example.org"]
    assert not reopened(lambda: admins.is_admin(accounts.named("root")))


@pytest.fixture
def garden(house, alice, charlie, root):
    """A project of alice's, of which charlie is an admin; its slug."""
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
        draft = drafts.read({"project": slug, "role": "admin"})
        redemption.accept(invites.token(invites.create(draft, drafts.SHELL)), accounts.named("charlie"))
    return slug


def test_a_member_who_was_removed_stays_out(copy, put_back, house, garden, reopened):
    copy()
    with house.writing():
        manager = projects.of_manager(garden, accounts.named("alice"))
        gone = projects.find_member(projects.find(garden), accounts.named("charlie"))
        projects.remove(manager, gone.id)
    said = put_back()
    assert [whose for _, whose in said["members were removed from projects"]] == ["charlie@example.org"]
    assert reopened(lambda: projects.find_member(projects.find(garden), accounts.named("charlie"))) is None


@pytest.mark.parametrize("reopen", [False, True])
def test_an_app_that_was_taken_from_behind_the_gate_stays_so_and_one_that_was_put_there_is_named(
    copy, put_back, house, garden, reopened, reopen
):
    kept, gone, new = (f"https://{name}.example.org" for name in ("garden", "former", "new"))
    with house.writing():
        gate.set_origins(garden, [kept, gone])
    copy()
    with house.writing():
        gate.set_origins(garden, [new, kept])
    said = put_back(reopen)
    assert [origin for _, origin in said["apps were put behind the gate"]] == [new]
    taken = [origin for _, origin in said.get("apps were removed from the gate", [])]
    assert taken == ([] if reopen else [gone])
    there = reopened(lambda: gate.origins(projects.find(garden)))
    assert there == ([kept, gone] if reopen else [kept])


@pytest.mark.parametrize("reopen", [False, True])
def test_a_pass_that_was_deleted_stays_so_and_one_that_was_created_is_named(
    copy, put_back, house, garden, reopened, reopen
):
    def created(name):
        return passes.create(projects.member(garden, accounts.named("charlie")), name)[0].id

    with house.writing():
        gate.set_origins(garden, ["https://garden.example.org"])
        kept, deleted = created("calendar"), created("lost")
    copy()
    with house.writing():
        passes.delete(deleted)
        since = created("backup")
    said = put_back(reopen)
    assert said["passes of programs were created"] == [(since, "backup")]
    assert said.get("passes of programs were deleted", []) == ([] if reopen else [(deleted, "lost")])
    there = reopened(lambda: {each.id for each in session().query(Pass)})
    assert there == ({kept, deleted} if reopen else {kept})


def test_access_that_was_shortened_stays_so_and_what_was_added_to_it_is_named(
    copy, put_back, house, garden, settings, reopened
):
    def charlie():
        return projects.find_member(projects.find(garden), accounts.named("charlie"))

    with house.writing():
        inviter = drafts.Inviter("charlie", user=accounts.named("charlie"), until=charlie().ends_at)
        by_charlie = invites.token(invites.create(drafts.read({"project": garden, "ttl": "90d"}), inviter))
    first = copy()
    with house.writing():
        projects.extend(charlie(), 60 * clock.DAY)
    with house.reading():
        before = charlie().ends_at
    later = backup.make(database.files.file_of(settings), first.with_name("later.db"))
    said = put_back()
    assert [whose for _, whose in said["members got less time"]] == ["charlie@example.org"]
    assert [id_ for id_, _ in said["invites got less time"]] == [reopened(lambda: invites.find(by_charlie).id)]
    assert reopened(lambda: (charlie().ends_at, invites.find(by_charlie).expires_at)) == (before, before)
    reopened(lambda: projects.extend(charlie(), None))
    with restore.prepared(settings, later) as ready:
        ready.finish()
    assert [each.things[0][1] for each in ready.findings if each.heading.startswith("members got more time")] == [
        "charlie@example.org"
    ]
    assert reopened(lambda: charlie().ends_at) == before


def test_who_was_mailed_that_an_access_ends_is_not_mailed_again(copy, put_back, house, garden, reopened):
    with house.writing():
        member = projects.find_member(projects.find(garden), accounts.named("charlie"))
        member.joined_at, member.ends_at = clock.now() - 30 * clock.DAY, clock.now() + clock.DAY
    copy()
    with house.writing():
        expiry.warn(expiry.ending())
        assert session().query(Letter).one().kind == "ending"
    put_back()
    assert reopened(expiry.ending) == []


def test_a_member_who_is_no_admin_any_more_stays_none(copy, put_back, house, garden, reopened):
    def role():
        return projects.find_member(projects.find(garden), accounts.named("charlie")).role

    copy()
    with house.writing():
        projects.find_member(projects.find(garden), accounts.named("charlie")).role = "member"
    said = put_back()
    assert [whose for _, whose in said["members stopped being admins of their project"]] == ["charlie@example.org"]
    assert reopened(role) == "member"


def test_a_project_that_was_deleted_stays_so_and_one_that_was_handed_over_goes_back(
    copy, put_back, house, garden, reopened
):
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Orchard"))
    copy()
    with house.writing():
        projects.delete("orchard")
        projects.hand_over(garden, accounts.named("charlie"))
    said = put_back()
    assert [whose for _, whose in said["projects were deleted"]] == ["Orchard"]
    assert [whose for _, whose in said["projects got another owner"]] == [garden]
    assert reopened(lambda: projects.find(garden).owner.username) == "alice"
    assert reopened(lambda: [each.slug for each in projects.newest(9)]) == [garden]
    assert reopened(lambda: session().query(Member).count()) == 2


CHANGES = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON users BEGIN UPDATE users SET admin_at = new.created_at; END",
    "a view": "CREATE VIEW everybody AS SELECT * FROM users",
    "a table of others": "CREATE TABLE recipes (id INTEGER)",
    "a table less": "DROP TABLE counters",
    "an index less": "DROP INDEX members_one_owner",
    "another index": "DROP INDEX members_one_owner; CREATE INDEX members_one_owner ON members (project_id)",
    "a column more": "ALTER TABLE users ADD COLUMN shoe_size INTEGER",
    "a check less": (
        "PRAGMA writable_schema = ON; UPDATE sqlite_master SET "
        "sql = replace(sql, 'CHECK (uses BETWEEN 0 AND max_uses)', '') WHERE name = 'invites'"
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_schema_that_is_not_ours_is_neither_restored_nor_sound(copy, house, settings, source, invite_api, change):
    file = copy()
    backup.sums_of(file).unlink()
    house.close()
    assert invite_api("db", "check").stdout == "ok\n"
    for each in (file, source):
        with closing(sqlite3.connect(each)) as connection:
            connection.executescript(CHANGES[change])
    before = source.read_bytes()
    with (
        pytest.raises(Unavailable, match=r"is not a database of invite-api: (table|index|trigger|view) \w+: is"),
        restore.prepared(settings, file),
    ):
        pass
    assert source.read_bytes() == before
    checked = invite_api("db", "check")
    assert (checked.returncode, checked.stdout) == (1, "")


def test_what_was_limited_stopped_or_led_elsewhere_since_stays_so(copy, put_back, make_invite, house, alice, reopened):
    token = make_invite(uses=100)
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Garden")).slug
        projects.join_url(projects.find(slug), "https://compromised.example.org/join?i={token}")
        presets.create("family", {"uses": "5"})
    copy()
    with house.writing():
        changing.change(invites.find(token), {"max_uses": 1}, drafts.SHELL)
        projects.join_url(projects.find(slug), None)
        presets.delete("family")
    house.close()
    found = put_back()
    assert {each for each, things in found.items() if things} >= {
        "invites were limited to fewer uses",
        "presets were deleted",
        "the guests of projects are led elsewhere",
    }
    assert reopened(lambda: invites.find(token).max_uses) == 1
    assert reopened(lambda: presets.find("family")) is None
    assert reopened(lambda: projects.find(slug).join_url) is None
