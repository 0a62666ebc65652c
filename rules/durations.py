"""Lengths of time as forms ask for them: chosen from a list, or up to the end of a day that is typed beside it."""

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import partial

import clock
from rules import fields
from rules.refusals import Invalid, together
from settings import settings

FIELDS = ("ttl", "until", "offset", "access", "access_typed")  # what a form sends of them

DATE, TYPED = "date", "typed"  # the choices with which a field beside the list counts

_USUAL = (clock.DAY, 7 * clock.DAY, 30 * clock.DAY)
_USUAL_ACCESS = (30 * clock.DAY, 90 * clock.DAY, 365 * clock.DAY)
_END_OF_DAY = time(23, 59)
_MAX_OFFSET = 14 * 60  # minutes; no clock on Earth is further from UTC


def lifetimes(typed: str = "", longest: timedelta | None = None) -> list[timedelta]:
    """How long an invite may be valid, as a list offers it: the usual lengths, and what is `typed` if it is one.

    The shortest comes first, and none is beyond `longest`, by default what the settings permit.
    """
    most = longest or settings().invite_ttl_max
    known = {*_USUAL, settings().invite_ttl, *_length(typed)}
    return sorted(each for each in known if clock.MINUTE <= each <= most)


def accesses(typed: str = "") -> list[timedelta]:
    """How long guests may stay in a project, as a list offers it, and what is `typed` if that is a length."""
    return sorted({*_USUAL_ACCESS, *_length(typed)})


def read(given: Mapping[str, str]) -> dict[str, str | None]:
    """What a form that has FIELDS says of `ttl` and `access`, as text for a draft; None where it says nothing.

    Raises Invalid with all that is wrong.
    """
    ttl, access = together(partial(_ttl, given), partial(_access, given))
    return {"ttl": ttl, "access": access}


def ttl(given: Mapping[str, str]) -> timedelta | None:
    """How long from now an invite is valid; None if it never expires. Raises Invalid, also where nothing is said."""
    said = _ttl(given)
    if said is None:
        raise Invalid.at("ttl", "required", "is empty")
    return fields.ttl(said)


def chosen(given: Mapping[str, str], name: str) -> str:
    """A length of time from now as text, such as ``30d``: from the list called `name`, or until the day beside it.

    "" where neither is chosen. Raises Invalid for a day that does not count or is none, not for what is in the list.
    """
    length, day = given.get(name, ""), given.get("until", "")
    if length == DATE and not day:
        raise Invalid.at("until", "required", "is empty: choose a day, or a length of time in the list")
    if day and length not in ("", DATE):
        raise Invalid.at("until", "alone", "counts only with “a date” in the list: choose that, or leave this empty")
    return f"{math.ceil(until(day, given.get('offset', '')).total_seconds())}s" if day else length


def until(day: str, offset: str = "") -> timedelta:
    """How long it is until the end of a day, such as ``2026-12-19``, for a reader `offset` minutes behind UTC.

    Raises Invalid for what is no day, one that is over, and one that is further away than an invite may be valid.
    """
    try:
        end = datetime.combine(date.fromisoformat(day), _END_OF_DAY, UTC) + _behind(offset)
    except (ValueError, OverflowError):
        raise Invalid.at("until", "date", "must be a date such as 2026-12-24") from None
    left, longest = end - clock.now(), settings().invite_ttl_max
    if left < clock.MINUTE:
        raise Invalid.at("until", "range", "is over already: choose a later day")
    if left > longest:
        raise Invalid.at("until", "range", "must be at most %(days)s days from now", days=longest // clock.DAY)
    return left


def _ttl(given: Mapping[str, str]) -> str | None:
    if said := chosen(given, "ttl"):
        fields.ttl(said)
    return said or None


def _access(given: Mapping[str, str]) -> str | None:
    chosen, typed = given.get("access", ""), given.get("access_typed", "")
    if chosen == TYPED and not typed:
        raise Invalid.at("access_typed", "required", "is empty: type a length of time, or choose one in the list")
    if typed and chosen not in ("", TYPED):
        raise Invalid.at(
            "access_typed", "alone", "counts only with “another length” in the list: choose that, or leave this empty"
        )
    if typed:
        fields.access(typed, "access_typed")
    elif chosen:
        fields.access(chosen)
    return typed or chosen or None


def _length(text: str) -> list[timedelta]:
    """A length of time that was typed; none for anything else."""
    with suppress(ValueError):
        return [clock.duration(text)]
    return []


def _behind(offset: str) -> timedelta:
    """How far a browser's clock is behind UTC; what no browser says counts as UTC itself."""
    minutes = int(offset) if re.fullmatch("-?[0-9]{1,3}", offset, re.ASCII) else 0
    return timedelta(minutes=minutes) if abs(minutes) <= _MAX_OFFSET else timedelta(0)
