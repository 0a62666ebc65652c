"""How often: rate limits, so many calls a minute for one caller.

Each server counts in its memory, or all together in a Redis. Counters that protect secrets are another
matter, and live in the database.
"""

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

import clock
from rules.refusals import RateLimited
from settings import Network
from web.logs import log

TIMEOUT = 0.5  # seconds to wait for Redis
_WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?", re.ASCII)
SHOWN, MAX_WARNED = 60, 100  # characters of an entry that is no address, and proxies
_warned: set[str] = set()
_item = lru_cache(maxsize=64)(parse)
AWAY = 5.0  # seconds for which a server counts for itself once Redis has not answered


class RateLimits:
    """The rate limits of one running service; switched off they let everything pass.

    With the `url` of a Redis it counts together with others that use the same. While that is away it
    counts for itself: a limit that is a little too wide is better than no service.
    """

    def __init__(self, on: bool, url: str = "") -> None:
        self._own = FixedWindowRateLimiter(MemoryStorage()) if on else None
        self._shared = _shared_limiter(url) if on and url else None
        self._away_until = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether to count is to wait for another machine."""
        return self._shared is not None

    def count(self, limit: str | None, *bucket: str) -> None:
        """Count one call against a limit such as ``600/minute``; raises RateLimited beyond it."""
        if limit is not None:
            item = _item(limit)
            self._with_limiter(lambda limiter: _count(limiter, item, bucket))

    def move(self, limit: str | None, counted: Sequence[str], to: Sequence[str]) -> None:
        """Count a call that was counted in one bucket in another one instead, if that has room for it.

        Only this call is taken out of the first; what others counted there stays.
        """
        if limit is not None:
            item = _item(limit)
            self._with_limiter(lambda limiter: _move(limiter, item, counted, to))

    def _with_limiter(self, work: Callable[[FixedWindowRateLimiter], None]) -> None:
        if self._own is None:
            return None
        if self._shared and clock.ticks() >= self._away_until:
            try:
                return work(self._shared)
            except StorageError as error:
                self._away_until = clock.ticks() + AWAY
                log.error("calls are counted by this server alone: LIMITS_URL does not answer: %s", error)
        return work(self._own)


def _count(limiter: FixedWindowRateLimiter, item: RateLimitItem, bucket: Sequence[str]) -> None:
    if not limiter.hit(item, *bucket):
        reset = limiter.get_window_stats(item, *bucket).reset_time
        raise RateLimited(max(1, math.ceil(reset - clock.now().timestamp())))


def _move(limiter: FixedWindowRateLimiter, item: RateLimitItem, counted: Sequence[str], to: Sequence[str]) -> None:
    if limiter.hit(item, *to) and limiter.get_window_stats(item, *counted).remaining < item.amount:
        limiter.hit(item, *counted, cost=-1)


def _shared_limiter(url: str) -> FixedWindowRateLimiter:
    waits: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    return FixedWindowRateLimiter(storage_from_string(url, wrap_exceptions=True, key_prefix="invite-api", **waits))


def client_address(remote: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The address nearest to us that is not a trusted proxy's: what stands before it, anyone could write.

    `remote` is the peer of the socket, `forwarded` the header's addresses from left to right.
    """
    if not forwarded:
        return remote
    forwarded = [_without_port(each) for each in forwarded]

    def is_trusted(hop: str) -> bool:
        address = _address(hop)
        return address is not None and any(address in network for network in trusted)

    hops = [*forwarded, remote]
    while len(hops) > 1 and is_trusted(hops[-1]) and _address(hops[-2]):
        hops.pop()
    if len(hops) > 1 and is_trusted(hops[-1]):
        _warn_once(hops[-1], hops[-2][:SHOWN])
    return hops[-1]


def _warn_once(proxy: str, hop: str) -> None:
    """Log that a proxy says something that is no address, once for each of the first proxies that do."""
    if proxy not in _warned and len(_warned) < MAX_WARNED:
        _warned.add(proxy)
        facts = {"proxy": proxy, "entry": hop}
        log.warning(
            "X-Forwarded-For has no address: all visitors by this proxy share one rate limit", extra={"facts": facts}
        )


@lru_cache(maxsize=4096)
def neighbourhood(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one IPv6 customer has."""
    parsed = _address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed) if parsed else address


def _without_port(hop: str) -> str:
    """An entry of X-Forwarded-For without the port that some proxies write: ``192.0.2.7:80``, ``[2001:db8::1]:80``."""
    match = _WITH_PORT.fullmatch(hop)
    return match[1] or match[2] if match else hop


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text says, None if it is none; one such as ``::ffff:192.0.2.7`` is the IPv4 address in it."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, ipaddress.IPv6Address) else parsed
