"""
The process that serves: event loop, listening socket, signals, and an orderly end.

What is served is built in `app`. One process here; several workers are `supervisor`'s business, and each is a `worker`.
"""

import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import http_parser, web

from proxy.app import GATEWAY, create_app
from proxy.core import clock, tasks
from proxy.core.loop import Loop
from proxy.core.peers import Peers
from proxy.http.connections import ClientConnections, GatewayRunner
from proxy.observe.log import Logs
from proxy.process import hangups
from proxy.process.banner import banner, no_address, no_logs
from proxy.process.certificate import Certificate
from proxy.process.quic import alternative, certificate_of, open_door
from proxy.process.sockets import Sockets, Unservable
from proxy.settings import Loaded, Settings, SettingsError

if TYPE_CHECKING:
    from proxy.http3.door import Door

_log = logging.getLogger("hapax")
_audit = logging.getLogger("hapax.audit")

FLUSH = 0.5
"""Seconds that last bytes get to leave, once everything has been cut."""
LAST_TURNS = 3
"""Turns of the loop before the door closes: a client that has connected by then is let in, not reset by the kernel."""
KNOCKING = 1.0
"""
Seconds in which a client that has connected sends a request, unless it only meant to be connected; a quarter was less
than a busy one takes now and then.
"""
LOOK = 0.01
"""Seconds between two looks at whether such clients have."""
BACKLOG = 2048
"""Connections the kernel may hold for us; asyncio's 100 refuses bursts."""

AT_ONCE = 0.1
"""Seconds what is still under way gets when everything is closed."""

NO_C_PARSER = "aiohttp runs without its C parser. Unset AIOHTTP_NO_EXTENSIONS, or reinstall aiohttp from a wheel"


class Listener:
    """A gateway with a listening socket."""

    def __init__(
        self,
        settings: Settings,
        logs: Logs | None = None,
        sockets: Sockets | None = None,
        peers: Peers | None = None,
    ) -> None:
        """*sockets*: those of a supervisor; without them it opens its own. *peers*: the workers beside this one."""
        app = create_app(settings, logs, peers)
        self.gateway = app[GATEWAY]
        self._runner = GatewayRunner(app, self.gateway.front.refuse, settings.server, self.gateway.served, AT_ONCE)
        self._site: web.SockSite | None = None
        self.certificates: list[Certificate] = []
        """What clients are shown; none where neither TLS nor HTTP/3 is served."""
        self.door: Door | None = None
        """That of HTTP/3, once started; None where it is not served."""
        self._watching: list[asyncio.Task[None]] = []
        self.port = 0
        """The port it listens on, once started."""
        self._settings = settings
        self._sockets = sockets

    @property
    def connections(self) -> ClientConnections:
        """Those of its clients, once started."""
        return self._runner.connections

    @property
    def url(self) -> str:
        """Where to reach it."""
        host = self._settings.server.host
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        scheme = "https" if self._settings.server.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Begin to serve; raises `OSError` when the address cannot be had, `Unservable` when it must not be used."""
        server = self._settings.server
        sockets = self._sockets or Sockets(self._settings)
        metrics_port = self.gateway.metrics_port
        try:
            if not parsed_by_c():
                raise Unservable(NO_C_PARSER)
            await self._runner.setup()
            obstacle = self.gateway.accounting.obstacle()
            if obstacle is not None:
                raise Unservable(obstacle)
            if metrics_port is not None and sockets.metrics is not None:
                await metrics_port.start(sockets.metrics)
            if sockets.http3 is not None:
                self.gateway.front.alternative = alternative(sockets.http3)
                if server.http3.enabled:
                    self.door = open_door(self.gateway, self._runner.connections, sockets.http3, sockets.secret)
                    self.certificates.append(certificate_of(self.door, self.gateway))
        except BaseException:
            sockets.close()
            raise
        context = None
        if server.tls is not None:
            certificate = Certificate(server.tls)
            context = certificate.context
            self.certificates.append(certificate)
        self._watching = [tasks.start(each.watch(), "certificate") for each in self.certificates]
        address = sockets.clients.getsockname()[:2]
        self.gateway.served.addresses.append(address)
        self.port = address[1]
        self._site = web.SockSite(self._runner, sockets.clients, ssl_context=context, backlog=BACKLOG)
        await self._site.start()

    async def drain(self, delay: float, timeout: float) -> None:
        """
        Say that we are not ready, keep accepting for *delay* seconds, then accept no more; exchanges under way may end
        within *timeout* seconds after that and are then cut, with the error event where a stream has begun.
        """
        under_way = self.gateway.under_way
        under_way.draining = True
        self.gateway.front.alternative = b""
        if self.door is not None:
            self.door.announce_end()
        await asyncio.sleep(delay)
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)
        if self._site is not None:
            await self._site.stop()
        under_way.closing = True
        if self.door is not None:
            self.door.shut()
        self.gateway.feed.close()
        self._runner.connections.close_idle()
        began = clock.now()
        await self._heard_out(min(KNOCKING, timeout))
        if await self._emptied(timeout - (clock.now() - began)):
            return
        if under_way.count:
            _log.warning("exchanges cut by shutdown", extra={"fields": {"exchanges": under_way.count}})
        if self.gateway.accounting.queue is not None:
            self.gateway.accounting.queue.close()
        self.gateway.relay.cut_all("shutting_down", "shutdown timeout")
        self.gateway.sessions.end_all()
        await self._emptied(FLUSH)

    async def _heard_out(self, seconds: float) -> None:
        """Give those who connected just before the door closed as long to send their request, if there are any."""
        for _ in range(round(seconds / LOOK)):
            if not self._runner.connections.unasked:
                return
            await asyncio.sleep(LOOK)

    async def _emptied(self, timeout: float) -> bool:
        """Whether within *timeout* seconds every exchange has ended and its last byte has left."""
        try:
            async with asyncio.timeout(timeout):
                await self.gateway.under_way.idle.wait()
                await self._runner.connections.close_all()
                if self.door is not None:
                    await self.door.emptied()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Close everything at once; call `drain` first to let exchanges end."""
        for watching in self._watching:
            watching.cancel()
        if self.door is not None:
            self.door.stop()
        await self._runner.cleanup()

    async def end(self, delay: float, insisted: Coroutine[Any, Any, object], replaced: bool = False) -> None:
        """
        Drain as the settings say, after *delay* seconds, but no longer than until *insisted*; then close. *replaced*:
        another process serves on the same sockets already.
        """
        if replaced and self.door is not None:
            self.door.hand_over()
        draining = tasks.start(self.drain(delay, self._settings.server.shutdown_timeout), "drain")
        second = tasks.start(insisted, "second signal")
        await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (draining, second):
            waiting.cancel()
        await self.stop()


