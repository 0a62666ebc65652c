"""A backup is whole, private and checked, however much is written meanwhile; or it is not there."""

import hashlib
import os
import sqlite3
import stat
import subprocess
from contextlib import closing

import pytest

import database
from conftest import COMMAND
from database import Unavailable
from rules import tokens
from upkeep import backup

pytestmark = pytest.mark.sqlite


@pytest.fixture
def source(house, settings):
    return database.files.file_of(settings)


@pytest.mark.long
def test_the_server_is_backed_up_while_it_runs(serve, tmp_path):
    served = serve()
    token = served.run("invite", "create", "--name", "Anne").partition("?")[2]
    file = tmp_path / "copy.db"
    assert served.run("db", "backup", str(file)) == str(file)
    assert served.process.poll() is None
    with closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT name, token_hash FROM invites").fetchall() == [("Anne", tokens.digest(token))]
    assert subprocess.run(["sha256sum", "-c", "copy.db.sha256"], cwd=tmp_path, check=False).returncode == 0
    assert sorted(each.name for each in tmp_path.glob("copy*")) == ["copy.db", "copy.db.sha256"]


def test_a_backup_is_private_whatever_the_umask(source, tmp_path):
    before = os.umask(0)
    try:
        file = backup.make(source, tmp_path / "copy.db")
    finally:
        os.umask(before)
    for each in (file, backup.sums_of(file)):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_in_a_folder_a_backup_is_named_after_the_moment(source, tmp_path, time_machine):
    time_machine.move_to("2026-03-25T21:00:00Z", tick=False)
    assert backup.make(source, tmp_path).name == "invites-20260325T210000Z.db"
    with pytest.raises(Unavailable, match=r"invites-20260325T210000Z\.db: is there already"):
        backup.make(source, tmp_path)


@pytest.mark.parametrize("taken", ["copy.db", "copy.db.sha256"])
def test_nothing_is_overwritten(source, tmp_path, taken):
    (tmp_path / taken).write_text("precious")
    with pytest.raises(Unavailable, match=f"{taken}: is there already, and is not overwritten"):
        backup.make(source, tmp_path / "copy.db")
    assert (tmp_path / taken).read_text() == "precious"
    assert [each.name for each in tmp_path.glob("copy*")] == [taken]


@pytest.mark.long
def test_the_master_secret_is_not_in_it_and_that_is_said(invite_api, tmp_path):
    invite_api("invite", "create")
    done = invite_api("db", "backup", "copy.db")
    secret = tmp_path / "instance" / "secret.key"
    assert secret.read_text().strip().encode() not in (tmp_path / "copy.db").read_bytes()
    assert done.stderr == (
        f"Note: the master secret, {secret}, is not in it: keep a copy of that, elsewhere; "
        "without it old links are not shown again, but go on working\n"
    )
    elsewhere = invite_api("db", "backup", "other.db", SECRET_KEY="x" * 20)
    assert "the master secret (INVITE_API_SECRET_KEY) is not in it" in elsewhere.stderr


@pytest.mark.long
def test_cron_hears_nothing_of_a_backup_that_went_well(invite_api):
    invite_api("create")
    done = invite_api("db", "backup", ".", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("-", "-: a backup is a file"),
        ("nowhere/copy.db", "nowhere/copy.db: the backup cannot be written: No such file or directory"),
    ],
)
def test_where_no_file_can_be_that_is_said(invite_api, target, words):
    invite_api("create")
    done = invite_api("db", "backup", target)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


@pytest.mark.long
def test_without_a_database_none_is_made(invite_api, tmp_path):
    done = invite_api("db", "backup", "copy.db")
    assert (done.returncode, "there is no database yet" in done.stderr) == (1, True)
    assert not (tmp_path / "instance").exists()


def test_a_backup_for_which_there_is_no_room_leaves_nothing(invite_api, tmp_path, fill):
    fill(500)
    file = tmp_path / "copy.db"
    call = f"ulimit -f 64; exec {COMMAND} db backup {file}"
    environ = os.environ | {"INVITE_API_INSTANCE": str(tmp_path / "instance")}
    done = subprocess.run(["bash", "-c", call], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {file}: the backup cannot be written: ")
    assert list(tmp_path.glob("copy*")) == []


def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(source, tmp_path, fill):
    fill(20)
    with closing(sqlite3.connect(source)) as file:
        file.execute("PRAGMA foreign_keys = OFF")
        file.execute(
            "INSERT INTO members (id, project_id, user_id, role, joined_at) "
            "VALUES ('m', 'nowhere', 'nobody', 'member', '2026-01-01')"
        )
        file.commit()
    with pytest.raises(Unavailable, match="is damaged, so that its copy is no backup: members"):
        backup.make(source, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy*")) == []


def test_a_checksum_is_that_of_the_whole_file(source, tmp_path):
    file = backup.make(source, tmp_path / "copy.db")
    sums = f"{hashlib.sha256(file.read_bytes()).hexdigest()}  copy.db\n"
    assert backup.sums_of(file).read_text() == sums


@pytest.mark.long
def test_a_server_that_was_stopped_leaves_all_in_one_file(serve):
    served = serve()
    served.run("invite", "create")
    served.process.terminate()
    assert served.process.wait(20) == 0
    assert not list(served.instance.glob("invites.db-*"))
