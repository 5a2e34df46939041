"""
One worker of several: a process that serves on its supervisor's sockets, says that it lives, and does as it is told.

It decides nothing about other workers; who starts, replaces and ends them is `supervisor`.
"""

import asyncio
import faulthandler
import logging
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import IO, Any

from proxy.core import clock, tasks
from proxy.core.loop import Loop
from proxy.core.peers import DRAINED, METRICS
from proxy.observe.log import Logs
from proxy.process.banner import banner, no_address, no_logs
from proxy.process.ipc import Channel, unpacked
from proxy.process.listener import Listener
from proxy.process.prepared import Prepared
from proxy.process.server import calm_the_collector
from proxy.process.sockets import Sockets, Unservable
from proxy.process.watch import watch
from proxy.settings import SettingsError
from proxy.settings.in_force import By, InForce, Reload
from proxy.settings.share import share

_log = logging.getLogger("hapax")

BEAT = 0.5
"""Seconds between two signs of life."""
BEATS_BETWEEN_COUNTS = 30
"""
Signs of life between two reports of what was counted. A page of metrics asks for it; these are for `kill -9`, which
takes along what was counted since the last page or report: 15 seconds, as often as scrapers mostly look.
"""
RELOADED_WITHIN = 60.0
"""Seconds a reload of all workers may take, another one before it included."""
PREPARE, COMMIT, DISCARD = "prepare", "commit", "discard"
"""Orders: make another configuration, and put it in force, or do not."""
ANSWERS_WITHIN = 2.0
"""Seconds the supervisor gets to collect the peers' answers."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands."""

    slot: int
    in_force: InForce
    sockets: Sockets


def run(place: Place, channel: socket.socket, hand: socket.socket, crash: IO[bytes]) -> int:
    """
    Serve until told otherwise; returns the exit code. By *hand* come sockets that the supervisor opens later. In
    *crash* is the stack of a process that a fault killed.
    """
    faulthandler.enable(crash)
    # Ctrl-C and a hangup reach the whole group; it is the supervisor that answers them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(_serve(place, channel, hand))


async def _serve(place: Place, end: socket.socket, hand: socket.socket) -> int:
    """All of it."""
    channel = await Channel.over(end)
    # What is decided in the supervisor is counted there.
    in_force = InForce(place.in_force.loaded, place.in_force.since)
    in_force.follow(place.in_force)
    settings = in_force.loaded.settings
    try:
        logs = Logs(settings.logging, shared=True)
    except OSError as error:
        return await _failed(channel, no_logs(error))
    logs.take_over()

    def listener_for(worker: _Worker) -> Listener:
        own = share(settings, place.slot, settings.server.workers)
        return Listener(own, logs, place.sockets, worker, in_force, worker.reload)

    try:
        worker = _Worker(place.slot, channel, hand, in_force, listener_for)
        listening = await worker.start(logs.reopen)
    except OSError as error:
        return await _failed(channel, no_address(settings, error))
    except (ValueError, Unservable) as problem:
        return await _failed(channel, f"{problem}.")
    await worker.serve(listening)
    await channel.close()
    await asyncio.to_thread(logs.stop)
    return 0


async def _failed(channel: Channel, why: str) -> int:
    channel.say("failed", why=why)
    await channel.close()
    return 2


