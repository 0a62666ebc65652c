"""API keys that a real Prosody stored are taken over, and open the same door here."""

import sqlite3
import subprocess

import pytest

from programs import missing, require
from rules import prosody

pytestmark = pytest.mark.xdist_group("prosody")

CONFIG = """
data_path = "{folder}"
run_as_root = true
modules_enabled = {{ "invites", "invites_api" }}
storage = "{storage}"
sql = {{ driver = "SQLite3", database = "prosody.sqlite" }}
VirtualHost "chat.example"
VirtualHost "other.example"
"""


@pytest.fixture(params=["internal", "sql"])
def prosodyctl(request, tmp_path):
    """Make a key with the real prosodyctl, in the storage that is to be tried; `folder` is its data_path."""
    program = require("prosodyctl", "prosody prosody-modules")
    folder = tmp_path / "prosody"
    for each in (folder, tmp_path / "certs"):
        each.mkdir()
    config = tmp_path / "prosody.cfg.lua"
    config.write_text(CONFIG.format(folder=folder, storage=request.param))

    def create(host, *name):
        call = [program, "--config", str(config), "mod_invites_api", "create", host, *name]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        if "module 'DBI' not found" in done.stdout + done.stderr:
            missing("Lua's DBI", "lua-dbi-sqlite3")
        return done.stdout.strip()

    create.folder = folder
    return create


@pytest.mark.long
def test_keys_of_a_real_prosody_go_on_working(prosodyctl, serve, invite_api):
    keys = [
        prosodyctl("chat.example", 'José\'s "key" \\ 李'),
        prosodyctl("chat.example"),
        prosodyctl("other.example", "a\nb\x1b[31m"),
    ]
    done = invite_api("import", "--prosody", str(prosodyctl.folder))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ("Note: 2 API keys of chat.example imported\nNote: 1 API keys of other.example imported\n")
    names = dict(line.split("\t") for line in invite_api("list").stdout.splitlines())
    assert [names[key.partition("/")[0]] for key in keys] == ['José\'s "key" \\ 李', "<unknown>", "a b [31m"]
    served = serve()
    for key in keys:
        assert len(key) == 12 + 1 + 36
        assert served.get(f"/invites_api?key={key}").status == 201
        assert served.get(f"/invites_api?key={key}x").status == 403


@pytest.mark.long
def test_to_import_again_changes_nothing_and_brings_what_is_new(prosodyctl, invite_api):
    prosodyctl("chat.example", "first")
    invite_api("import", "--prosody", str(prosodyctl.folder))
    before = invite_api("list", "--json").stdout
    again = invite_api("import", "--prosody", str(prosodyctl.folder))
    assert (again.returncode, again.stderr) == (0, "Note: 1 API keys were here already\n")
    assert invite_api("list", "--json").stdout == before
    prosodyctl("chat.example", "second")
    assert "1 API keys of chat.example imported" in invite_api("import", "--prosody", str(prosodyctl.folder)).stderr


@pytest.mark.long
def test_one_host_can_be_chosen(prosodyctl, invite_api):
    prosodyctl("chat.example", "chat")
    prosodyctl("other.example", "other")
    assert invite_api("import", "--prosody", str(prosodyctl.folder), "--host", "other.example").returncode == 0
    assert invite_api("list").stdout.endswith("\tother\n")
    refused = invite_api("import", "--prosody", str(prosodyctl.folder), "--host", "no.example")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: --prosody: {prosodyctl.folder} holds no API keys of no.example: ")


@pytest.mark.long
def test_prosodys_data_stay_as_they_are(prosodyctl, invite_api):
    prosodyctl("chat.example", "first")
    before = {path: path.read_bytes() for path in prosodyctl.folder.rglob("*") if path.is_file()}
    invite_api("import", "--prosody", str(prosodyctl.folder))
    assert {path: path.read_bytes() for path in prosodyctl.folder.rglob("*") if path.is_file()} == before


def test_a_folder_without_keys_is_refused_in_a_sentence(invite_api, tmp_path):
    refused = invite_api("import", "--prosody", str(tmp_path))
    assert refused.returncode == 1
    assert "holds no API keys: name Prosody's data_path, such as /var/lib/prosody" in refused.stderr
    assert invite_api("import", "--prosody", str(tmp_path / "nowhere")).returncode == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "text",
    [  # what was written by somebody else, or half
        "",
        "os.execute('rm -rf /')",
        "return",
        "return {",
        'return "text";',
        "return { [1] = };",
        'return { ["a"] = "x" .. "y"; };',
        "return { [{}] = 1; };",
        'return { ["abc"] = 7; };',
        'return { ["abc"] = { ["id"] = "abc"; }; };',
        'return { ["abc"] = { ["id"] = "abc"; ["token"] = "x"; ["created_at"] = 1e300; }; };',
        'return { ["a"] = ' + "{" * 5000,
        'return { ["a"] = ' + '{ ["a"] = ' * 5000,
        "\xff",
    ],
)
def test_a_store_that_is_none_is_refused_in_a_sentence_and_nothing_is_taken(text, invite_api, tmp_path):
    store = tmp_path / "chat%2eexample" / "invite_api_keys.dat"
    store.parent.mkdir()
    store.write_bytes(text.encode("latin-1"))
    refused = invite_api("import", "--prosody", str(tmp_path))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith(f"Error: --prosody: {tmp_path} ")
    assert invite_api("list").stdout == ""


def test_a_file_of_sqlite_that_is_something_else_is_refused(invite_api, tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE recipes (id INTEGER)")
    other.close()
    refused = invite_api("import", "--prosody", str(path))
    assert refused.returncode == 1
    assert "cannot be read: no such table: prosody" in refused.stderr


def test_lua_as_prosody_writes_it_is_understood():
    written = r'return { ["a\"\\\n\195\169"] = { ["n"] = -1.5e3; [2] = true; ["no"] = false; ["gone"] = nil; }; };'
    assert prosody.parse(written) == {'a"\\\né': {"n": -1500.0, 2.0: True, "no": False, "gone": None}}
