"""What the README says is so: its transcript is executed, its tables are compared with the code."""

import os
import re
import subprocess
import sys
from contextlib import closing

import pytest

import config
from conftest import COMMAND, free_port, require
from test_cli import commands

README = (config.CHECKOUT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"
# What differs each time: the first of these in a line binds what the README printed to what came.
CHANGING = re.compile(r"[A-Za-z0-9_][\w-]{7}/[\w-]{32}|\b[0-9a-f]{64}\b")


@pytest.fixture
def mail_server(tmp_path):
    """The one that the README has write down what it gets."""
    port = free_port()
    command = [sys.executable, "-u", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    with (tmp_path / "mails.txt").open("wb") as mails:
        process = subprocess.Popen(command, stdout=mails)
    yield f"smtp://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def transcripts():
    return re.findall(r"^```console\n(.*?)^```$", README, re.M | re.S)


def steps():
    """(command, the lines that it prints) for every `$` line of every transcript, in their order."""
    for each in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(transcripts()), re.M):
        yield each[0], each[1].splitlines()


class Reader:
    """Somebody who types what the README shows, with the keys and links that they got themselves."""

    END = "the end of what was printed"

    def __init__(self, served, folder=None, bin=COMMAND.parent):
        self.meant = {ADDRESS: served.url}
        environ = served.environ | {"PATH": f"{bin}:{os.environ['PATH']}"}
        self.shell = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=folder
        )

    def put(self, text):
        for written, mine in self.meant.items():
            text = text.replace(written, mine)
        return text

    def type(self, command):
        self.shell.stdin.write(f"{self.put(command)}\nprintf '\\n{self.END}\\n'\n")
        self.shell.stdin.flush()
        printed = []
        for line in self.shell.stdout:
            if line.rstrip() == self.END:
                break
            printed.append(line.rstrip())
        return printed[:-1] if printed and not printed[-1] else printed

    def close(self):
        self.shell.communicate(timeout=30)

    def bind(self, expected, printed):
        for written, mine in zip(CHANGING.findall(expected), CHANGING.findall(printed), strict=False):
            self.meant.setdefault(written, mine)
            if "/" in written:
                self.meant.setdefault(written.partition("/")[0], mine.partition("/")[0])

    def misses(self, expected, printed):
        """The expected lines that were not printed, in order, where `…` stands for any lines."""
        rest = iter(printed)
        exact = "…" not in expected
        missing = []
        for line in [each for each in expected if each != "…"]:
            for candidate in rest:
                self.bind(line, candidate)
                if candidate == self.put(line):
                    break
            else:
                missing.append(line)
        return missing + (list(rest) if exact else [])


def test_the_transcript_happens_as_it_is_written(serve, tmp_path, mail_server):
    require("curl", "curl")
    done = 0
    with closing(Reader(serve(SMTP_URL=mail_server), tmp_path)) as reader:
        for command, expected in steps():
            printed = reader.type(command)
            assert not reader.misses(expected, printed), f"{command} printed {printed}"
            done += 1
    assert done >= 35


def test_the_reader_notices_what_was_not_printed(serve):
    with closing(Reader(serve())) as reader:
        assert reader.misses(["one", "…"], ["two"]) == ["one"]
        assert reader.misses(["one"], ["one", "two"]) == ["two"]
        assert reader.type("echo $((20 + 22))") == ["42"]


def test_the_table_of_settings_is_that_of_the_code():
    rows = re.findall(r"^\| `(INVITE_API_\w+)` \| (?:`([^`]*)`)? ?\| (.*) \|$", README, re.M)
    assert rows == config.table()


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in commands()])
def test_every_command_is_in_the_table(path):
    assert re.search(rf"^\| `invite-api {path}[ `]", README, re.M)


def test_every_option_of_making_an_invite_is_named():
    (command,) = [each for path, each in commands() if path == ("invite", "create")]
    for option in command.params:
        assert option.opts[0] in README
