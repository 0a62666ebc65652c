"""The command at a terminal, a pseudo-terminal that is: tables, colours, QR codes, progress; and in a pipe."""

import os
import pty
import re
import signal
import subprocess
import termios
import time
import urllib.request

import pytest
from wcwidth import width

import clock
import database
from commands import terminal
from conftest import COMMAND, HASH, SOME_ID, naming
from rules import accounts, invites

pytestmark = pytest.mark.any_database

FAR = r" *(now|\d+ \w+ ago)\b"  # it may be a second later by then
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HOSTILE = "x\x1b]0;owned\x07\x1b[2J\u202e\n\x9by"


class Typed:
    """What a command printed at a terminal, and how it ended."""

    def __init__(self, printed: bytes, status: int) -> None:
        self.raw = printed.decode().replace("\r\n", "\n")
        self.text = ESCAPE.sub("", self.raw)
        self.lines = self.text.splitlines()
        self.status = status


@pytest.fixture
def at_terminal(tmp_path):
    """Run the command with a terminal of so many columns as stdin, stdout and stderr."""

    def run(*arguments, columns=120, **environ):
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (50, columns))
        full = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
        full |= {**naming(tmp_path / "instance"), "TERM": "xterm-256color", **environ}
        process = subprocess.Popen(
            [COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=full, cwd=tmp_path
        )
        os.close(theirs)
        printed = b"".join(_until_end(ours))
        os.close(ours)
        return Typed(printed, process.wait(timeout=30))

    return run


@pytest.fixture
def served_at_terminal(tmp_path):
    """Start the service at a terminal, ask it for something, and end it by Ctrl-C; all that it printed."""

    def run(path="/health", **environ):
        ours, theirs = pty.openpty()
        full = {
            **os.environ,
            **naming(tmp_path / "instance"),
            "TERM": "xterm-256color",
            "INVITE_API_PORT": "0",
            **environ,
        }
        full.pop("NO_COLOR", None)
        process = subprocess.Popen(
            [COMMAND, "serve"], stdin=theirs, stdout=theirs, stderr=theirs, env=full, cwd=tmp_path
        )
        os.close(theirs)
        printed = b""
        while b"Ctrl-C stops it." not in printed:
            printed += os.read(ours, 65536)
        address = re.search(r"^  Listens on +(\S+)$", Typed(printed, 0).text, re.M)[1]
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address + path) as answer:
            answer.read()
        while b" ms" not in printed:
            printed += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        printed += b"".join(_until_end(ours))
        os.close(ours)
        assert process.wait(timeout=30) == 0
        return Typed(printed, 0)

    return run


@pytest.mark.long
def test_the_service_says_at_a_terminal_what_to_do_next(served_at_terminal, house, settings):
    said = served_at_terminal()
    assert re.search("^  Address +http://127.0.0.1:8080$", said.text, re.M)
    assert re.search("^  Admin pages +http://127.0.0.1:8080/admin$", said.text, re.M)
    assert re.search(f"^  Database +{re.escape(database.display_name(settings))}$", said.text, re.M)
    token = re.search(r"^  http://127.0.0.1:8080/invite\?([0-9a-f]{64})$", said.text, re.M)[1]
    with house.writing():
        made = invites.find(token)
        assert (made.makes_admin, made.max_uses) == (True, 1)
        assert made.expires_at <= clock.now() + clock.DAY
    assert token in served_at_terminal(INVITE_API_PUBLIC_URL="https://invite.example.org").text  # the same one again
    with house.writing():
        accounts.register(token, accounts.Names("root"), HASH)
    said = served_at_terminal(INVITE_API_PUBLIC_URL="https://invite.example.org")
    assert re.search("^  Admin pages +https://invite.example.org/admin$", said.text, re.M)
    assert "There is no admin" not in said.text
    assert "on this machine" not in said.text


