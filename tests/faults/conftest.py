"""How often, and what is written down of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from faults.figures import Row
from faults.furnished import in_memory
from rules import passwords

pytest.register_assert_rewrite("faults.life", "faults.life_uses", "faults.life_site")


@pytest.fixture(scope="session")
def profile(pytestconfig) -> Callable[[int, int], int]:
    """``profile(quick, full)``: the count of the profile that runs, full with ``--full``."""
    return lambda quick, full: full if pytestconfig.getoption("full") else quick


@pytest.fixture
def figures(request) -> Callable[[str], Row]:
    """``figures(fault)``: the row of that fault in docs/ROBUSTNESS.md, written after a full run alone."""
    return lambda fault: Row(request.node, fault)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that is quick to write to, for harnesses that have nothing to ask of a disk."""
    with in_memory() as folder:
        yield folder


@pytest.fixture
def hurried(monkeypatch) -> None:
    """Passwords are hashed as ever, with less work."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
