"""The personal message of an invite: what its inviter says to the guest, in the mail and on the page."""

import re
import unicodedata

from rules import fields
from rules.refusals import Invalid
from settings import texts

MAX_LENGTH = 500

# What mail programs and browsers turn into a link, or people type into a browser.
# No part of it begins at each letter of a word: the time grows with the length alone.
_LINK = re.compile(
    r"""
    \b[a-z][a-z0-9+.-]{0,20}://\S* | [a-z]://\S* | \bwww\.\S*
    | (?:(?<![^\s.])[^\s.]+ | [^\s.]) \. (?:[^\W\d_]{2,} | xn--[\w-]+) (?:/ | [?#\\][\w=&%/] | :\d) \S*
    | \d{1,10} (?:\.\d{1,10}){3} [/:] \S*
    """,
    re.IGNORECASE | re.VERBOSE,
)


def read(value: object, field: str = "message") -> str:
    """Plain text of at most 500 characters, in Unicode's form NFC, with line breaks and without links.

    Spaces at the ends of lines are left out, and more than one empty line between two. Raises Invalid.
    """
    raw = fields.plain(value, field)
    if len(raw) > 4 * MAX_LENGTH:  # the time to normalise grows with the square of the length
        raise Invalid.at(field, "maxLength", "is longer than %(longest)s characters", longest=MAX_LENGTH)
    lines = [each.strip() for each in unicodedata.normalize("NFC", raw).replace("\t", " ").splitlines()]
    kept = re.sub("\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
    _refuse_unseen(field, kept.replace("\n", " "))
    fields.text(kept.replace("\n", " "), field, MAX_LENGTH)
    if found := _LINK.search(_bare(kept)):
        raise Invalid.at(field, "link", "may not have a link in it; take out %(link)s", link=found[0][:50])
    return kept


def _bare(text: str) -> str:
    """A text as a link is looked for in it: each dot a ``.``, and nothing that only stands on a letter or joins two."""
    kept = text if text.isascii() else "".join(each for each in text if not texts.is_attached(each))
    return unicodedata.normalize("NFKC", kept).replace("。", ".")


def _refuse_unseen(field: str, text: str) -> None:
    if unseen := texts.unseen(text):
        called = texts.called(text[unseen[0]])
        raise Invalid.at(
            field, "characters", "has a character in it that cannot be seen: %(character)s", character=called
        )