@pytest.mark.long
def test_the_service_says_at_a_terminal_how_links_work_here_and_on_a_phone(served_at_terminal):
    said = served_at_terminal()
    port = re.search(r"Listens on +http://127.0.0.1:([0-9]+)$", said.text, re.M)[1]
    assert "These links do not work: they begin with http://127.0.0.1:8080." in said.text
    assert f"  INVITE_API_PUBLIC_URL=http://127.0.0.1:{port} {COMMAND} serve --port {port}" in said.lines
    said = served_at_terminal(INVITE_API_PUBLIC_URL="http://127.0.0.1:8123")
    assert "Links open on this machine only. To open them on a phone in your network, start it with" in said.lines
    assert re.search(
        r"  INVITE_API_PUBLIC_URL=http://\S+:[0-9]+ \S+ serve --host 0.0.0.0 --port [0-9]+$", said.text, re.M
    )
    said = served_at_terminal(INVITE_API_PUBLIC_URL="http://127.0.0.1:8123", INVITE_API_HOST="0.0.0.0")
    assert "For other devices, set INVITE_API_PUBLIC_URL to the address at which they reach it." in said.text


@pytest.mark.long
def test_a_request_is_logged_at_a_terminal_as_one_reads_it_and_ctrl_c_ends_it_with_a_word(served_at_terminal):
    said = served_at_terminal("/login")
    assert said.lines[-1] == "invite-api has stopped."
    assert "Traceback" not in said.text
    (line,) = (each for each in said.lines if "/login" in each)
    assert re.fullmatch(r"\d\d:\d\d:\d\d 127.0.0.1 GET /login 200 [0-9.]+ ms", line)


def _until_end(descriptor):
    while True:
        try:
            read = os.read(descriptor, 65536)
        except OSError:  # Linux: the other end is closed
            return
        if not read:
            return
        yield read


@pytest.fixture
def many(seeded, invite_api):
    """Invites in three states, for people whose names are of different widths."""
    for name in ("Anne", "李小龙", "José Ñúñez"):
        invite_api("invite", "create", "--name", name, "--ttl", "3d")
    newest = invite_api("invite", "list").stdout.partition("\t")[0]
    invite_api("invite", "delete", newest)


def test_a_list_is_a_table_whose_columns_are_under_each_other(at_terminal, many):
    shown = at_terminal("invite", "list")
    heads = ["ID", "STATE", "USES", "FOR", "EXPIRES", "CREATED BY"]
    assert shown.lines[0].split("  ")[0].strip() == "ID"
    assert re.split(r"  +", shown.lines[0]) == heads
    assert len(shown.lines) == 6
    for head in heads[1:]:
        left = shown.lines[0].index(head)
        for line in shown.lines[1:]:
            before = ""
            while width(before) < left:
                before = line[: len(before) + 1]
            assert width(before) == left
            assert before.endswith("  ")


@pytest.mark.long
def test_a_moment_has_beside_it_how_far_off_it_is(at_terminal, many):
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\dZ in 3 days", at_terminal("invite", "list").text)
    assert re.search(
        r"created_at +20\d\d-\d\d-\d\dT\d\d:\d\dZ (now|\d+ seconds ago)", at_terminal("invite", "show", SOME_ID).text
    )


@pytest.mark.long
def test_states_have_colours(at_terminal, many):
    raw = at_terminal("invite", "list").raw
    assert "\x1b[32mactive" in raw
    assert "\x1b[31mrevoked" in raw
    assert "\x1b[1mSTATE" in raw


@pytest.mark.long
@pytest.mark.parametrize(
    "command", [("invite", "list"), ("invite", "show", SOME_ID), ("list",), ("routes",), ("--help",)]
)
def test_no_color_is_honoured(at_terminal, many, command):
    shown = at_terminal(*command, NO_COLOR="1")
    assert shown.status == 0
    assert "\x1b" not in shown.raw
    assert re.sub(FAR, "", shown.text) == re.sub(FAR, "", at_terminal(*command).text)


@pytest.mark.long
def test_a_narrow_terminal_cuts_text_and_neither_ids_nor_moments(at_terminal, invite_api):
    invite_api("invite", "create", "--email", f"{'long' * 12}@example.org")
    (_, line) = at_terminal("invite", "list", columns=80).lines
    assert 70 < width(line) <= 80
    assert "…" in line
    assert re.match(r"[0-9a-f]{8}  ", line)
    assert "in 7 days" in line