class _Worker:
    """A gateway, and what it says to its supervisor; the peers, for the pages that need them."""

    def __init__(
        self,
        slot: int,
        channel: Channel,
        hand: socket.socket,
        in_force: InForce,
        listener_for: "Callable[[_Worker], Listener]",
    ) -> None:
        """*listener_for* makes what the worker serves with, whose pages ask the peers through the worker."""
        self._slot = slot
        self.asker = str(slot)
        self._channel = channel
        self._hand = hand
        self._in_force = in_force
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[list[Any]]] = {}
        self._numbers = count()
        self._obeying = asyncio.Lock()
        """Held while one order is carried out: one that took too long must not undo a later one."""
        self._made: Prepared | None = None
        """A configuration that waits to be put in force."""
        self._counted = -1
        """Exchanges in what the supervisor was told last of what was counted."""
        self.listener = listener_for(self)
        self._gateway = self.listener.gateway

    async def start(self, reopen: Callable[[], object]) -> asyncio.Task[None]:
        """
        Begin to serve, knowing which providers an operator has drained; returns the task that hears orders. *reopen*:
        has the log written to new files.
        """
        listening = tasks.start(self._listen(reopen), "orders")
        for drained in await self.ask(DRAINED):
            for name in drained:
                self._gateway.pool.drain(name, True)
        await self.listener.start()
        return listening

    async def serve(self, listening: asyncio.Task[None]) -> None:
        """Do as the supervisor says, until the end. *listening*: the task that hears orders."""
        calm_the_collector()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._channel.say, "leaving")
        self._channel.say("ready", banner=banner(self._in_force.loaded, self._gateway, self.listener.url))
        reporting = tasks.start(self._report(), "signs of life")
        watching = tasks.start(watch(lambda: self._in_force.files, self._changed), "watch of the configuration")
        order = await self._orders.get()
        watching.cancel()
        await self.listener.end(order.get("delay", 0.0), self._insisted(), order.get("replaced", False))
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
        return await self._answered(number, answers, ANSWERS_WITHIN)

    async def _answered(self, number: int, answers: "asyncio.Future[list[Any]]", seconds: float) -> list[Any]:
        try:
            async with asyncio.timeout(seconds):
                return await answers
        except TimeoutError:
            return []
        finally:
            del self._asked[number]

    async def _changed(self) -> None:
        """A file may have changed: whether one has, the supervisor looks, since all must come to the same."""
        self._channel.say("changed")

    async def reload(self, by: By, who: Mapping[str, str]) -> Reload:
        """Have the supervisor reload all workers; *who* asks for it."""
        number = next(self._numbers)
        answers: asyncio.Future[list[Any]]
        self._asked[number] = answers = asyncio.get_running_loop().create_future()
        self._channel.say("reload", number=number, by=by, who=who)
        for told in await self._answered(number, answers, RELOADED_WITHIN):
            return Reload(**told)
        return Reload(clock.iso(clock.wall()), by, "refused", ("the supervisor has not answered in time",))

    async def _obey(self, message: dict[str, Any]) -> None:
        """Do what the supervisor has all workers do for a reload, and say what came of it."""
        found: list[list[str]] = []
        what, of = message["what"], message["of"]
        try:
            async with self._obeying:
                made, self._made = self._made, None
                if what == COMMIT and made is not None:
                    await self.listener.put_in_force(made)
                elif made is not None:
                    self.listener.discard(made)
                if what == PREPARE:
                    settings = unpacked(of["settings"])
                    own = share(settings, self._slot, settings.server.workers)
                    self._made = await self.listener.prepare(own, self._handed(of["handed"]))
        except SettingsError as error:
            found = [[problem.path, problem.message] for problem in error.problems]
        except Exception as error:
            _log.error("a worker cannot reload: %s", type(error).__name__, exc_info=error)
            found = [["", f"an internal error, see the log: {type(error).__name__}"]]
            if what == COMMIT:
                # Half of one configuration and half of another: a new worker is the way out.
                self._orders.put_nowait({"kind": "drain"})
        self._channel.say("answer", number=message["number"], found=found)

    def _handed(self, mark: int | None) -> socket.socket | None:
        """The socket that came for a message with *mark*, where one did; those before it were for no message."""
        if mark is None:
            return None
        while True:
            marked, descriptors, _, _ = socket.recv_fds(self._hand, 1, 1)
            handed = socket.socket(fileno=descriptors[0])
            if marked[0] == mark:
                return handed
            handed.close()

    async def _insisted(self) -> None:
        """Until it is told to stop at once."""
        while (await self._orders.get())["kind"] != "stop":
            pass

    async def _listen(self, reopen: Callable[[], object]) -> None:
        async for message in self._channel.messages():
            kind = message["kind"]
            if kind == "question":
                found = self._gateway.answers.to(message["what"], message["of"])
                self._channel.say("answer", number=message["number"], found=found)
                if message["what"] == METRICS:
                    self._counted = self._total
            elif kind == "order":
                tasks.start(self._obey(message), f"order to {message['what']}")
            elif kind == "in force":
                known = self._in_force.live
                self._in_force.follow(unpacked(message["record"]))
                if self._in_force.live != known:
                    self._gateway.verbosity.change(self._in_force.live)
            elif kind == "reopen":
                reopen()
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
