"""The command in processes that begin sooner: each is forked from one that has loaded what commands load.

To start Python and to load our modules takes a command eight times as long as what it does then. What a process is to
those who call it, its arguments, environment, folder, output and exit status, is the same. `COMMAND` of conftest.py is
the command as it is installed, with its launcher.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

HOME = Path(__file__).parent.parent
WIDE = 20  # bytes that say a process's id, or its exit status
LOADED = (
    "uvloop",
    "web.server",
    "argon2",
    "email_validator",
    "psycopg",
    "segno",
    "slugify",
    "wcwidth",
    "zxcvbn",
)  # when they are needed
TIMEOUT = 300  # seconds that a command may take


def run(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path, check: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end, as `subprocess.run` does; its output is text."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        status = Process(arguments, environ, folder, output, errors).wait(TIMEOUT)
        said = [each.seek(0) or each.read() for each in (output, errors)]
    done = subprocess.CompletedProcess(["invite-api", *arguments], status, *said)
    if check:
        done.check_returncode()
    return done


class Process:
    """The command in a process that goes on meanwhile, with what subprocess.Popen has of its methods.

    With `script` it is that file of Python, which runs the command itself.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environ: Mapping[str, str],
        folder: Path,
        output: IO[Any],
        errors: IO[Any],
        script: str | Path = "",
    ) -> None:
        self.returncode: int | None = None
        self._said, theirs = socket.socketpair()
        with theirs, open(os.devnull) as nothing:
            files = [theirs, nothing, output, errors]
            socket.send_fds(_loaded(), [b"!"], [each.fileno() for each in files])
        call = {"arguments": list(map(str, arguments)), "environ": dict(environ), "folder": str(folder)}
        self._said.sendall(json.dumps(call | {"script": str(script)}).encode())
        self._said.shutdown(socket.SHUT_WR)
        self.pid = int(self._said.recv(WIDE))

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self._said.settimeout(timeout)
            try:
                self.returncode = int(self._said.recv(WIDE))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("invite-api", timeout or 0) from None
            self._said.close()
        return self.returncode

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@cache
def _loaded() -> socket.socket:
    """What leads to the process that has everything loaded; it ends with this one."""
    ours, theirs = socket.socketpair()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("INVITE_API_")}
    call = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(call, env=environ, pass_fds=[theirs.fileno()])
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(control: socket.socket) -> None:
    """Fork a process for each call, which forks that of the command, and says how it ended."""
    running = set()
    while (received := socket.recv_fds(control, 1, 4))[0]:
        files = received[1]
        running -= {each for each in running if os.waitpid(each, os.WNOHANG)[0]}
        if process := os.fork():
            running.add(process)
        else:
            control.close()
            with socket.socket(fileno=files[0]) as caller:
                _say(caller, _called(caller, files[1:]))
            os._exit(0)
        for each in files:
            os.close(each)


def _called(caller: socket.socket, files: Sequence[int]) -> int:
    """The exit status of the command that is called; that of one that a signal has ended is negative."""
    call = json.loads(b"".join(iter(lambda: caller.recv(65536), b"")))
    process = os.fork()
    if not process:
        caller.close()
        _become(call, files)
    _say(caller, process)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _say(caller: socket.socket, number: int) -> None:
    caller.sendall(str(number).rjust(WIDE).encode())


def _become(call: dict[str, Any], files: Sequence[int]) -> None:
    """Be the command, to its end."""
    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(call["environ"])
    os.chdir(call["folder"])
    sys.argv = [call["script"] or "invite-api", *call["arguments"]]
    os._exit(_status(call["script"]))


def _status(script: str) -> int:
    """Run it, and end as Python does."""
    import cli

    status = 0
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            cli.main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _load() -> None:
    """Load what commands load, and look at no setting."""
    for each in (*LOADED, "cli", "app", *(f"commands.{each.stem}" for each in HOME.glob("commands/*.py"))):
        __import__(each)
    gc.freeze()  # what is not touched is not copied


if __name__ == "__main__":
    sys.path[0] = str(HOME)
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
