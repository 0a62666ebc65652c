"""The command in processes that begin sooner: each is forked from one that has loaded what commands load.

To start Python and to load our modules takes a command eight times as long as what it does then. What a process is to
those who call it, its arguments, environment, folder, output and exit status, is the same. `COMMAND` of conftest.py is
the command as it is installed, with its launcher.
"""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent.parent
LOADED = ("argon2", "email_validator", "psycopg", "segno", "slugify", "wcwidth", "zxcvbn")  # when they are needed
PATIENCE = 300  # seconds that a command may take


def run(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path, check: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end, as `subprocess.run` does; its output is text."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors, open(os.devnull) as nothing:
        call = {"arguments": arguments, "environ": dict(environ), "folder": str(folder)}
        status = _ask(call, [each.fileno() for each in (nothing, output, errors)])
        said = [each.seek(0) or each.read() for each in (output, errors)]
    done = subprocess.CompletedProcess(["invite-api", *arguments], status, *said)
    if check:
        done.check_returncode()
    return done


def _ask(call: dict[str, Any], files: Sequence[int]) -> int:
    """Have a process make this call, with these files for stdin, stdout and stderr; its exit status."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PATIENCE)
        with theirs:
            socket.send_fds(_loaded(), [b"!"], [theirs.fileno(), *files])
        ours.sendall(json.dumps(call).encode())
        ours.shutdown(socket.SHUT_WR)
        return int(ours.recv(100))


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
                caller.sendall(str(_called(caller, files[1:])).encode())
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
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _become(call: dict[str, Any], files: Sequence[int]) -> None:
    """Be the command, to its end."""
    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(call["environ"])
    os.chdir(call["folder"])
    sys.argv = ["invite-api", *call["arguments"]]
    os._exit(_status())


def _status() -> int:
    """Run it, and end as Python does."""
    import cli

    status = 0
    try:
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
