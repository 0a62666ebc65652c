"""Pictures of the pages, for docs/screenshots/: `python docs/screenshots.py`, with what tests/requirements.txt names.

They are taken with a real browser (chromium, chromium-driver) of the real server, over an instance
that is made for it and thrown away.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

import scene
from chromium import Window, started
from conftest import require

FOLDER = CHECKOUT / "docs" / "screenshots"
COLOURS = 128  # many enough for pages that have four, and the edges of their letters
SIZES = {"phone": (390, 780, 1.5), "desktop": (1200, 750, 1)}
TALLEST = 1200  # CSS pixels
DARK = {"invitation-accept", "admin-invite", "welcome"}
LOADED = "each.complete || each.closest('details:not([open])')"
SHOWN = (
    "home",
    "invitation",
    "invitation-accept",
    "invitation-stranger",
    "welcome",
    "dead-expired",
    "register-refused",
    "login",
    "forgotten",
    "verify-sent",
    "admin",
    "admin-new",
    "admin-made",
    "admin-invite",
    "admin-keys",
    "admin-people",
    "admin-person",
    "admin-projects",
    "admin-project",
    "admin-list-checked",
    "admin-growth",
    "admin-webhook-disabled",
    "account",
    "invites",
    "invites-one",
)


def take(window: Window, size: str) -> bytes:
    """The whole page as a small PNG, at most TALLEST high."""
    width, height, scale = SIZES[size]
    window.size(width, height, scale)
    height = max(height, min(window.run("return document.documentElement.scrollHeight"), TALLEST))
    window.size(width, height, scale)
    window.until(lambda: window.run(f"return [...document.images].every((each) => {LOADED})"))
    taken = Image.open(io.BytesIO(window.driver.get_screenshot_as_png())).convert("RGB")
    small = io.BytesIO()
    taken.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


def main(*names: str) -> None:
    """Take all pictures, or those of the pages that are named."""
    FOLDER.mkdir(exist_ok=True)
    browser = started(require("chromium", "chromium"), require("chromedriver", "chromium-driver"))
    with tempfile.TemporaryDirectory() as folder, scene.opened(Path(folder)) as place, browser as driver:
        window = Window(driver)
        window.fresh()
        for name in names or SHOWN:
            window.dark(name in DARK)
            place.show(window, name)
            window.run("document.activeElement.blur()")
            for size in SIZES:
                picture = FOLDER / f"{name}-{size}.png"
                picture.write_bytes(take(window, size))
                print(picture.relative_to(CHECKOUT), picture.stat().st_size)


if __name__ == "__main__":
    main(*sys.argv[1:])
