import ipaddress

import pytest

from web import limits

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # not from our proxy: a lie
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.7", "203.0.113.9"], "203.0.113.9"),  # the left one is the client's own word
        ("10.0.0.1", ["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_are_believed(remote, forwarded, client):
    assert limits.client_address(remote, forwarded, TRUSTED) == client


def test_ten_thousand_spoofed_addresses_share_one_bucket():
    spoofed = [[f"203.0.{number // 250}.{number % 250}"] for number in range(10_000)]
    assert {limits.client_address("192.0.2.1", each, TRUSTED) for each in spoofed} == {"192.0.2.1"}


@pytest.mark.parametrize(
    ("address", "neighbourhood"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_one_customer_of_ipv6_is_one_client(address, neighbourhood):
    assert limits.neighbourhood(address) == neighbourhood
