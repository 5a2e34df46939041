"""Ids of connections tell of which process they are, and no client can make one."""

import pytest

from proxy.http3.ids import LENGTH, ConnectionIds

SECRET = b"s" * 16


def test_an_id_leads_every_other_process_to_the_one_that_made_it() -> None:
    old, new = ConnectionIds(SECRET, 5001), ConnectionIds(SECRET, 5002)
    made = old.make()
    assert (len(made), new.elsewhere(made), old.elsewhere(made)) == (LENGTH, 5001, None)
    assert old.elsewhere(new.make()) == 5002


def test_no_two_are_the_same() -> None:
    ids = ConnectionIds(SECRET, 5001)
    assert len({ids.make() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("at", range(LENGTH))
def test_one_that_was_changed_leads_nowhere(at: int) -> None:
    made = bytearray(ConnectionIds(SECRET, 5001).make())
    made[at] ^= 1
    assert ConnectionIds(SECRET, 5002).elsewhere(bytes(made)) is None


@pytest.mark.parametrize("connection_id", [b"", b"x" * 8, b"x" * LENGTH, b"x" * 20])
def test_what_a_client_chose_leads_nowhere(connection_id: bytes) -> None:
    assert ConnectionIds(SECRET, 5001).elsewhere(connection_id) is None


def test_one_of_another_gateway_leads_nowhere() -> None:
    assert ConnectionIds(SECRET, 5001).elsewhere(ConnectionIds(b"t" * 16, 5002).make()) is None
