"""A program at a terminal, a pseudo-terminal that is: what it prints is read while it runs."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """A program that runs until the block ends, by Ctrl-C; `text` is what it has printed, without colours."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environ: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        full = {"TERM": "xterm-256color", **environ}
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=full, cwd=folder, start_new_session=True
        )
        os.close(theirs)
        self._printed = b""

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.stop()
        os.close(self._ours)

    @property
    def text(self) -> str:
        """All that was printed so far."""
        return ESCAPE.sub("", self._printed.decode(errors="replace").replace("\r\n", "\n"))

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until something is printed that the pattern fits."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text, re.M)):
            assert time.monotonic() < deadline, f"{pattern} is not in\n{self.text}"
            assert self._read(1) or self.process.poll() is None, f"it has ended\n{self.text}"
        return found

    def stop(self) -> int:
        """Press Ctrl-C, as the whole group of processes at a terminal gets it; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.wait(1)

    def _read(self, seconds: float) -> bool:
        """Read what is there within so many seconds; False if that is nothing."""
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # Linux: the other end is closed
            return False
        self._printed += read
        return bool(read)
