"""JSON read strictly: what two programs could read differently is refused."""

import json
from typing import Any, NoReturn


def decode(text: str) -> Any:
    """What a JSON text says.

    Raises ValueError, with the reason, for one that is no JSON, that names a member twice, or has a number that is none
    or is beyond 64 bits; RecursionError for one that is nested too deep to be read.
    """
    return _DECODER.decode(text)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a member is named twice")
    return dict(pairs)


def _no_constants(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _small_int(digits: str) -> int:
    if len(digits) > 19 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError("a number is beyond 64 bits")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constants, parse_int=_small_int)
