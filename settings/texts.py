"""Texts as people write them: which characters can be seen, which are letters, and how a sentence names one."""

import re
import unicodedata

JOINERS = "\u200c\u200d"  # they keep letters apart, or join them, as Persian and the scripts of India are written

_JOINED = re.compile(rf"(?<=[^\s{JOINERS}])[{JOINERS}](?=[^\s{JOINERS}])")
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters of Hangul that are blank


def unseen(text: str) -> list[int]:
    """Where in a text the characters stand that cannot be seen, and may do harm: a line break, one that turns lines.

    Spaces of any width, and a joiner between two other characters, belong to what people write.
    """
    if text.isprintable() and not any(each in text for each in _FILLERS):
        return []
    joined = {found.start() for found in _JOINED.finditer(text)}
    return [place for place, each in enumerate(text) if place not in joined and not _is_shown(each)]


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
    """A character as a sentence names it: ``< (U+003C)``, and ``U+202E`` where it cannot be seen."""
    code = f"U+{ord(character):04X}"
    return f"{character} ({code})" if character.isprintable() and is_visible(character) else code


def is_visible(character: str) -> bool:
    """Whether it leaves ink by itself: no space, no filler, no mark that stands on what is before it."""
    return character not in _FILLERS and not character.isspace() and unicodedata.category(character)[0] != "M"


def _is_shown(character: str) -> bool:
    return (character.isprintable() and character not in _FILLERS) or is_space(character)
