"""A folder in memory for what tests write: they wait for no disk. To be killed or cut off is the same there."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import programs

FOLDER = Path("/dev/shm")
ROOM = 2**31


def folder() -> str | None:
    """Its path, where there is such a thing and what tests ask of a folder can be had in it."""
    if not (os.access(FOLDER, os.W_OK) and shutil.disk_usage(FOLDER).free > ROOM):
        return None
    return str(FOLDER) if os.geteuid() or _knows_immutable_files() else None


def _knows_immutable_files() -> bool:
    """Not in an old Linux; without such files root can write everything, and some tests say nothing."""
    if not (chattr := programs.found("chattr")):
        return True  # nobody can ask for it
    with tempfile.NamedTemporaryFile(dir=FOLDER) as probe:
        done = [
            subprocess.run([chattr, how, probe.name], stderr=subprocess.DEVNULL, check=False) for how in ("+i", "-i")
        ]
    return not any(each.returncode for each in done)
