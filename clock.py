"""The only door to time and chance, so that a test can hold both still."""

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

_SCALE = (  # up to how far off a moment is counted in which unit
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


def now() -> datetime:
    """The present moment, aware, UTC, cut to the milliseconds that go on the wire."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def ticks() -> float:
    """Seconds on a clock that only ever goes forward, for measuring how long something takes."""
    return time.perf_counter()


def iso(moment: datetime) -> str:
    """A moment as it is written on the wire: ``2026-03-25T21:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def far(moment: datetime, seen_from: datetime) -> str:
    """How far off a moment is: ``in 3 days``, ``2 hours ago``, ``now``."""
    away = moment - seen_from
    if abs(away) < 5 * SECOND:
        return "now"
    unit, name = next((unit, name) for limit, unit, name in _SCALE if abs(away) < limit)
    count = f"{round(abs(away) / unit)} {name}"
    return f"in {count}" if away > timedelta(0) else f"{count} ago"


def duration(text: str) -> timedelta:
    """A length of time as people write it: ``7d``, ``12 hours``, ``2 weeks``, ``90`` (seconds).

    Raises ValueError, with a sentence for whoever wrote it, for anything else.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError("must be a number and a unit, such as 7d, 12h, 30m or 2 weeks")
    unit = (match["unit"] or "s")[0].lower()
    return int(match["number"]) * _UNITS[unit]


def spell(length: timedelta) -> str:
    """A length of time in its largest whole unit: ``7d`` (people say that, not 1w), ``90m``."""
    for unit in "wdhms":
        if length % _UNITS[unit] == timedelta(0) and (unit != "w" or length > WEEK):
            return f"{length // _UNITS[unit]}{unit}"
    return f"{length.total_seconds():.0f}s"


def new_id() -> str:
    """A fresh UUID, for the public id of a row."""
    return str(uuid.uuid4())


def id_for(name: str) -> str:
    """Likewise the same UUID whenever it is asked for with the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def random_hex(size: int) -> str:
    """``size`` unpredictable bytes, as hex."""
    return secrets.token_hex(size)


def random_text(size: int) -> str:
    """``size`` unpredictable bytes in the URL-safe base64 alphabet, unpadded."""
    return secrets.token_urlsafe(size)
