"""When a worker that died is replaced, and when none can be made. Real ones: spec/test_workers.py."""

import asyncio
import errno
import os
import signal
from typing import cast

import pytest

from proxy.process import fork
from proxy.process.member import Birth, NotStarted
from proxy.process.sockets import Sockets
from proxy.process.supervisor import pause
from proxy.process.worker import Place
from proxy.settings.in_force import InForce


def test_the_first_death_is_mended_at_once_and_those_after_it_ever_later() -> None:
    assert [pause(deaths) for deaths in range(10)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize("call", ["fork", "socketpair"])
async def test_a_system_without_room_for_a_worker_keeps_one_from_starting_and_ends_nothing(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os if call == "fork" else fork.socket, call, full)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    place = Place(0, cast(InForce, None), cast(Sockets, None))
    birth = Birth(place, asyncio.get_running_loop().create_future())
    fork.fork(birth)
    with pytest.raises(NotStarted, match="it could not be forked: Resource temporarily unavailable"):
        await birth.born
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
