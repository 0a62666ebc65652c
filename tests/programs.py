"""The programs that tests need beside Python: found, or named at the end of the run as what was not tested."""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

import postgres

PATH_ALONE = "INVITE_TESTS_PATH_ALONE"  # where it is set, a program that is not on PATH is not installed

CLIENTS = Path(__file__).parent / ".cache" / "clients"  # see tests/clients/install


def require(program: str, package: str, by: str = "apt-get install") -> str:
    """The path of a program that a test needs; without it CI fails, and any other run names it at its end."""
    return found(program) or missing(program, package, by)


def found(program: str) -> str | None:
    """The path of a program, if it is installed."""
    return shutil.which(program, path=_searched())


def missing(what: str, package: str, by: str = "apt-get install") -> NoReturn:
    """Say what is not installed here, as `require` does."""
    tell = pytest.fail if os.environ.get("CI") else pytest.skip
    tell(f"{what} is not installed here: {by} {package}")


def _searched() -> str:
    """PATH, and where Debian keeps what only root runs, what a PostgreSQL is started with, and what makes clients."""
    clients = f"{CLIENTS}/bin", f"{CLIENTS}/node_modules/.bin"
    elsewhere = () if PATH_ALONE in os.environ else ("/usr/sbin", "/sbin", postgres.binaries(), *clients)
    return ":".join((os.environ["PATH"], *elsewhere))
