"""Somebody who types what a page shows: its transcripts, executed in a real shell beside a real server."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence

from conftest import COMMAND

ADDRESS = "http://127.0.0.1:8080"
# What differs each time: the first of these in a line binds what the page printed to what came.
_SECRET = (
    r"hitkey_[\w-]{43}",  # an access token
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\.[\w-]{43,64})?",  # an id, or a refresh token
    r"[A-Za-z0-9_][\w-]{7}/[\w-]{32}",  # an API key
    r"\b[0-9a-f]{64}\b",  # an invite's token
    r"\b[0-9a-f]{12}\b",  # a short code
)
CHANGING = re.compile("|".join(_SECRET))
# What differs too, and is not typed again.
_PASSING = re.compile(r"[0-9-]{10}T[0-9:.]{12}Z|(?<=\"next\":\")[\w-]+|(?<=registration_token\":\")[\w.-]+")

Step = tuple[str, Sequence[str]]


def steps(page: str) -> Iterator[Step]:
    """(command, the lines that it prints) for every `$` line of every transcript of a page, in their order."""
    for transcript in re.findall(r"^```console\n(.*?)^```$", page, re.M | re.S):
        for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", transcript, re.M):
            yield command, printed.splitlines()


class Reader:
    """Types commands, with the keys, links and ids that came instead of those that the page shows."""

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
        lasting = (CHANGING.findall(_PASSING.sub("", line)) for line in (expected, printed))
        for written, mine in zip(*lasting, strict=True):
            self.meant.setdefault(written, mine)
            if "/" in written:
                self.meant.setdefault(written.partition("/")[0], mine.partition("/")[0])

    def is_meant(self, expected, printed):
        """Whether a line is the one that was expected; from then on what changes in it is known."""
        if self.shape(self.put(expected)) != self.shape(printed):
            return False
        self.bind(expected, printed)
        return _PASSING.sub("", self.put(expected)) == _PASSING.sub("", printed)

    def shape(self, line):
        return CHANGING.sub("?", _PASSING.sub("?", line))

    def misses(self, expected, printed):
        """The expected lines that were not printed, in order, where `…` stands for any lines."""
        rest = iter(printed)
        exact = "…" not in expected
        missing = []
        for line in [each for each in expected if each != "…"]:
            if not any(self.is_meant(line, candidate) for candidate in rest):
                missing.append(line)
        return missing + (list(rest) if exact else [])
