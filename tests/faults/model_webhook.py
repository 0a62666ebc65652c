"""What a webhook is sent: each event of the chosen types once, later if it was not taken, or if it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

DAYS = timedelta(days=1)
MINUTES = timedelta(minutes=1)
# How long it is waited after each try that failed, give or take a fifth.
WAITS = (MINUTES / 12, 5 * MINUTES, 30 * MINUTES, *(hours * 60 * MINUTES for hours in (2, 5, 10, 14, 20, 24)))


@dataclass
class Due:
    """An event that is to be sent: from when on it may be, and must be, and how often it was tried."""

    earliest: datetime
    latest: datetime
    tries: int = 0


@dataclass
class Hook:
    """One webhook: the types and families of its events, and the project that they are about; None for all.

    `waiting` and `kept` are by the ids of events: what is sent by itself, and what is sent only on request.
    """

    id: str
    secret: str
    types: Sequence[str] | None
    project_id: str | None
    enabled: bool = True
    failing_since: datetime | None = None
    waiting: dict[str, Due] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)

    def hear(self, event: Mapping[str, Any], now: datetime) -> None:
        """Something happened."""
        is_chosen = self.types is None or not {event["type"], event["type"].partition(".")[0]}.isdisjoint(self.types)
        if is_chosen and self.project_id in (None, event["project_id"]):
            self.waiting[event["id"]] = Due(now, now)
            if not self.enabled:
                self._keep()

    def due(self, now: datetime) -> tuple[set[str], set[str]]:
        """The events that must be sent now, and those that may be."""
        must = {id_ for id_, each in self.waiting.items() if each.latest <= now}
        return must, {id_ for id_, each in self.waiting.items() if each.earliest <= now}

    def get(self, events: Sequence[str], status: int, now: datetime) -> bool:
        """The receiver gets these and answers so; returns whether that disables the webhook."""
        for each in events:
            if status < 300:
                del self.waiting[each]
                self.failing_since = None
            else:
                self._fail(each, now)
        is_over = bool(events) and (status == 410 or self._is_given_up(status, now))
        if is_over:
            self.disable()
        return is_over

    def _fail(self, event: str, now: datetime) -> None:
        due = self.waiting[event]
        due.tries += 1
        if due.tries > len(WAITS):
            del self.waiting[event]
            self.kept.add(event)
        else:
            due.earliest, due.latest = (now + WAITS[due.tries - 1] * share for share in (0.8, 1.2))

    def _is_given_up(self, status: int, now: datetime) -> bool:
        if status < 300:
            return False
        self.failing_since = self.failing_since or now
        return now - self.failing_since >= 5 * DAYS

    def disable(self) -> None:
        self.enabled = False
        self._keep()

    def enable(self) -> None:
        """Nothing of what was kept is sent for that."""
        self.enabled, self.failing_since = True, None
        self._keep()

    def _keep(self) -> None:
        self.kept |= set(self.waiting)
        self.waiting = {}

    def retry(self, now: datetime) -> None:
        """All that was not sent is asked for."""
        self.waiting = {each: Due(now, now) for each in (*self.waiting, *self.kept)}
        self.kept = set()