@pytest.mark.long
def test_a_terminal_that_is_far_too_narrow_loses_nothing_that_is_needed(at_terminal, many):
    shown = at_terminal("invite", "list", columns=20)
    assert shown.status == 0
    assert SOME_ID[:8] in shown.text
    assert "in 3 days" in shown.text


@pytest.mark.long
def test_an_empty_list_has_its_headings(at_terminal):
    assert at_terminal("list").lines == ["ID  NAME"]
    assert at_terminal("user", "list").status == 0


@pytest.mark.long
def test_a_pipe_gets_plain_text_with_tabs(many, invite_api):
    printed = invite_api("invite", "list").stdout
    assert "\x1b" not in printed
    for line in printed.splitlines():
        assert re.fullmatch(r"[0-9a-f-]{36}\t\w+\t\d/\d\t[^\t]+\t20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t\w+", line)


@pytest.mark.long
def test_json_at_a_terminal_is_json(at_terminal, many):
    assert at_terminal("invite", "list", "--json").raw.startswith('[{"id": "')


@pytest.mark.long
@pytest.mark.parametrize("command", [("invite", "create", "--qr"), ("invite", "show", SOME_ID, "--qr")])
def test_a_qr_code_is_drawn_beside_the_link(at_terminal, many, command):
    shown = at_terminal(*command)
    assert re.search(r"http://127\.0\.0\.1:8080/invite\?[0-9a-f]{64}\n", shown.text)
    drawn = [line for line in shown.lines if set(line) <= set(" █▀▄") and len(line) > 30]
    assert len(drawn) > 15
    assert len({len(line) for line in drawn}) == 1


@pytest.mark.long
def test_a_qr_code_says_what_the_link_says(invite_api, many):
    import segno

    done = invite_api("invite", "create", "--qr")
    link = done.stdout.strip()
    assert done.stdout.count("\n") == 1
    expected = [[bool(dark) for dark in row] for row in segno.make(link, micro=False).matrix_iter(border=2)]
    assert modules(done.stderr)[: len(expected)] == expected


def modules(drawn):
    """The modules of a code of which each line has two rows: █ is light in both, ▀ in the upper, ▄ in the lower."""
    return [[each not in light for each in line] for line in drawn.splitlines() for light in ("█▀", "█▄")]


@pytest.mark.long
def test_many_show_their_progress(at_terminal):
    shown = at_terminal("invite", "create", "--count", "300")
    assert shown.status == 0
    assert re.search(r"Preparing +\[#+-*\] +\d+%", shown.text)
    assert "100%" in shown.text
    assert len(re.findall(r"^http://", shown.text, re.M)) == 300


@pytest.mark.long
def test_few_show_none(at_terminal):
    assert "Preparing" not in at_terminal("invite", "create", "--count", "3").text


@pytest.mark.long
def test_a_pipe_gets_no_progress(invite_api):
    done = invite_api("invite", "create", "--count", "300")
    assert (done.stderr, done.stdout.count("\n")) == ("", 300)


@pytest.fixture
def hostile(seeded, meddle):
    """Everything stored that somebody else might have chosen says things to the terminal."""
    for table, column in (
        *(("invites", each) for each in ("name", "note", "made_by", "plan")),
        *(("api_keys", "name"), ("projects", "name"), ("users", "display_name"), ("outbox", "last_error")),
        *(("outbox", "recipient"), ("api_keys", "preset"), ("presets", "name"), ("passes", "name")),
    ):
        meddle(f"UPDATE {table} SET {column} = :hostile", hostile=HOSTILE)
    meddle("UPDATE invites SET email = NULL")


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        *(("list",), ("list", "--long"), ("invite", "list"), ("invite", "show", SOME_ID), ("invite", "export")),
        *(
            ("invite", "export", "--format", "jsonl"),
            ("invite", "list", "--json"),
            ("invite", "show", SOME_ID, "--json"),
        ),
        *(("user", "list"), ("user", "show", "anne"), ("user", "show", "anne", "--json")),
        *(("project", "list"), ("project", "members", "tea-garden"), ("outbox", "list"), ("outbox", "list", "--json")),
        *(("preset", "list"), ("pass", "list"), ("pass", "list", "bob", "--json")),
    ],
    ids=" ".join,
)
def test_stored_text_commands_no_terminal(at_terminal, invite_api, hostile, command):
    for printed in (at_terminal(*command, NO_COLOR="1").raw, invite_api(*command).stdout):
        assert printed
        assert all(each in "\n\t" or each.isprintable() for each in printed)


