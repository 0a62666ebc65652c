"""How often: flood limits, so many calls a minute for one caller. They live in memory.

Counters that protect secrets are another matter, and live in the database.
"""

import ipaddress
import math
from collections.abc import Sequence
from functools import lru_cache

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

import clock
from config import Network
from rules.refusals import RateLimited


class Flood:
    """The flood limits of one running service; switched off it lets everything pass."""

    def __init__(self, on: bool) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage()) if on else None

    def spend(self, limit: str | None, *bucket: str) -> None:
        """Count one call against a limit such as ``600/minute``; raises RateLimited beyond it."""
        if self._limiter is None or limit is None:
            return
        item = parse(limit)
        if not self._limiter.hit(item, *bucket):
            reset = self._limiter.get_window_stats(item, *bucket).reset_time
            raise RateLimited(max(1, math.ceil(reset - clock.now().timestamp())))


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
