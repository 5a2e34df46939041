"""
The process that serves: event loop, signals, reloads, and an orderly end.

What listens stands in `listener`. One process here; several workers are `supervisor`'s business, and each is a
`worker`.
"""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable

from proxy.core import clock, tasks
from proxy.core.loop import Loop
from proxy.observe.log import Logs
from proxy.process import hangups, lifecycle
from proxy.process.banner import banner, no_address, no_logs
from proxy.process.listener import Listener
from proxy.process.reloader import Reloader
from proxy.process.sockets import Unservable
from proxy.process.watch import watch
from proxy.settings import Loaded
from proxy.settings.in_force import InForce


def run(loaded: Loaded, read: Callable[[], Loaded]) -> int:
    """Serve in this process until a signal says otherwise; returns the exit code. *read* loads the settings again."""
    raise_file_limit()
    try:
        logs = Logs(loaded.settings.logging)
    except OSError as error:
        print(f"hapax: {no_logs(error)}", file=sys.stderr)
        return 2
    logs.take_over()
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(_serve(loaded, read, logs))
    except KeyboardInterrupt:
        return 130
    finally:
        logs.stop()


async def _serve(loaded: Loaded, read: Callable[[], Loaded], logs: Logs) -> int:
    settings = loaded.settings
    loop = asyncio.get_running_loop()
    # From here on no signal ends the process: what comes while it starts is obeyed as soon as it has.
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    hangups.let_through()
    in_force = InForce(loaded, clock.wall())

    async def apply(loaded: Loaded) -> None:
        await listener.put_in_force(await listener.prepare(loaded.settings))

    reloader = Reloader(in_force, read, apply)
    try:
        listener = Listener(settings, logs, in_force=in_force, reloading=reloader.reload)
    except ValueError as problem:
        print(f"hapax: {problem}", file=sys.stderr)
        return 2
    try:
        await listener.start()
    except OSError as error:
        print(f"hapax: {no_address(settings, error)}", file=sys.stderr)
        await listener.stop()
        return 1
    except Unservable as obstacle:
        print(f"hapax: {obstacle}.", file=sys.stderr)
        await listener.stop()
        return 2
    calm_the_collector()
    print(banner(loaded, listener.gateway, listener.url), flush=True)
    lifecycle.serves(in_force, listener.port)
    watching = tasks.start(watch(lambda: in_force.files, reloader.changed), "watch of the configuration")
    while (first := await signals.get()) is signal.SIGHUP:
        logs.reopen()
        await reloader.reload("signal")
    watching.cancel()
    lifecycle.stops(first)
    delay = listener.gateway.settings.server.drain_delay
    await listener.end(delay if first is signal.SIGTERM else 0.0, _second(signals))
    lifecycle.stopped()
    return 0


async def _second(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Until a second signal to end; there is nothing to reload any more."""
    while await signals.get() is signal.SIGHUP:
        pass


def calm_the_collector() -> None:
    """
    Take what start-up made out of the garbage collector's sight and let it look less often. An exchange leaves no
    cycles behind, so it finds little, and walking the whole heap for that cost a fifth of every request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def raise_file_limit() -> None:
    """As many open files as the system lets us have: the soft limit is meant for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
