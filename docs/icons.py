"""The pictures of static/ that are no SVG, drawn after icon.svg: `python docs/icons.py`, with Pillow installed.

preview.png is what a chat shows beside the link of an invitation, apple-touch-icon.png what a phone has on its first
screen.
"""

from pathlib import Path

from PIL import Image, ImageDraw

STATIC = Path(__file__).resolve().parent.parent / "static"
GREEN, WHITE = "#2f6f5e", "#ffffff"
FINE = 4  # drawn so many times as large, so that edges are smooth


def envelope(size: int, width: int, height: int, is_reversed: bool = True) -> Image.Image:
    """The envelope of icon.svg, `size` pixels wide, in the middle of a picture; reversed it is white on green."""
    body, flap, ground = (WHITE, GREEN, GREEN) if is_reversed else (GREEN, WHITE, None)
    picture = Image.new("RGBA", (width * FINE, height * FINE), ground or (0, 0, 0, 0))
    scale = size * FINE / 32
    left, top = (width * FINE - 32 * scale) / 2, (height * FINE - 33 * scale) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x * scale, top + y * scale

    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle([*at(2, 7), *at(30, 26)], 3 * scale, fill=body)
    draw.line([at(4, 10), at(16, 19), at(28, 10)], flap, round(2.5 * scale), joint="curve")
    for x, y in (at(4, 10), at(28, 10)):
        half = 1.25 * scale
        draw.ellipse([x - half, y - half, x + half, y + half], flap)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Draw all of them."""
    envelope(32, 32, 32, is_reversed=False).save(STATIC / "favicon.ico", sizes=[(32, 32)])
    envelope(150, 180, 180).convert("RGB").quantize(32).save(STATIC / "apple-touch-icon.png", optimize=True)
    envelope(420, 1200, 630).convert("RGB").quantize(16).save(STATIC / "preview.png", optimize=True)
    for each in ("favicon.ico", "apple-touch-icon.png", "preview.png"):
        print(each, (STATIC / each).stat().st_size)


if __name__ == "__main__":
    main()
