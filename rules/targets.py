"""Where webhooks may go: which URLs may be given, and which addresses may be dialled when one is sent.

A name is judged by the addresses that it has when it connects: the owner of a name may give it another address later.
"""

import ipaddress
import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import SplitResult, urlsplit

from rules import urls
from rules.refusals import Invalid

Address = IPv4Address | IPv6Address

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?", re.ASCII)
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\.?", re.ASCII)


def _networks(*written: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in written)


# Where machines in a cloud learn their own secrets, and what is on the same wire.
NEVER = _networks(
    *("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    *("fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"),
)
# What --private allows: one's own network and machine, and what lies between customers of one provider, as VPNs use it.
PRIVATE = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
    *("fc00::/7", "::1/128"),
)
# Global as far as Python's `ipaddress` knows, in one version of it or another: a relay, multicast, protocols, examples.
_NOT_GLOBAL = _networks(
    *("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("2001::/23", "2001:db8::/32", "3fff::/20"),
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all that is given to anyone in IPv6
# Where the last 32 bits are an address of IPv4. (::a.b.c.d and ::ffff:0:a.b.c.d are not unwrapped: they lead nowhere.)
_LAST_32 = _networks("::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")


def may_dial(address: str, private: bool) -> bool:
    """Whether a webhook may be sent to this address; `private` is whether it may go to private and loopback ones."""
    written = ipaddress.ip_address(address.partition("%")[0])
    meant = _unwrapped(written)
    if _is_in(NEVER, written) or _is_in(NEVER, meant):
        return False
    return _is_global(meant) or (private and _is_in(PRIVATE, meant))


def _unwrapped(address: Address) -> Address:
    """The address of IPv4 that one of IPv6 stands for; any other as it is."""
    if _is_in(_LAST_32, address):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return address


def _is_global(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address.is_global and not _is_in(_NOT_GLOBAL, address)


def _is_in(networks: tuple[IPv4Network | IPv6Network, ...], address: Address) -> bool:
    return any(address in each for each in networks)


def url(written: str, private: bool = False) -> str:
    """The URL of a webhook: https to a name; with `private` also http, and an address. Raises Invalid.

    A name that has a wrong address is found out when it connects.
    """
    urls.refuse_odd(written, "url")
    try:
        parts = urlsplit(written)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = SplitResult("", "", "", "", ""), "", None
    if "@" in parts.netloc:
        raise Invalid.at("url", "url", "must have no user name and no password in it")
    if "#" in written:
        raise Invalid.at("url", "url", "must have no # in it: what follows is never sent")
    _refuse_scheme(parts.scheme, private)
    if port == 0 or not (_NAME.fullmatch(host) or _is_address(host)):
        raise Invalid.at("url", "url", "must be a whole URL such as https://app.example.org/hook")
    if _is_literal(host):
        _refuse_literal(host, private)
    return written


def _refuse_scheme(scheme: str, private: bool) -> None:
    if scheme == "https" or (private and scheme == "http"):
        return
    if scheme == "http":
        raise Invalid.at("url", "url", "must start with https:// (invite-api webhook create --private takes http, too)")
    raise Invalid.at("url", "url", "must start with https://")


def _refuse_literal(host: str, private: bool) -> None:
    if not private:
        raise Invalid.at(
            "url", "url", "must have a name, and no address (invite-api webhook create --private takes an address, too)"
        )
    if not _is_address(host) or not may_dial(host, private):
        raise Invalid.at("url", "url", "has an address to which nothing is sent")


def _is_literal(host: str) -> bool:
    """Whether a host is an address however it is written: programs take 0x7f.1 and 2130706433 for 127.0.0.1."""
    return _is_address(host) or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is not None or _is_number(host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_number(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
