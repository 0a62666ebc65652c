"""Sign guests up in examples/signup, in processes that kill themselves, and once more in processes that do not.

    python tests/signing_up.py < tokens

For each token on standard input the first process ends after one line of the program more than the one before it, as
by kill -9. It prints a line of JSON for each: whether the first was killed, and what the second said. It ends where the
first two came to their end.
"""

import json
import os
import signal
import sqlite3  # noqa: F401  (what the program loads, once for all processes)
import sys
import urllib.request  # noqa: F401
from pathlib import Path

import flask  # noqa: F401
import werkzeug.security  # noqa: F401

PROGRAM = Path(__file__).parent.parent / "examples" / "signup"

sys.path.insert(0, str(PROGRAM))


def killed_after(lines: int) -> None:
    """From now on this process runs so many lines of the program, and no more."""
    left = lines

    def trace(frame, event, _):
        nonlocal left
        if Path(frame.f_code.co_filename).parent != PROGRAM:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def sign_up(name: str, token: str, lines: int | None = None) -> str | None:
    """What a guest of this name reads at the end; None if the process was killed before, after so many lines."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        import signup

        if lines is not None:
            killed_after(lines)
        form = {"i": token, "name": name, "password": "correct horse"}
        os.write(writer, signup.app.test_client().post("/join", data=form).data)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        text = said.read().decode()
    return text if os.waitpid(child, 0)[1] == 0 else None


def main() -> None:
    """Go on until two guests were signed up without being interrupted."""
    uninterrupted = 0
    for number, token in enumerate(sys.stdin.read().split()):
        first = sign_up(f"guest{number}", token, number)
        second = sign_up(f"guest{number}", token)
        print(json.dumps({"token": token, "name": f"guest{number}", "first": first, "second": second}), flush=True)
        uninterrupted += first is not None
        if uninterrupted == 2:
            break


if __name__ == "__main__":
    main()
