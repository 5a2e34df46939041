"""What a supervisor knows of its workers: one whose words make no sense is replaced, and the others stay."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest

from proxy.core import tasks
from proxy.process.sockets import Sockets
from proxy.process.worker import Place
from proxy.process.workers import Member, Workers
from proxy.settings import Loaded
from tests.spec.loop import until


class Played:
    """A process that does nothing; what a worker would say is said by the test."""

    def __init__(self) -> None:
        self.pid = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
        self.end, self.theirs = socket.socketpair()

    def says(self, kind: str, **more: Any) -> None:
        self.end.sendall(orjson.dumps({"kind": kind, **more}) + b"\n")


class Playing:
    """The workers of a supervisor, each played by such a process."""

    def __init__(self) -> None:
        self.lost: list[tuple[Member, str]] = []
        self.members: list[Member] = []
        self.played: list[Played] = []
        self.workers = Workers(lambda member, how: self.lost.append((member, how)), lambda member: None, list)

    async def one(self, slot: int) -> tuple[Member, Played]:
        """A worker that serves."""
        self.played.append(played := Played())
        place = Place(slot, cast(Loaded, None), cast(Sockets, None))
        starting = tasks.start(self.workers.start(place), "start")
        birth = await self.workers.births.get()
        crash = tempfile.TemporaryFile()  # noqa: SIM115  # `Workers` closes it
        birth.born.set_result((played.pid, played.theirs, crash))
        played.says("ready", banner="here")
        member: Member = await starting
        self.members.append(member)
        return member, played


@asynccontextmanager
async def playing() -> AsyncIterator[Playing]:
    """Workers that are reaped as a supervisor does, and gone in the end."""
    loop = asyncio.get_running_loop()
    play = Playing()
    loop.add_signal_handler(signal.SIGCHLD, play.workers.reap)
    try:
        yield play
    finally:
        for member, played in zip(play.members, play.played, strict=True):
            member.leaving = True
            member.kill(signal.SIGKILL)
            played.end.close()
        async with asyncio.timeout(30):
            await play.workers.empty()
        loop.remove_signal_handler(signal.SIGCHLD)


NONSENSE = {
    "no mapping": b"[]\n",
    "no kind": b"{}\n",
    "half of a message": b'{"kind":"counted"}\n',
    "a second banner": b'{"kind":"ready","banner":"again"}\n',
    "no JSON": b"\n",
}


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
async def test_a_worker_that_cannot_be_understood_is_lost_and_the_others_stay(said: bytes) -> None:
    async with playing() as play:
        bad, badly = await play.one(0)
        good, well = await play.one(1)
        badly.end.sendall(said)
        await until(lambda: play.lost)
        assert play.lost == [(bad, "signal SIGKILL")]
        assert play.workers.members == [good]
        # It is heard as before.
        well.says("counted", families=[["a", "", "counter", []]])
        await until(lambda: good.told)
        assert good.exited.done() is False
