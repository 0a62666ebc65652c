"""Where webhooks may go: what each spelling of an address means, and which URLs are taken."""

import ipaddress
import itertools
import socket

import pytest

from rules import targets
from rules.refusals import Invalid

pytestmark = pytest.mark.any_database

OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001:80b::200e"]
OWN = [
    *("127.0.0.1", "127.1.2.3", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254"),
    *("192.168.0.1", "192.168.255.254", "100.64.0.1", "100.127.255.254", "::1", "fc00::1", "fd12:3456::1"),
]
NEVER = [
    *("169.254.169.254", "169.254.0.1", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254", "fd20:ce::254"),
]
NOWHERE = [
    *("0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "fec0::1", "feff::1", "ff02::1", "ff0e::1", "100::1", "2001::1", "2001:db8::1", "2001:10::1", "3fff::1"),
    *("5f00::1", "4000::1", "64:ff9b:2::1", "64:ff9b:1:7f00:0:1:808:808", "1::1"),
]


def within(inner):
    """An address of IPv4 as IPv6 has it, in the ways that lead to it."""
    number = int(ipaddress.IPv4Address(inner))
    for prefix in ("::ffff:0:0", "64:ff9b::", "64:ff9b:1::"):
        yield str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number))
    yield str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("2002::")) | number << 80 | 1))
    yield f"::ffff:{inner}"


def compatible(inner):
    """An address of IPv4 as IPv6 has it, in the ways that lead nowhere."""
    yield from (f"::{inner}", f"::ffff:0:{inner}")


def of_ipv4(addresses):
    return [each for each in addresses if "." in each]


@pytest.mark.parametrize("address", [*OUTSIDE, *itertools.chain(*map(within, of_ipv4(OUTSIDE)))])
def test_an_address_on_the_internet_is_dialled(address):
    assert targets.may_dial(address, False)
    assert targets.may_dial(address, True)


@pytest.mark.parametrize("address", [*OWN, *itertools.chain(*map(within, of_ipv4(OWN)))])
def test_an_address_of_ones_own_network_is_dialled_only_for_private_webhooks(address):
    assert not targets.may_dial(address, False)
    assert targets.may_dial(address, True)


FORBIDDEN = [
    *NEVER,
    *NOWHERE,
    *itertools.chain(*map(within, of_ipv4(NEVER + NOWHERE))),
    *itertools.chain(*map(compatible, of_ipv4(OUTSIDE + OWN + NEVER))),
]


@pytest.mark.parametrize("private", [False, True])
def test_what_is_nowhere_or_tells_a_machine_its_secrets_is_never_dialled(private):
    assert [each for each in FORBIDDEN if targets.may_dial(each, private)] == []


def test_these_are_two_hundred_addresses_and_the_library_alone_would_let_some_through():
    assert len({*OWN, *FORBIDDEN, *itertools.chain(*map(within, of_ipv4(OWN)))}) >= 200
    assert [each for each in FORBIDDEN if "%" not in each and ipaddress.ip_address(each).is_global]


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.org/hook",
        "https://app.example.org:8443/hook?key=a%20b",
        "https://app.example.org",
        "https://APP.example.org/",
        "https://my_app.example.org./x",
        "https://localhost/",  # it is a name, and is judged when it connects
    ],
)
def test_a_url_of_a_name_is_taken(url):
    assert targets.url(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.example.org/", "must start with https://"),
        ("ftp://app.example.org/", "must start with https://"),
        ("app.example.org/hook", "must start with https://"),
        ("https://", "must be a whole URL"),
        ("https:///hook", "must be a whole URL"),
        ("https://app.example.org:0/", "must be a whole URL"),
        ("https://app.example.org:65536/", "must"),
        ("https://app.example.org:x/", "must"),
        ("https://anne@app.example.org/", "user name"),
        ("https://anne:secret@app.example.org/", "user name"),
        ("https://app.example.org/#part", "must have no #"),
        ("https://app.example.org/a b", "plain characters"),
        ("https://müller.example/", "as links have it: xn--mller-kva.example"),
        ("https://①②⑦.⓪.⓪.①/", "plain characters"),
        ("https://app.example.org\\@127.0.0.1/", "plain characters"),
        ("https://app.example.org/" + "x" * 2000, "plain characters"),
        ("https://app..example.org/", "must be a whole URL"),
        ("https://-x.example.org/", "must be a whole URL"),
        ("https://127.0.0.1%2f.example.org/", "must be a whole URL"),
        ("https://8.8.8.8/", "no address"),
        ("https://[2606:4700::1111]/", "no address"),
        ("https://127.1/", "no address"),
        ("https://0x7f.0.0.1/", "no address"),
        ("https://0x7f000001/", "no address"),
        ("https://2130706433/", "no address"),
        ("https://017700000001/", "no address"),
        ("https://0177.0.0.1/", "no address"),
        ("https://10.0.0.1./", "no address"),
        ("https://[::ffff:127.0.0.1]/", "no address"),
        ("https://[fe80::1%25eth0]/", "must be a whole URL"),
    ],
)
def test_a_url_that_cannot_be_is_refused_with_the_reason(url, why):
    with pytest.raises(Invalid) as refused:
        targets.url(url)
    assert why in str(refused.value)
    assert [each.field for each in refused.value.problems] == ["url"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000/hook", "http://app:8080/", "https://10.0.0.7/", "http://[::1]/"]
)
def test_a_private_webhook_may_have_an_address_and_http(url):
    assert targets.url(url, private=True) == url
    with pytest.raises(Invalid):
        targets.url(url)


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "2852039166", "0xa9fea9fe", "127.1"])
def test_a_private_webhook_has_no_address_that_is_spelt_oddly_or_that_nothing_is_sent_to(host):
    with pytest.raises(Invalid, match="has an address to which nothing is sent"):
        targets.url(f"http://{host}/", private=True)


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.1", "127.0.1", "0", "10.1"]
)
def test_what_the_system_takes_for_an_address_is_no_name_here(host):
    """A control: the system really does."""
    assert socket.inet_aton(host)
    with pytest.raises(Invalid, match="no address"):
        targets.url(f"https://{host}/")
