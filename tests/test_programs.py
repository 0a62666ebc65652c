"""What a run leaves out it names at its end; and where everything must be tested, as in CI, it fails instead."""

import os
import re
import subprocess
import sys

import pytest

from settings import HOME

pytestmark = pytest.mark.any_database

NEEDS_PROMTOOL = "tests/test_metrics.py::test_prometheus_itself_finds_nothing_wrong_with_the_page"


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """A run of tests where no program is installed, not even a shell."""
    bare = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    bare |= {"PATH": "/nowhere", "INVITE_TESTS_PATH_ALONE": "1", **environ}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=HOME, env=bare, timeout=300, check=False)


@pytest.mark.long
def test_what_is_not_installed_is_named_at_the_end_and_is_no_failure():
    done = run(NEEDS_PROMTOOL)
    assert "NOT TESTED: 1 test: promtool is not installed here: apt-get install prometheus\n" in done.stdout
    assert done.returncode == 0


@pytest.mark.long
def test_in_ci_what_is_not_installed_is_a_failure():
    done = run(NEEDS_PROMTOOL, CI="true")
    assert "promtool is not installed here: apt-get install prometheus" in done.stdout
    assert done.returncode == pytest.ExitCode.TESTS_FAILED


@pytest.mark.long
def test_what_takes_long_is_counted_at_the_end_and_runs_when_it_is_asked_for_or_named():
    done = run("-m", "own_postgresql")
    assert re.search(r"^NOT TESTED: \d+ tests: they take long: run with --long$", done.stdout, re.M)
    assert done.returncode == 0
    for asked in (["-m", "own_postgresql", "--long"], ["tests/faults/test_race.py"]):
        assert "they take long" not in run("--setup-plan", *asked).stdout


@pytest.mark.xdist_group("one worker")
def test_what_one_worker_is_to_run_is_marked_for_xdist(request):
    is_shared_out = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@one worker") == is_shared_out
