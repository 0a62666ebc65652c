"""A call as a line for the shell: what the description shows beside each."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any


def line(options: Sequence[str], media: str, body: Any, url: str) -> str:
    """The line that makes a call with these options; `media` is that of the `body`, or "" where there is none."""
    return " ".join(map(_quoted, ["curl", *options, *_data(media, body), url]))


def _data(media: str, example: Any) -> Iterator[str]:
    if media == "application/json":
        yield from ("-H", f"Content-Type: {media}", "-d", json.dumps(example, ensure_ascii=False))
    elif media:
        for name, value in example.items():
            yield from ("--data-urlencode", f"{name}={value}")


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word and not set(word) & set('"$`\\!') else shlex.quote(word)
