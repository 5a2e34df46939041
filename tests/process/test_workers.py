"""What a supervisor knows of its workers: one whose words make no sense is replaced, and the others stay."""

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest

from proxy.core import tasks
from proxy.core.peers import ACT, DRAINED, LIVE
from proxy.process.member import Member, NotStarted
from proxy.process.sockets import Sockets
from proxy.process.worker import Place
from proxy.process.workers import Workers
from proxy.settings.in_force import By, InForce, Reload
from proxy.settings.live import LiveChange
from tests.spec.loop import until


class Played:
    """A process that does nothing; what a worker would say is said by the test."""

    def __init__(self) -> None:
        self.pid = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
        self.end, self.theirs = socket.socketpair()
        self.hand, self.their_hand = socket.socketpair()

    def says(self, kind: str, **more: Any) -> None:
        self.end.sendall(orjson.dumps({"kind": kind, **more}) + b"\n")

    async def hears(self) -> Any:
        """The next message to it."""
        self.end.setblocking(False)
        line = b""
        async with asyncio.timeout(30):
            while not line.endswith(b"\n"):
                line += await asyncio.get_running_loop().sock_recv(self.end, 1)
        return orjson.loads(line)


class Playing:
    """The workers of a supervisor, each played by such a process."""

    def __init__(self) -> None:
        self.lost: list[tuple[Member, str]] = []
        self.members: list[Member] = []
        self.played: list[Played] = []
        self.reloaded: list[By] = []
        self.changed: list[LiveChange] = []
        self.workers = Workers(
            lambda member, how: self.lost.append((member, how)),
            lambda member: None,
            list,
            self._changed,
            self._reload,
            self.changed.append,
        )

    async def _changed(self) -> None:
        self.reloaded.append("watch")

    async def _reload(self, by: By, who: Mapping[str, str]) -> Reload:
        self.reloaded.append(by)
        return Reload("2026-11-30T12:00:00.000Z", by, "refused", ("server.port: must be at most 65535",))

    async def one(self, slot: int) -> tuple[Member, Played]:
        """A worker that serves."""
        starting, played = await self.unborn(slot)
        played.says("ready", banner="here")
        member: Member = await starting
        return member, played

    async def unborn(self, slot: int) -> tuple[asyncio.Task[Member], Played]:
        """One that does not serve yet, and the task that waits for it."""
        self.played.append(played := Played())
        place = Place(slot, cast(InForce, None), cast(Sockets, None))
        starting: asyncio.Task[Member] = tasks.start(self.workers.start(place), "start")
        birth = await self.workers.births.get()
        crash = tempfile.TemporaryFile()  # noqa: SIM115  # `Workers` closes it
        birth.born.set_result((played.pid, played.theirs, played.hand, crash))
        await until(lambda: any(member.pid == played.pid for member in self.workers.members))
        self.members += [member for member in self.workers.members if member.pid == played.pid]
        return starting, played


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
        played.says("reload", number=7, by="admin", who={"by": "admin"})
        answer = await played.hears()
        assert (answer["kind"], answer["number"]) == ("answers", 7)
        assert Reload(**answer["found"][0]).problems == ["server.port: must be at most 65535"]
        assert play.reloaded == ["watch", "admin"]


def act(action: str) -> dict[str, Any]:
    return {"what": ACT, "of": {"provider": "a", "action": action}}


async def test_what_an_operator_has_done_reaches_those_that_serve_and_those_that_are_about_to() -> None:
    async with playing() as play:
        _, asker = await play.one(0)
        _, other = await play.one(1)
        starting, young = await play.unborn(2)
        asker.says("ask", number=7, **act("drain"))
        question = await other.hears()
        assert question | {"number": 0} == {"kind": "question", "number": 0, **act("drain")}
        told = await young.hears()
        assert told | {"number": 0} == {"kind": "question", "number": 0, **act("drain")}
        other.says("answer", number=question["number"], found={"pid": 2})
        # Its answer is not waited for: it may take a while until it serves.
        assert await asker.hears() == {"kind": "answers", "number": 7, "found": [{"pid": 2}]}
        young.says("ready", banner="here")
        await starting


async def test_a_live_change_reaches_those_that_serve_and_those_that_are_about_to_and_is_kept_for_later_ones() -> None:
    live = {"what": LIVE, "of": {"level": "debug", "sample_ratio": None, "until": 1e10}}
    async with playing() as play:
        _, asker = await play.one(0)
        _, other = await play.one(1)
        starting, young = await play.unborn(2)
        asker.says("ask", number=7, **live)
        for each in (young, other):
            question = await each.hears()
            assert question | {"number": 0} == {"kind": "question", "number": 0, **live}
        other.says("answer", number=question["number"], found={"pid": 2})
        assert await asker.hears() == {"kind": "answers", "number": 7, "found": [{"pid": 2}]}
        assert play.changed == [LiveChange("debug", None, 1e10)]
        young.says("ready", banner="here")
        await starting


async def test_a_worker_that_is_slow_is_told_of_a_live_change_as_well_and_not_waited_for() -> None:
    live = {"what": LIVE, "of": {"level": "debug", "sample_ratio": None, "until": 1e10}}
    async with playing() as play:
        _, asker = await play.one(0)
        late, other = await play.one(1)
        late.beat -= 60.0
        asker.says("ask", number=7, **live)
        assert await asker.hears() == {"kind": "answers", "number": 7, "found": []}
        question = await other.hears()
        assert question | {"number": 0} == {"kind": "question", "number": 0, **live}


async def test_a_new_worker_learns_from_the_supervisor_which_providers_are_drained() -> None:
    births = []
    async with playing() as play:
        _, asker = await play.one(0)
        for slot, (action, known) in enumerate((("drain", ["a"]), ("reset", ["a"]), ("enable", [])), 1):
            asker.says("ask", number=1, what=ACT, of={"provider": "a", "action": action})
            starting, young = await play.unborn(slot)
            young.says("ask", number=5, what=DRAINED, of=None)
            births.append(starting)
            while (heard := await young.hears())["kind"] == "question":
                pass
            assert heard == {"kind": "answers", "number": 5, "found": [known]}
    assert all(isinstance(each, NotStarted) for each in await asyncio.gather(*births, return_exceptions=True))
