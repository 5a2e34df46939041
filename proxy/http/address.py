"""
The client's address: the connection's own, or what proxies the operator trusts say of it.

Only `X-Forwarded-For` is read, and only from them: any other client can write anything into it.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence

MOST_HOPS = 32
"""Hops looked at; a longer list was not made by proxies."""

AddressOf = Callable[[str, Sequence[str]], str]
"""The client's address from the connection's and the lines of `X-Forwarded-For`."""


def within(networks: Iterable[str]) -> Callable[[str], bool]:
    """A function that tells whether an address is of *networks*."""
    known = [ipaddress.ip_network(network, strict=False) for network in networks]

    def is_within(address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in known)

    return is_within


def trusting(networks: Iterable[str]) -> AddressOf:
    """A function that believes *networks*: the right-most hop that is none of them is the client."""
    trusted = tuple(networks)
    is_trusted = within(trusted)

    def address_of(peer: str, forwarded: Sequence[str]) -> str:
        if not forwarded or not is_trusted(peer):
            return peer
        client = peer
        for hop in reversed(",".join(forwarded).split(",")[-MOST_HOPS:]):
            address = _address(hop.strip())
            if address is None:
                # What stands left of nonsense was not written by a trusted proxy.
                return client
            client = address
            if not is_trusted(address):
                return client
        return client

    def peer_only(peer: str, forwarded: Sequence[str]) -> str:
        return peer

    return address_of if trusted else peer_only


def _address(hop: str) -> str | None:
    """The address in a hop, which some proxies write with a port; None when it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return None