def run(loaded: Loaded, load_again: Callable[[], Loaded]) -> int:
    """Serve in this process until a signal says otherwise; returns the exit code. *load_again* is called at SIGHUP."""
    raise_file_limit()
    try:
        logs = Logs(loaded.settings.logging)
    except OSError as error:
        print(f"hapax: {no_logs(error)}", file=sys.stderr)
        return 2
    logs.take_over()
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(_serve(loaded, load_again, logs))
    except KeyboardInterrupt:
        return 130
    finally:
        logs.stop()


async def _serve(loaded: Loaded, load_again: Callable[[], Loaded], logs: Logs) -> int:
    settings = loaded.settings
    loop = asyncio.get_running_loop()
    # From here on no signal ends the process: what comes while it starts is obeyed as soon as it has.
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    hangups.let_through()
    try:
        listener = Listener(settings, logs)
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
    while (first := await signals.get()) is signal.SIGHUP:
        logs.reopen()
        await _reload(listener, load_again)
    _log.info("shutting down gracefully", extra={"fields": {"signal": first.name}})
    await listener.end(settings.server.drain_delay if first is signal.SIGTERM else 0.0, _second(signals))
    _log.info("shutdown complete")
    return 0


async def _second(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Until a second signal to end; there is nothing to reload any more."""
    while await signals.get() is signal.SIGHUP:
        pass


async def _reload(listener: Listener, load_again: Callable[[], Loaded]) -> None:
    """Put the settings as they are now in force, as far as that goes without a restart; bad ones change nothing."""
    for certificate in listener.certificates:
        certificate.read_again()
    try:
        loaded = await asyncio.to_thread(load_again)
    except SettingsError as error:
        _log.error(
            "reload refused, the old configuration stays",
            extra={"fields": {"problems": [str(problem) for problem in error.problems]}},
        )
        return
    waiting = await listener.gateway.reload(loaded.settings)
    _audit.info("configuration reloaded", extra={"fields": {"source": loaded.source, "needs_restart": waiting}})


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


def parsed_by_c() -> bool:
    """Most request smuggling holes were found in aiohttp's other parser, in Python."""
    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
