"""Texts as people write them: which characters can be seen, which are letters, and how a sentence names one."""

import re
import unicodedata

JOINERS = "\u200c\u200d"  # they keep letters apart, or join them, as Persian and the scripts of India are written

_JOINED = re.compile(rf"(?<=[^\s{JOINERS}])[{JOINERS}](?=[^\s{JOINERS}])")
_FILLERS = "\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u2800"  # letters and marks that are blank
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"  # each chooses a form of what is before it

_SELECTED = re.compile(rf"(?<=[^\s{JOINERS}{_SELECTORS}])[{_SELECTORS}]")
_MAY_BE_UNSEEN = re.compile(f"[{_FILLERS}{_SELECTORS}]")


def unseen(text: str) -> list[int]:
    """Where in a text the characters stand that cannot be seen, and may do harm: a line break, one that turns lines.

    Spaces of any width, a joiner between two other characters, and one selector of a form (as in ❤️) after another
    character belong to what people write.
    """
    if text.isprintable() and not _MAY_BE_UNSEEN.search(text):
        return []
    kept = {found.start() for pattern in (_JOINED, _SELECTED) for found in pattern.finditer(text)}
    return [place for place, each in enumerate(text) if place not in kept and not _is_shown(each)]


def stripped(text: str) -> str:
    """A text without spaces and characters that cannot be seen at its ends: what is copied often has some there."""
    kept = [place for place, each in enumerate(text) if not (each.isspace() or unicodedata.category(each) == "Cf")]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def is_letter(character: str) -> bool:
    """Whether this is a letter of any script, or a mark on one."""
    kind = unicodedata.category(character)
    return (kind[0] in "LM" or kind == "Nl") and character not in _FILLERS


def is_space(character: str) -> bool:
    """Whether this is a space, of any width, at which a line may be broken or not; tabs and line breaks are none."""
    return unicodedata.category(character) == "Zs"


def called(character: str) -> str:
    """A character as a sentence names it: ``< (U+003C)``, ``“ ” (U+0020)``, and ``U+202E`` where it cannot be seen."""
    code = f"U+{ord(character):04X}"
    if character == " ":
        return f"“ ” ({code})"
    return f"{character} ({code})" if character.isprintable() and is_visible(character) else code


def is_visible(character: str) -> bool:
    """Whether it leaves ink by itself: no space, no filler, no mark that stands on what is before it."""
    return character not in _FILLERS and not character.isspace() and unicodedata.category(character)[0] != "M"


def is_attached(character: str) -> bool:
    """Whether this stands on the character before it, as an accent does, or joins two: it is nothing by itself."""
    category = unicodedata.category(character)
    return category[0] == "M" or category == "Cf"


def _is_shown(character: str) -> bool:
    return (character.isprintable() and not _MAY_BE_UNSEEN.match(character)) or is_space(character)