@pytest.mark.long
@pytest.mark.parametrize("typed", ["\x1b[31mred\x1b[0m", "a\rb", "a\x07", "\u202eevil", "a\u0085b"])
def test_what_was_typed_commands_no_terminal_either(invite_api, typed):
    for command in (("invite", "create", "--name", typed), ("invite", "show", typed), ("user", "create", typed)):
        done = invite_api(*command)
        assert done.returncode == 1
        assert all(each == "\n" or each.isprintable() for each in done.stderr)


def test_facts_that_come_again_are_named_once():
    lines = [("made", "a"), ("used_by", "b"), ("used_by", "c")]
    assert [ESCAPE.sub("", each) for each in terminal.aligned(lines)] == ["made     a", "used_by  b", "         c"]


@pytest.mark.long
def test_ctrl_c_in_the_middle_says_what_it_leaves(settings, invite_api, meddle):
    given = {"INSTANCE": str(settings.instance), "DATABASE_URL": settings.database_url}
    environ = os.environ | {f"INVITE_API_{name}": value for name, value in given.items()}
    invite_api("list")
    call = [COMMAND, "invite", "create", "--count", "10000"]
    for wait in (0.6, 0.9, 1.3, 2.0, 3.0):
        process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        ((made,),) = meddle("SELECT count(*) FROM invites")
        meddle("DELETE FROM invites")
        assert made in (0, 10_000)
        if "interrupted" in said:
            assert ("nothing was created" in said) == (made == 0)
            assert ("all 10000 invites were created" in said) == (made == 10_000)


@pytest.mark.long
def test_whoever_asks_for_a_time_at_a_terminal_reads_when_it_ends(at_terminal, invite_api):
    expires = r"expires \d{1,2} [A-Z][a-z]{2}( \d{4})? "
    said = at_terminal("invite", "create", "--name", "Anne", "--ttl", "3m").lines
    assert said[0].startswith("http")
    assert re.fullmatch(rf"For Anne · 1 use · {expires}\(in 3 minutes\)", said[1])
    link = said[0]
    many = at_terminal("invite", "create", "--count", "2", "--uses", "5", "--ttl", "never").lines
    assert many[2] == "For anyone with the link · 5 uses each · never expires"
    assert re.fullmatch(rf"It {expires}\(in 30 days\)", at_terminal("invite", "extend", link, "30d").lines[0])
    assert re.fullmatch(rf"It {expires}\(in 3 months\)", at_terminal("create", "x", "--expires", "95d").lines[1])
    for words in (("invite", "create", "--ttl", "3m"), ("invite", "extend", link, "30d"), ("create", "x")):
        assert invite_api(*words).stderr == ""


def test_two_guests_of_one_name_are_told_apart_in_the_table(at_terminal, invite_api):
    for each in ("smith", "jones"):
        invite_api("invite", "create", "Anne", "--email", f"{each}@example.org")
    shown = at_terminal("invite", "list").text
    assert "Anne <smith@example.org>" in shown
    assert "Anne <jones@example.org>" in shown


def test_what_happened_is_a_sentence_a_line(seeded, at_terminal):
    first, *_, last = at_terminal("events", "--type", "invite.created").lines
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\dZ  "
    assert re.fullmatch(f"{moment}shell created the invite for dora@example.org", first)
    assert re.fullmatch(f"{moment}anne created the invite [0-9a-f]{{8}}", last)
