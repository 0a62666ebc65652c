"""axe-core, which finds what keeps people out of a page; fetched once, and kept out of the commits."""

import hashlib
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from chromium import Window

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
IN_THE_DARK = ("color-contrast", "link-in-text-block")
KEPT = Path(__file__).parent / ".cache" / f"axe-{VERSION}.js"


def source(npm: Callable[[], str]) -> str:
    """The script; `npm` is asked for that program's path if the script is not here yet."""
    if not KEPT.exists():
        _fetch(npm())
    text = KEPT.read_bytes()
    assert hashlib.sha256(text).hexdigest() == SHA256, f"{KEPT} is not what it should be"
    return text.decode()


def violations(window: Window, script: str, *rules: str) -> list[str]:
    """What axe has against this page, each with the elements it is about; by all its rules, unless some are named."""
    if not window.run("return 'axe' in window"):
        window.run(script)
    found = window.driver.execute_async_script(_LOOK, rules)
    return [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}" for each in found]


def _fetch(npm: str) -> None:
    """Put it there complete or not at all: two workers may do so at once."""
    KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT.parent) as folder:
        subprocess.run([npm, "pack", f"axe-core@{VERSION}"], cwd=folder, capture_output=True, check=True, timeout=120)
        with tarfile.open(Path(folder) / f"axe-core-{VERSION}.tgz") as packed:
            packed.extract("package/axe.min.js", folder, filter="data")
        (Path(folder) / "package" / "axe.min.js").replace(KEPT)


_LOOK = """
const [rules, done] = arguments;
const wanted = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } };
axe.run(rules.length ? { ...wanted, runOnly: rules } : wanted).then((result) => done(result.violations));
"""
