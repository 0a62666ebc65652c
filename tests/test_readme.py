"""What the README says is so: its transcript is executed, its tables are compared with the code."""

import os
import re
import subprocess

import pytest

import config
from conftest import COMMAND, require
from test_cli import commands

README = (config.CHECKOUT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8080"
# What differs each time: the first of these in a line binds what the README printed to what came.
CHANGING = re.compile(r"[A-Za-z0-9_][\w-]{7}/[\w-]{32}|\b[0-9a-f]{64}\b")


def transcripts():
    return re.findall(r"^```console\n(.*?)^```$", README, re.M | re.S)


def steps():
    """(command, the lines that it prints) for every `$` line of every transcript, in their order."""
    for each in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", "".join(transcripts()), re.M):
        yield each[0], each[1].splitlines()


class Reader:
    """Somebody who types what the README shows, with the key and the link that they got themselves."""

    def __init__(self, served):
        self.served = served
        self.meant = {ADDRESS: served.url}

    def put(self, text):
        for written, mine in self.meant.items():
            text = text.replace(written, mine)
        return text

    def type(self, command):
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        environ = self.served.environ | {"PATH": path}
        done = subprocess.run(
            self.put(command), shell=True, capture_output=True, text=True, env=environ, timeout=30, check=False
        )
        return done.stdout.replace("\r", "").splitlines()

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


def test_the_transcript_happens_as_it_is_written(serve):
    require("curl", "curl")
    reader = Reader(serve())
    done = 0
    for command, expected in steps():
        printed = reader.type(command)
        assert not reader.misses(expected, printed), f"{command} printed {printed}"
        done += 1
    assert done >= 6


def test_the_reader_notices_what_was_not_printed(serve):
    reader = Reader(serve())
    assert reader.misses(["one", "…"], ["two"]) == ["one"]
    assert reader.misses(["one"], ["one", "two"]) == ["two"]


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
