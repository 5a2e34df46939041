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
from proxy.process.member import Member
from proxy.process.sockets import Sockets
from proxy.process.worker import Place
from proxy.process.workers import Workers
from proxy.settings.in_force import By, InForce, Reload
from tests.spec.loop import until


class Played:
    """A process that does nothing; what a worker would say is said by the test."""

    def __init__(self) -> None:
        self.pid = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
        self.end, self.theirs = socket.socketpair()
        self.hand, self.their_hand = socket.socketpair()

    def says(self, kind: str, **more: Any) -> None:
        self.end.sendall(orjson.dumps({"kind": kind, **more}) + b"\n")

    async def hears(self) -> dict[str, Any]:
        """The next message to it."""
        line = await asyncio.to_thread(self.end.makefile("rb", 0).readline)
        message: dict[str, Any] = orjson.loads(line)
        return message


class Playing:
    """The workers of a supervisor, each played by such a process."""

    def __init__(self) -> None:
        self.lost: list[tuple[Member, str]] = []
        self.members: list[Member] = []
        self.played: list[Played] = []
        self.reloaded: list[By] = []
        self.workers = Workers(
            lambda member, how: self.lost.append((member, how)), lambda member: None, list, self._changed, self._reload
        )

    async def _changed(self) -> None:
        self.reloaded.append("watch")

    async def _reload(self, by: By) -> Reload:
        self.reloaded.append(by)
        return Reload("2026-11-30T12:00:00.000Z", by, "refused", ("server.port: must be at most 65535",))

    async def one(self, slot: int) -> tuple[Member, Played]:
        """A worker that serves."""
        self.played.append(played := Played())
        place = Place(slot, cast(InForce, None), cast(Sockets, None))
        starting = tasks.start(self.workers.start(place), "start")
        birth = await self.workers.births.get()
        crash = tempfile.TemporaryFile()  # noqa: SIM115  # `Workers` closes it
        birth.born.set_result((played.pid, played.theirs, played.hand, crash))
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
            played.their_hand.close()
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


async def test_every_worker_does_as_it_is_told_and_one_that_dies_meanwhile_is_not_waited_for() -> None:
    async with playing() as play:
        one, first = await play.one(0)
        other, second = await play.one(1)
        telling = tasks.start(play.workers.tell_all("prepare", {"a": 1}), "order")
        order = await first.hears()
        assert (order["kind"], order["what"], order["of"]) == ("order", "prepare", {"a": 1})
        assert (await second.hears())["number"] != order["number"]
        first.says("answer", number=order["number"], found=[])
        other.kill(signal.SIGKILL)
        assert await telling == {one: [], other: None}


async def test_a_worker_may_ask_for_a_reload_and_hears_what_became_of_it() -> None:
    async with playing() as play:
        _, played = await play.one(0)
        played.says("changed")
        await until(lambda: play.reloaded == ["watch"])
        played.says("reload", number=7, by="admin")
        answer = await played.hears()
        assert (answer["kind"], answer["number"]) == ("answers", 7)
        assert Reload(**answer["found"][0]).problems == ["server.port: must be at most 65535"]
        assert play.reloaded == ["watch", "admin"]
