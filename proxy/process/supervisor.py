"""
The process above several workers: it opens the sockets, starts workers, replaces those that die, and has all of them
reload together or not at all.

It serves no client itself. Workers are forked: they share the memory of what was imported, and a new one answers in a
fraction of a second. A fork copies one thread, and whatever other threads held locked stays so; this process therefore
has one thread, and forks while its event loop does not run.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping

from proxy.core import clock, tasks
from proxy.observe.log import Logs
from proxy.observe.merged import Snapshot
from proxy.process import hangups, lifecycle
from proxy.process.banner import no_address, no_logs
from proxy.process.fork import SIGNALS, fork
from proxy.process.ipc import packed
from proxy.process.member import Birth, Member, NotStarted
from proxy.process.reloader import Reloader, at_once
from proxy.process.server import calm_the_collector, raise_file_limit
from proxy.process.sockets import Sockets, Unservable
from proxy.process.together import Together
from proxy.process.worker import Place
from proxy.process.workers import Workers
from proxy.settings import Loaded, Settings
from proxy.settings.in_force import By, InForce, Reload

STEADY = 10.0
"""Seconds a worker must have lived for its death to count as the first one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a worker that died young is replaced: doubled with each death in a row."""
GRACE = 10.0
"""Seconds beyond what the settings give a drain, in which workers write down what is left to write."""
OWN_SIGNAL_WITHIN = 0.2
"""Seconds to see whether a signal that a worker got was meant for all."""
STOP_WITHIN = 5.0
"""Seconds workers get to close everything once a second signal came."""

_log = logging.getLogger("hapax")


def pause(deaths: int) -> float:
    """Seconds to wait before a worker is replaced after so many *deaths* in a row."""
    return 0.0 if deaths == 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (deaths - 1))


def run(loaded: Loaded, read: Callable[[], Loaded]) -> int:
    """Serve with `server.workers` processes until a signal says otherwise; returns the exit code."""
    raise_file_limit()
    settings = loaded.settings
    try:
        logs = Logs(settings.logging, shared=True, threads=False)
        sockets = Sockets(settings)
    except Unservable as obstacle:
        print(f"hapax: {obstacle}.", file=sys.stderr)
        return 2
    except OSError as error:
        is_of_logs = error.filename is not None
        print(f"hapax: {no_logs(error) if is_of_logs else no_address(settings, error)}", file=sys.stderr)
        return 2 if is_of_logs else 1
    logs.take_over()
    # What is frozen now is not copied by the first collection in each worker.
    calm_the_collector()
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        supervisor = Supervisor(loaded, read, sockets, logs)
        serving = runner.run(supervisor.start())
        while isinstance(next_step := runner.run(supervisor.next_step(serving)), Birth):
            fork(next_step)
    return next_step


class Supervisor:
    """Starts, reloads and ends the workers."""

    def __init__(self, loaded: Loaded, read: Callable[[], Loaded], sockets: Sockets, logs: Logs) -> None:
        self._in_force = InForce(loaded, clock.wall())
        self._sockets = sockets
        self._logs = logs
        live = self._in_force.change
        self._workers = Workers(self._lost, self._leaves, self._metrics, self._changed, self._reload, live)
        self._together = Together(self._workers, sockets, logs)
        self._reloader = Reloader(self._in_force, read, self._apply, at_once)
        self._started = clock.now()
        self._deaths: dict[int, int] = {}
        self._restarts = 0
        self._ending = False
        # One change of who stands where at a time.
        self._changing = asyncio.Lock()
        self._hung_up = asyncio.Event()

    async def start(self) -> asyncio.Task[int]:
        """Begin to supervise; the task ends with the exit code."""
        return tasks.start(self._serve(), "supervisor")

    async def next_step(self, serving: asyncio.Task[int]) -> Birth | int:
        """What the caller has to do next for what is *serving*: fork, or end with an exit code."""
        while True:
            birth: asyncio.Task[Birth] = tasks.start(self._workers.births.get(), "next birth")
            await asyncio.wait({birth, serving}, return_when=asyncio.FIRST_COMPLETED)
            if not birth.done():
                birth.cancel()
                return serving.result()
            if not self._ending:
                return birth.result()
            birth.result().born.cancel()

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        for number in SIGNALS:
            loop.add_signal_handler(number, signals.put_nowait, number)
        loop.add_signal_handler(signal.SIGCHLD, self._workers.reap)
        hangups.let_through()
        serving = tasks.start(self._start_all(), "start")
        first = tasks.start(self._heed(signals), "first signal")
        await asyncio.wait({serving, first}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and (problem := serving.result()):
            print(f"hapax: {problem}", file=sys.stderr)
            first.cancel()
            await self._end(0.0, signals)
            return 2
        watching = tasks.start(self._workers.watch(lambda: self._settings.server.worker_timeout), "watch")
        if first.done():
            serving.cancel()
        else:
            first.cancel()
            first = tasks.start(self._obey(signals), "signals")
        number = await first
        watching.cancel()
        lifecycle.stops(number)
        await self._end(self._settings.server.drain_delay if number is signal.SIGTERM else 0.0, signals)
        lifecycle.stopped()
        return 0

    @property
    def _settings(self) -> Settings:
        return self._in_force.loaded.settings

    def _place(self, slot: int) -> Place:
        return Place(slot, self._in_force, self._sockets)

    async def _start_all(self) -> str:
        """Start every worker, one first: what is wrong with all of them is said once. Returns what is wrong."""
        places = [self._place(slot) for slot in range(self._settings.server.workers)]
        try:
            async with self._changing:
                first = await self._workers.start(places[0])
                others = await asyncio.gather(*map(self._workers.start, places[1:]), return_exceptions=True)
        except NotStarted as problem:
            return str(problem)
        problems = [each for each in others if isinstance(each, BaseException)]
        if problems:
            return str(problems[0])
        print(first.ready.result(), flush=True)
        lifecycle.serves(self._in_force, self._sockets.clients.getsockname()[1])
        return ""

    async def _heed(self, signals: "asyncio.Queue[signal.Signals]") -> signal.Signals:
        """The first signal that asks for something else than a reload, which is remembered."""
        while (number := await signals.get()) is signal.SIGHUP:
            self._hung_up.set()
        return number

    async def _obey(self, signals: "asyncio.Queue[signal.Signals]") -> signal.Signals:
        """Reload as often as asked; returns the first signal that asks for something else."""
        reloading = tasks.start(self._reload_when_asked(), "reload")
        number = await self._heed(signals)
        reloading.cancel()
        return number

    async def _reload_when_asked(self) -> None:
        while True:
            await self._hung_up.wait()
            # What comes while it is obeyed may have been sent for settings that were not read any more.
            self._hung_up.clear()
            self._logs.reopen()
            for member in self._workers.members:
                member.channel.say("reopen")
            await self._reload("signal", {"by": "signal"})

    async def _reload(self, by: By, who: Mapping[str, str]) -> Reload:
        """Have every worker put the settings in force as they are now."""
        before = self._settings.server.workers
        done = await self._reloader.reload(by, who)
        await self._follow_up(before)
        return done

    async def _changed(self) -> None:
        """The same where a file has really changed."""
        before = self._settings.server.workers
        if await self._reloader.changed() is not None:
            await self._follow_up(before)

    async def _apply(self, loaded: Loaded) -> None:
        # No worker comes to be between the old settings and the new ones.
        async with self._changing:
            await self._together.apply(self._settings, loaded.settings)

    async def _follow_up(self, before: int) -> None:
        """Tell the workers how it stands, and have as many of them as are wanted; *before*: how many that were."""
        record = packed(self._in_force)
        for member in self._workers.members:
            member.channel.say("in force", record=record)
        async with self._changing:
            wanted = self._settings.server.workers
            for slot in range(before, wanted):
                if self._workers.of(slot) is None and not self._ending:
                    await self._replace(slot)
            for member in self._workers.members:
                if member.place.slot >= wanted and not member.leaving:
                    member.drain(0.0)

    async def _replace(self, slot: int) -> bool:
        """Put a new worker in a place and have the old one drain; False when the new one does not serve."""
        try:
            new = await self._workers.start(self._place(slot))
        except NotStarted as problem:
            _log.error("a worker could not be started", extra={"fields": {"worker": slot, "reason": str(problem)}})
            return False
        for member in self._workers.members:
            if member.place.slot == slot and member is not new and not member.leaving:
                member.drain(0.0, replaced=True)
        return True

    def _leaves(self, member: Member) -> None:
        """A worker got SIGTERM, and not from us: replace it, unless all are to end."""
        if not self._ending and not member.leaving:
            tasks.start(self._relieve(member), f"relief of {member.pid}")

    async def _relieve(self, member: Member) -> None:
        # A signal to the whole group, as systemd sends it, is for us as well: our own is on its way then.
        await asyncio.sleep(OWN_SIGNAL_WITHIN)
        async with self._changing:
            if not self._ending and not member.leaving:
                await self._replace(member.place.slot)

    def _lost(self, member: Member, how: str) -> None:
        """A worker has died."""
        slot, lived = member.place.slot, clock.now() - member.born
        deaths = self._deaths[slot] = 0 if lived >= STEADY else self._deaths.get(slot, 0) + 1
        lifecycle.died(member.pid, how, lived, member.stack(), deaths, None if self._ending else pause(deaths))
        if self._ending:
            return
        self._restarts += 1
        tasks.start(self._again(slot), f"worker {slot} again")

    async def _again(self, slot: int) -> None:
        """Fill the place of a worker that died, however often that takes."""
        while True:
            await asyncio.sleep(pause(self._deaths[slot]))
            async with self._changing:
                wanted = slot < self._settings.server.workers and self._workers.of(slot) is None
                if self._ending or not wanted or await self._replace(slot):
                    return
            self._deaths[slot] += 1

    async def _end(self, delay: float, signals: "asyncio.Queue[signal.Signals]") -> None:
        """Have all workers drain after *delay* seconds, or stop at the next signal."""
        self._ending = self._workers.closed = True
        for member in self._workers.members:
            member.drain(delay)
        empty = tasks.start(self._workers.empty(), "last worker")
        insisted = tasks.start(_not(signal.SIGHUP, signals), "second signal")
        await asyncio.wait({empty, insisted}, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        # No process accepts any more: while we held the socket, clients would wait for an answer instead of a refusal.
        self._sockets.close()
        allowed = self._settings.server.shutdown_timeout + GRACE
        await asyncio.wait({empty, insisted}, timeout=allowed, return_when=asyncio.FIRST_COMPLETED)
        for member in self._workers.members:
            member.stop()
        await asyncio.wait({empty}, timeout=STOP_WITHIN)
        for member in self._workers.members:
            _log.error("a worker did not end and is killed", extra={"fields": {"worker_pid": member.pid}})
            member.kill(signal.SIGKILL)
        insisted.cancel()
        await empty

    def _metrics(self) -> Snapshot:
        reloads = [
            ["hapax_config_reloads_total", {"outcome": outcome}, number]
            for outcome, number in self._in_force.counts.items()
        ]
        return [
            ["hapax_config_reloads", "", "counter", reloads],
            ["hapax_worker_restarts", "", "counter", [["hapax_worker_restarts_total", {}, self._restarts]]],
            ["hapax_uptime_seconds", "", "gauge", [["hapax_uptime_seconds", {}, clock.now() - self._started]]],
        ]


async def _not(unwanted: signal.Signals, signals: "asyncio.Queue[signal.Signals]") -> signal.Signals:
    """The next signal but *unwanted*."""
    while (number := await signals.get()) is unwanted:
        pass
    return number
