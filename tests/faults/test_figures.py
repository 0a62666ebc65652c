"""The table in docs/ROBUSTNESS.md is what was run, and the text around it is left alone."""

import re
import socket

import pytest

from faults import figures
from programs import require
from settings import HOME

pytestmark = pytest.mark.any_database

PAGE = f"What it means.\n{figures.BEGIN}{figures.END}What else.\n"
HERE, ELSEWHERE = "Linux, 2 cores.\n", "Linux, 64 cores.\n"


@pytest.fixture
def git():
    """A row names the commit that was run."""
    require("git", "git")


def test_a_row_replaces_that_of_its_fault_and_no_other_text():
    page = figures.replaced(PAGE, HERE, {"kill -9": "| kill -9 | 8 |\n", "fire": "| fire | 1 |\n"})
    page = figures.replaced(page, HERE, {"kill -9": "| kill -9 | 300 |\n"})
    table = f"{HERE}\n{figures.HEAD}| fire | 1 |\n| kill -9 | 300 |\n"
    assert page == PAGE.replace(figures.BEGIN, figures.BEGIN + table)


def test_rows_of_another_machine_are_not_mixed_in():
    page = figures.replaced(PAGE, ELSEWHERE, {"fire": "| fire | 1 |\n", "flood": "| flood | 1 |\n"})
    page = figures.replaced(page, HERE, {"kill -9": "| kill -9 | 300 |\n", "fire": "| fire | 2 |\n"})
    tables = f"{ELSEWHERE}\n{figures.HEAD}| flood | 1 |\n\n{HERE}\n{figures.HEAD}| fire | 2 |\n| kill -9 | 300 |\n"
    assert page == PAGE.replace(figures.BEGIN, figures.BEGIN + tables)


def test_the_page_has_a_place_for_the_table():
    assert figures.replaced(figures.PAGE.read_text(), HERE, {"fire": "| fire | 1 |\n"}).count("| fire | 1 |\n") == 1


@pytest.mark.usefixtures("git")
def test_what_a_machine_is_called_and_where_its_files_are_is_not_written_down():
    told = figures.machine() + figures.commit()
    assert socket.gethostname() not in told
    assert str(HOME) not in told


@pytest.mark.usefixtures("git")
def test_a_harness_that_fails_says_so_in_its_row():
    recorder = figures.Recorder()
    for outcome in ("passed", "failed"):
        recorder.pytest_runtest_logreport(_report(outcome))
    assert recorder.lines()["fire"].startswith("| fire | 9 times | FAILED | an oven, caught | 3 | ")


@pytest.mark.usefixtures("git")
def test_what_several_tests_have_done_is_added_up():
    recorder = figures.Recorder()
    for _ in range(3):
        recorder.pytest_runtest_logreport(_report("passed", "{count} times", ("count", 500), ("control", "a stove")))
    assert recorder.lines()["fire"].startswith("| fire | 1,500 times | 0 burnt | an oven, caught; a stove | 4 |")


def _report(outcome, often="9 times", *more):
    said = [("fault", ""), ("often", often), ("result", "0 burnt"), ("control", "an oven, caught")]
    properties = [(column, ("fire", words)) for column, words in [*said, *more]]
    return pytest.TestReport("x", ("x", 1, "x"), {}, outcome, None, "call", duration=1.5, user_properties=properties)


def test_what_the_page_names_is_there():
    named = re.findall(r"\btests/[\w/]+(?:\.(?:py|toml)\b)?", figures.PAGE.read_text())
    assert len(named) > 5
    assert [each for each in named if not (HOME / each).exists()] == []
    packages = (HOME / ".ci" / "run").read_text()
    assert all(each in packages for each in ("faketime", "fiu-utils", "strace", "wrk"))
