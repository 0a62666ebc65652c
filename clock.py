"""The only place that asks for the time or for random numbers, so that a test can fix both."""

import math
import re
import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)

_SCALE = (  # below which distance which unit is used
    (90 * SECOND, SECOND, "seconds"),
    (90 * MINUTE, MINUTE, "minutes"),
    (36 * HOUR, HOUR, "hours"),
    (90 * DAY, DAY, "days"),
    (720 * DAY, 30.4 * DAY, "months"),
    (timedelta.max, 365.25 * DAY, "years"),
)
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION = re.compile(
    r"\s*(?P<number>[0-9]{1,9})\s*"
    r"(?P<unit>s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)?\s*",
    re.IGNORECASE | re.ASCII,
)


class AmbiguousUnit(ValueError):
    """A length of time with a capital M behind its number, which may be minutes or months."""


def now() -> datetime:
    """The present moment: aware, in UTC, cut to whole milliseconds since that is what goes on the wire."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def seconds_until(moment: datetime) -> int:
    """The whole seconds until a moment, rounded up, for who is to come again; at least 1."""
    return max(1, math.ceil((moment - now()).total_seconds()))


def ticks() -> float:
    """Seconds on a clock that never goes back; the difference of two says how long something took."""
    return time.perf_counter()


def iso(moment: datetime) -> str:
    """A moment as it is written on the wire, ISO 8601 in UTC: ``2026-03-25T21:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def relative(moment: datetime, seen_from: datetime) -> str:
    """How far a moment is from another: ``in 3 days``, ``2 hours ago``; ``now`` within 5 seconds."""
    away = moment - seen_from
    if abs(away) < 5 * SECOND:
        return "now"
    unit, name = next((unit, name) for limit, unit, name in _SCALE if abs(away) < limit)
    count = f"{round(abs(away) / unit)} {name}"
    return f"in {count}" if away > timedelta(0) else f"{count} ago"


def duration(text: str) -> timedelta:
    """The length of time that a text says: ``7d``, ``12 hours``, ``2 weeks``; ``90`` is seconds.

    Raises ValueError for any other text, with a sentence for the person who typed it: AmbiguousUnit for ``3M``.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("must be a number and a unit, such as 7d, 12h, 30m or 2 weeks")
    if match["unit"] == "M":
        raise AmbiguousUnit("has an M, which may be minutes or months: write 30m or 30min, or days such as 90d")
    unit = (match["unit"] or "s")[0].lower()
    try:
        return int(match["number"]) * _UNITS[unit]
    except OverflowError:
        raise ValueError("is longer than any time can be") from None


def spell(length: timedelta) -> str:
    """A length of time in its largest whole unit, as `duration` reads it: ``90m``; ``7d``, as people say, not 1w."""
    for unit in "wdhms":
        if length % _UNITS[unit] == timedelta(0) and (unit != "w" or length > WEEK):
            return f"{length // _UNITS[unit]}{unit}"
    return f"{length.total_seconds():.0f}s"


def spell_seconds(seconds: int | None) -> str | None:
    """A length of so many seconds as `spell` has it; None for one that never ends."""
    return spell(seconds * SECOND) if seconds else None


def about(length: timedelta) -> timedelta:
    """A length of time that differs from this one by chance, by a fifth at most.

    So that what failed together is not tried again together.
    """
    return length * (0.8 + secrets.randbelow(4001) / 10_000)


def new_id() -> str:
    """A new random UUID, for the public id of a row."""
    return str(uuid.uuid4())


def id_of(moment: datetime, number: int) -> str:
    """The UUID of what has this number and happened at this moment; it sorts by the moment, then by the number.

    As RFC 9562's version 7, with the number where that has chance.
    """
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{number:012x}"


def id_for(name: str) -> str:
    """The UUID that belongs to a name: the same name always gives the same UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def random_hex(size: int) -> str:
    """`size` unpredictable bytes as hex, so 2 * `size` characters."""
    return secrets.token_hex(size)


def random_text(size: int) -> str:
    """`size` unpredictable bytes in the URL-safe base64 alphabet, without padding."""
    return secrets.token_urlsafe(size)
