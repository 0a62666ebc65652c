"""How a mail looks: its colours, which stand in the HTML itself, since mail programs drop style sheets."""

_BLACK, _WHITE = "#000000", "#ffffff"


def text_on(colour: str) -> str:
    """The colour of a text on this colour, ``#rrggbb``: black or white, whichever can be read better (WCAG 2)."""
    return max((_WHITE, _BLACK), key=lambda text: _contrast(text, colour))


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[start : start + 2], 16) / 255) for start in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
