"""Whose address a request comes from, when some of what says so may be made up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.admission.keyless import network_of
from proxy.http.address import MOST_HOPS, trusting

address_of = trusting(["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.7"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # No proxy says anything.
        ("10.0.0.1", [], "10.0.0.1"),
        ("203.0.113.9", [], "203.0.113.9"),
        # A peer that is not trusted says something.
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("203.0.113.9", ["10.0.0.1"], "203.0.113.9"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        ("", ["198.51.100.1"], ""),
        ("/run/hapax.sock", ["198.51.100.1"], "/run/hapax.sock"),
        # A trusted proxy does.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["2001:db8::5"], "2001:db8::5"),
        # The right-most hop that is none of ours: what stands left of it, the client may have written itself.
        ("10.0.0.1", ["8.8.8.8, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["8.8.8.8", "198.51.100.1", "10.0.0.2, 10.0.0.3"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1,10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["  198.51.100.1 ,\t10.0.0.2 "], "198.51.100.1"),
        # All of them are ours: the first is where it began.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # With ports and brackets, as some proxies write them.
        ("10.0.0.1", ["198.51.100.1:52011"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::5]:52011"], "2001:db8::5"),
        ("10.0.0.1", ["[2001:db8::5]"], "2001:db8::5"),
        ("10.0.0.1", ["198.51.100.1:1, 10.0.0.2:2, [2001:db8:ffff::1]:3"], "198.51.100.1"),
        # One address has one spelling.
        ("10.0.0.1", ["2001:DB8:0:0::5"], "2001:db8::5"),
        # What is no address vouches for nothing left of it.
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1, _hidden"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1.5"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.256"], "10.0.0.1"),
        ("10.0.0.1", ["198.051.100.1"], "10.0.0.1"),
        ("10.0.0.1", ["3325256705"], "10.0.0.1"),
        ("10.0.0.1", ["for=198.51.100.1"], "10.0.0.1"),
        ("10.0.0.1", ['"198.51.100.1"'], "10.0.0.1"),
        ("10.0.0.1", ["localhost"], "10.0.0.1"),
        ("10.0.0.1", ["[]"], "10.0.0.1"),
        ("10.0.0.1", ["\uff11\uff19\uff18.51.100.1"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_nearest_address_a_trusted_proxy_vouches_for(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert address_of(peer, forwarded) == client


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ],
)
def test_an_ipv4_address_in_ipv6_clothes_is_the_same_address(peer: str, forwarded: list[str], client: str) -> None:
    assert network_of(address_of(peer, forwarded)) == client


def test_where_no_proxy_is_trusted_the_connection_speaks_for_itself() -> None:
    assert trusting([])("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"


def test_a_network_may_be_written_with_bits_of_a_host() -> None:
    assert trusting(["10.1.2.3/8"])("10.200.0.1", ["198.51.100.1"]) == "198.51.100.1"


def test_a_list_longer_than_any_row_of_proxies_is_read_from_its_end() -> None:
    hops = ["198.51.100.1"] + ["10.0.0.2"] * (MOST_HOPS - 1)
    assert address_of("10.0.0.1", hops) == "198.51.100.1"
    assert address_of("10.0.0.1", ["198.51.100.1", "10.0.0.3", *["10.0.0.2"] * (MOST_HOPS - 1)]) == "10.0.0.3"
    assert address_of("10.0.0.1", [", ".join(["8.8.8.8"] * 100_000 + ["198.51.100.1"])]) == "198.51.100.1"


@settings(deadline=None)
@given(st.lists(st.text(max_size=50), max_size=5), st.ip_addresses())
def test_whatever_a_stranger_writes_his_own_address_is_used(forwarded: list[str], client: object) -> None:
    shown = str(client)
    assert trusting(["10.0.0.0/8"])("203.0.113.9", forwarded) == "203.0.113.9"
    # The proxy adds the true one to whatever the stranger sent.
    if not network_of(shown).startswith("10."):
        assert trusting(["10.0.0.0/8"])("10.0.0.1", [*forwarded, shown]) == shown
