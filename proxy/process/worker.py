"""
One worker of several: a process that serves on its supervisor's sockets, says that it lives, and does as it is told.

It decides nothing about other workers; who starts, replaces and ends them is `supervisor`.
"""

import asyncio
import faulthandler
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import IO, Any

from proxy.core import tasks
from proxy.core.loop import Loop
from proxy.core.peers import DRAINED, METRICS, Peers
from proxy.observe.log import Logs
from proxy.process.banner import banner, no_address, no_logs
from proxy.process.ipc import Channel
from proxy.process.server import Listener, calm_the_collector
from proxy.process.sockets import Sockets, Unservable
from proxy.settings import Loaded
from proxy.settings.share import share

BEAT = 0.5
"""Seconds between two signs of life."""
BEATS_BETWEEN_COUNTS = 30
"""
Signs of life between two reports of what was counted. A page of metrics asks for it; these are for `kill -9`, which
takes along what was counted since the last page or report: 15 seconds, as often as scrapers mostly look.
"""
ANSWERS_WITHIN = 2.0
"""Seconds the supervisor gets to collect the peers' answers."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands."""

    slot: int
    loaded: Loaded
    sockets: Sockets


def run(place: Place, channel: socket.socket, crash: IO[bytes]) -> int:
    """Serve until told otherwise; returns the exit code. In *crash* is the stack of a process that a fault killed."""
    faulthandler.enable(crash)
    # Ctrl-C and a hangup reach the whole group; it is the supervisor that answers them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(_serve(place, channel))


async def _serve(place: Place, end: socket.socket) -> int:
    """All of it."""
    channel = await Channel.over(end)
    settings = place.loaded.settings
    try:
        logs = Logs(settings.logging, shared=True)
    except OSError as error:
        return await _failed(channel, no_logs(error))
    logs.take_over()
    try:
        own = share(settings, place.slot, settings.server.workers)
        worker = _Worker(place.slot, channel, partial(Listener, own, logs, place.sockets))
        listening = await worker.start()
    except OSError as error:
        return await _failed(channel, no_address(settings, error))
    except (ValueError, Unservable) as problem:
        return await _failed(channel, f"{problem}.")
    await worker.serve(place.loaded, listening)
    await channel.close()
    await asyncio.to_thread(logs.stop)
    return 0


async def _failed(channel: Channel, why: str) -> int:
    channel.say("failed", why=why)
    await channel.close()
    return 2


class _Worker:
    """A gateway, and what it says to its supervisor; the peers, for the pages that need them."""

    def __init__(self, slot: int, channel: Channel, listener_for: Callable[[Peers], Listener]) -> None:
        """*listener_for* makes what the worker serves with, whose pages ask the peers through the worker."""
        self.asker = str(slot)
        self._channel = channel
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[list[Any]]] = {}
        self._numbers = count()
        self._counted = -1
        """Exchanges in what the supervisor was told last of what was counted."""
        self.listener = listener_for(self)
        self._gateway = self.listener.gateway

    async def start(self) -> asyncio.Task[None]:
        """Begin to serve, knowing which providers an operator has drained; returns the task that hears orders."""
        listening = tasks.start(self._listen(), "orders")
        for drained in await self.ask(DRAINED):
            for name in drained:
                self._gateway.pool.drain(name, True)
        await self.listener.start()
        return listening

    async def serve(self, loaded: Loaded, listening: asyncio.Task[None]) -> None:
        """
        Do as the supervisor says, until the end. *loaded*: what the listener, which has started, was made from.
        *listening*: the task that hears orders.
        """
        calm_the_collector()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._channel.say, "leaving")
        self._channel.say("ready", banner=banner(loaded, self._gateway, self.listener.url))
        reporting = tasks.start(self._report(), "signs of life")
        order = await self._orders.get()
        await self.listener.end(order.get("delay", 0.0), self._insisted())
        reporting.cancel()
        self._tell_counts()
        listening.cancel()

    async def ask(self, what: str, of: Any = None) -> list[Any]:
        """See `peers`."""
        if what == METRICS:
            # The supervisor keeps what an asker shows.
            self._counted = self._total
        number = next(self._numbers)
        answers: asyncio.Future[list[Any]]
        self._asked[number] = answers = asyncio.get_running_loop().create_future()
        self._channel.say("ask", number=number, what=what, of=of)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN):
                return await answers
        except TimeoutError:
            return []
        finally:
            del self._asked[number]

    async def _insisted(self) -> None:
        """Until it is told to stop at once."""
        while (await self._orders.get())["kind"] != "stop":
            pass

    async def _listen(self) -> None:
        async for message in self._channel.messages():
            kind = message["kind"]
            if kind == "question":
                found = self._gateway.answers.to(message["what"], message["of"])
                self._channel.say("answer", number=message["number"], found=found)
                if message["what"] == METRICS:
                    self._counted = self._total
            elif kind == "answers":
                waiting = self._asked.get(message["number"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["found"])
            else:
                self._orders.put_nowait(message)
        # Without the supervisor this worker would not be replaced, restarted or told to end. Let go of the port.
        self._orders.put_nowait({"kind": "drain"})

    async def _report(self) -> None:
        beats = count(1)
        while True:
            await asyncio.sleep(BEAT)
            self._channel.say("beat")
            if next(beats) % BEATS_BETWEEN_COUNTS == 0:
                self._tell_counts()

    @property
    def _total(self) -> int:
        return self._gateway.records.handed_over_total

    def _tell_counts(self) -> None:
        """What was counted so far, unless the supervisor has heard of all of it."""
        if self._total != self._counted:
            self._channel.say("counted", families=self._gateway.answers.to(METRICS, None))
            self._counted = self._total
