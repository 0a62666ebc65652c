"""The benchmarks still run. What they measure is for people to read: nothing is timed here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from programs import require

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

BENCH = Path(__file__).parent.parent / "bench"


def glance(benchmark):
    """What a benchmark prints of a short round."""
    command = [sys.executable, BENCH / benchmark, "--smoke"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_glance_at_all_that_is_compared():
    require("wrk", "wrk")
    require("prosody", "prosody prosody-modules lua-dbi-sqlite3")
    printed = glance("run.py")
    for name in ("Prosody on SQLite: create", "Prosody's default storage: create", "commit", "hello"):
        assert f"| {name} | 1,000 | 8 |" in printed
    assert " MB when it has started" in printed


def test_a_glance_at_one_process_and_several():
    require("initdb", "postgresql")
    printed = glance("scaling.py")
    assert "| accept | 8 |" in printed


def test_a_glance_at_the_gate_before_an_app():
    require("wrk", "wrk")
    require("nginx", "nginx-light")
    printed = glance("gate.py")
    assert "| nginx as an app, no gate | 1,000 | 32 |" in printed


def test_a_glance_at_slower_disks():
    require("wrk", "wrk")
    require("strace", "strace")
    printed = glance("disks.py")
    assert re.search(r"^\| 10 \| \d\d \| 8 \| ", printed, re.MULTILINE)  # a hundred a second at most


def test_an_answer_that_is_an_error_ends_the_run(serve):
    require("wrk", "wrk")
    wrong = f"from load import Call, load; load({serve().port}, Call(['/nothing/here']), 1, 1)"
    done = subprocess.run(
        [sys.executable, "-c", wrong], check=False, cwd=BENCH, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "answers were errors" in done.stderr
