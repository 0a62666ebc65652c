"""Scripts that may kill themselves, each in a process forked from one that has loaded our modules already."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping

_LOADED = ("database", "upkeep.restore", "upkeep.upgrade", __name__)

_begun = multiprocessing.get_context("forkserver")
_begun.set_forkserver_preload(list(_LOADED))


def is_killed(script: str, environ: Mapping[str, str], *arguments: object) -> bool:
    """Run a script to its end; whether it killed itself. Any other end than a good one is an error."""
    process = _begun.Process(target=_run, args=(script, dict(environ), list(map(str, arguments))))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run(script: str, environ: Mapping[str, str], arguments: list[str]) -> None:
    os.environ.update(environ)
    sys.argv = ["-c", *arguments]
    exec(script, {"__name__": "__main__"})
