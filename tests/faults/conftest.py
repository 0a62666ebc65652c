"""How often, and what is written down of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from faults.figures import Row


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
    """A folder in memory, if there is such a thing here: for what asks nothing of a disk, a hundred thousand times."""
    fast = Path("/dev/shm")
    with TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Path(folder)
