"""What the harnesses have shown, as the table in docs/ROBUSTNESS.md."""

import os
import platform
import re
import sqlite3
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import clock
from settings import HOME

PAGE = HOME / "docs" / "ROBUSTNESS.md"
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
SERVICE = ("*.py", "*.sql", "requirements.txt", ":!tests", ":!bench", ":!docs")
HEAD = "| fault | how often | result | control | seconds | when, commit |\n|---|---|---|---|---:|---|\n"
ROW = re.compile(r"^(?=\| (.+?) \|)(.*\n)", re.MULTILINE)
TABLE = re.compile(rf"^(.+\n)\n{re.escape(HEAD)}((?:\|.*\n)*)", re.MULTILINE)


class Row:
    """The row of one fault. Whoever asks for it and then says nothing has failed."""

    def __init__(self, node: pytest.Item, fault: str) -> None:
        self._node, self._fault = node, fault
        self._note("fault", "")

    def shows(self, often: str, result: str) -> None:
        """What was done, how often, and what came of it."""
        self._note("often", often)
        self._note("result", result)

    def counts(self, number: int) -> None:
        """So many more of what `often` has as ``{count}``, where several tests have one row."""
        self._node.user_properties.append(("count", (self._fault, number)))

    def catches(self, control: str) -> None:
        """What was wrong on purpose, and how the harness saw it."""
        self._note("control", control)

    def _note(self, column: str, words: str) -> None:
        self._node.user_properties.append((column, (self._fault, words)))


@dataclass
class Recorder:
    """Gathers the rows of a full run, from whichever process ran each harness, and writes them at its end."""

    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    controls: dict[str, list[str]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for column, (fault, words) in report.user_properties:
            row = self.rows.setdefault(fault, {})
            if column == "count":
                self.counts[fault] += words
            elif column == "control":
                self.controls.setdefault(fault, []).append(words)
            elif column == "fault":
                self.seconds[fault] = self.seconds.get(fault, 0) + report.duration
                row |= {"failed": "FAILED"} if report.failed else {}
            else:
                row[column] = words

    def pytest_sessionfinish(self) -> None:
        if self.rows:
            PAGE.write_text(replaced(PAGE.read_text(), machine(), self.lines()))

    def lines(self) -> dict[str, str]:
        """The table's line of each fault that was tried. A control alone is none."""
        stamp = f"{clock.now():%Y-%m-%d}, {commit()}"
        return {
            fault: self._line(fault, stamp) for fault, row in self.rows.items() if "result" in row or "failed" in row
        }

    def _line(self, fault: str, stamp: str) -> str:
        row = self.rows[fault]
        result = row.get("failed") or row.get("result", "")
        often = row.get("often", "").replace("{count}", f"{self.counts[fault]:,}")
        control = "; ".join(dict.fromkeys(self.controls.get(fault, [])))
        cells = (fault, often, result, control, f"{self.seconds[fault]:,.0f}", stamp)
        return "| " + " | ".join(cells) + " |\n"


def replaced(page: str, where: str, lines: dict[str, str]) -> str:
    """The page with these rows, by fault, in the table of this machine; others keep theirs, each machine its own."""
    before, rest = page.split(BEGIN)
    written, after = rest.split(END)
    tables = {each: dict(ROW.findall(rows)) for each, rows in TABLE.findall(written)}
    kept = {each: {fault: row for fault, row in rows.items() if fault not in lines} for each, rows in tables.items()}
    kept[where] = kept.get(where, {}) | lines
    told = (f"{each}\n{HEAD}{''.join(rows[fault] for fault in sorted(rows))}" for each, rows in kept.items() if rows)
    return "".join([before, BEGIN, "\n".join(told), END, after])


def machine() -> str:
    """What it was run on, in a line; no names and no paths."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores ({model[1] if model else 'unknown'}), "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}.\n"
    )


def commit() -> str:
    """The last commit that changed the service itself, and whether something was changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=HOME, capture_output=True, text=True, check=True).stdout

    changed = git("status", "--porcelain", "--", *SERVICE).strip()
    return git("log", "-1", "--format=%h", "--", *SERVICE).strip() + (" and changes" if changed else "")
