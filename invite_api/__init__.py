"""The launcher: it puts invite-api's own files before all others of the same names, and runs the command."""

import sys
from pathlib import Path


def main() -> None:
    """Run the `invite-api` command."""
    home = _home()
    sys.path.insert(0, str(home))
    _forget_others(home)
    from cli import main as command

    command()


def _home() -> Path:
    """The folder of our files: this one if it is installed, else the checkout around it."""
    here = Path(__file__).resolve().parent
    return here if (here / "cli.py").is_file() else here.parent


def _forget_others(home: Path) -> None:
    """Drop modules of other people that are loaded under names of ours, by a sitecustomize or a .pth file.

    A module that loaded them keeps them; what we import next is found anew, and is ours.
    """
    ours = {each.stem for each in home.glob("[!_]*.py")} | {each.parent.name for each in home.glob("*/__init__.py")}
    for name in [each for each in sys.modules if each.partition(".")[0] in ours - {"invite_api"}]:
        del sys.modules[name]
