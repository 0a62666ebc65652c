"""How often: flood limits, so many calls a minute for one caller.

Each server counts in its memory, or all together in a Redis. Counters that protect secrets are another
matter, and live in the database.
"""

import ipaddress
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

import clock
from config import Network
from logs import log
from rules.refusals import RateLimited

PATIENCE = 0.5  # seconds to wait for Redis
AWAY = 5.0  # seconds for which a server counts for itself once Redis has not answered


class Flood:
    """The flood limits of one running service; switched off it lets everything pass.

    With the `url` of a Redis it counts together with others that use the same. While that is away it
    counts for itself: a limit that is a little too wide is better than no service.
    """

    def __init__(self, on: bool, url: str = "") -> None:
        self._own = FixedWindowRateLimiter(MemoryStorage()) if on else None
        self._shared = FixedWindowRateLimiter(_storage(url)) if on and url else None
        self._away_until = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether to count is to wait for another machine."""
        return self._shared is not None

    def spend(self, limit: str | None, *bucket: str) -> None:
        """Count one call against a limit such as ``600/minute``; raises RateLimited beyond it."""
        if self._own is None or limit is None:
            return None
        item = parse(limit)
        if self._shared and clock.ticks() >= self._away_until:
            try:
                return _spend(self._shared, item, bucket)
            except StorageError as error:
                self._away_until = clock.ticks() + AWAY
                log.error("calls are counted by this server alone: LIMITS_URL does not answer: %s", error)
        return _spend(self._own, item, bucket)


def _spend(limiter: FixedWindowRateLimiter, item: RateLimitItem, bucket: Sequence[str]) -> None:
    if not limiter.hit(item, *bucket):
        reset = limiter.get_window_stats(item, *bucket).reset_time
        raise RateLimited(max(1, math.ceil(reset - clock.now().timestamp())))


def _storage(url: str) -> Any:
    return storage_from_string(
        url, wrap_exceptions=True, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, key_prefix="invite-api"
    )


def client_address(remote: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address nearest to us that is not a trusted proxy's: what stands before it, anybody could write.

    `remote` is the peer of the socket, `forwarded` the header's addresses from left to right.
    """
    if not forwarded:
        return remote
    hops = [*forwarded, remote]
    while len(hops) > 1 and _within(hops[-1], trusted) and _address(hops[-2]):
        hops.pop()
    return hops[-1]


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one IPv6 customer has."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
    return address


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _within(text: str, networks: Sequence[Network]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in networks)
