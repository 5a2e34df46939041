"""When a worker says what it has counted: when it is asked, and seldom by itself."""

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.core import tasks
from proxy.core.peers import METRICS
from proxy.process import worker
from proxy.process.ipc import packed
from proxy.process.listener import Listener
from proxy.settings import load
from proxy.settings.in_force import InForce
from proxy.settings.live import NONE, LiveChange
from tests.spec.loop import until


class Gateway:
    """One that is asked for what it has counted."""

    def __init__(self) -> None:
        self.records = SimpleNamespace(handed_over_total=0)
        self.collected = 0
        self.answers = self.verbosity = self
        self.obeyed: list[LiveChange] = []

    def change(self, live: LiveChange) -> None:
        self.obeyed.append(live)

    def to(self, what: str, of: Any) -> Any:
        assert what == METRICS
        self.collected += 1
        return []


class Channel:
    """Keeps what is said; the supervisor's side is the test's."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def say(self, kind: str, **more: Any) -> None:
        self.said.append(kind)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            yield await self.heard.get()


def place() -> tuple[worker._Worker, Gateway, Channel]:
    """A worker between the two."""
    gateway, channel = Gateway(), Channel()
    listener = cast(Listener, SimpleNamespace(gateway=gateway))
    one = worker._Worker(0, cast(Any, channel), cast(socket.socket, None), cast(InForce, None), lambda worker: listener)
    return one, gateway, channel


async def test_a_busy_worker_collects_its_counts_seldom_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "BEAT", 0.0)
    one, gateway, channel = place()
    say = channel.say

    def busy(kind: str, **more: Any) -> None:
        gateway.records.handed_over_total += 1
        say(kind, **more)

    monkeypatch.setattr(channel, "say", busy)
    reporting = tasks.start(one._report(), "signs of life")
    await until(lambda: channel.said.count("beat") >= 100)
    reporting.cancel()
    # A quarter of a minute between two of them, at two beats a second.
    assert channel.said.count("counted") == gateway.collected == channel.said.count("beat") // 30


async def test_what_a_page_has_shown_is_not_told_again() -> None:
    one, gateway, channel = place()
    listening = tasks.start(one._listen(lambda: None), "orders")
    gateway.records.handed_over_total = 1
    channel.heard.put_nowait({"kind": "question", "what": METRICS, "of": None, "number": 1})
    await until(lambda: channel.said == ["answer"])
    one._tell_counts()
    assert channel.said == ["answer"]
    gateway.records.handed_over_total = 2
    asking = tasks.start(one.ask(METRICS, []), "page")
    await until(lambda: channel.said == ["answer", "ask"])
    channel.heard.put_nowait({"kind": "answers", "number": 0, "found": []})
    assert await asking == []
    one._tell_counts()
    assert channel.said == ["answer", "ask"]
    gateway.records.handed_over_total = 3
    one._tell_counts()
    assert channel.said == ["answer", "ask", "counted"]
    listening.cancel()


@pytest.mark.parametrize("live", [LiveChange("debug", None, 1e10), NONE])
async def test_a_live_change_that_the_supervisor_knows_of_is_obeyed(live: LiveChange) -> None:
    one, gateway, channel = place()
    loaded = load(None, {})
    now = datetime(2026, 11, 30, tzinfo=UTC)
    one._in_force = InForce(loaded, now)
    listening = tasks.start(one._listen(lambda: None), "orders")
    channel.heard.put_nowait({"kind": "in force", "record": packed(InForce(loaded, now, live=live))})
    await until(lambda: one._in_force.since is not now)
    listening.cancel()
    # One that holds already is not begun anew.
    assert gateway.obeyed == [live] * (live is not NONE)


class Preparing:
    """A listener whose preparations end when the test says so."""

    def __init__(self) -> None:
        self.gateway = Gateway()
        self.under_way: list[asyncio.Future[str]] = []
        self.discarded: list[str] = []
        self.in_force: list[str] = []

    async def prepare(self, settings: Any, metrics: socket.socket | None) -> str:
        self.under_way.append(asyncio.get_running_loop().create_future())
        return await self.under_way[-1]

    def discard(self, made: str) -> None:
        self.discarded.append(made)

    async def put_in_force(self, made: str) -> None:
        self.in_force.append(made)


async def test_a_configuration_that_took_too_long_to_make_takes_no_later_ones_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "unpacked", lambda packed: SimpleNamespace(server=SimpleNamespace(workers=1)))
    monkeypatch.setattr(worker, "share", lambda settings, slot, workers: settings)
    listener, channel = Preparing(), Channel()
    one = worker._Worker(
        0, cast(Any, channel), cast(socket.socket, None), cast(InForce, None), lambda worker: cast(Listener, listener)
    )
    listening = tasks.start(one._listen(lambda: None), "orders")
    told = {"settings": "", "handed": None}
    # The supervisor did not wait for the first.
    for number, (what, of) in enumerate((("prepare", told), ("discard", None), ("prepare", told), ("commit", None))):
        channel.heard.put_nowait({"kind": "order", "what": what, "of": of, "number": number})
    await until(lambda: len(listener.under_way) == 1 and not channel.heard.qsize())
    listener.under_way[0].set_result("first")
    await until(lambda: len(listener.under_way) == 2)
    listener.under_way[1].set_result("second")
    await until(lambda: channel.said == ["answer"] * 4)
    assert (listener.discarded, listener.in_force) == (["first"], ["second"])
    listening.cancel()


def test_a_socket_that_was_handed_for_no_message_is_not_taken_for_a_later_one() -> None:
    ours, theirs = socket.socketpair()
    listener = cast(Listener, SimpleNamespace(gateway=Gateway()))
    one = worker._Worker(0, cast(Any, Channel()), theirs, cast(InForce, None), lambda worker: listener)
    with ours, theirs, socket.socket() as stale, socket.socket() as meant:
        for each in (stale, meant):
            each.bind(("127.0.0.1", 0))
        socket.send_fds(ours, [b"\x07"], [stale.fileno()])
        socket.send_fds(ours, [b"\x08"], [meant.fileno()])
        handed = one._handed(8)
        assert handed is not None
        with handed:
            assert handed.getsockname() == meant.getsockname()
        assert one._handed(None) is None
