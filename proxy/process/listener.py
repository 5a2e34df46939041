"""
A gateway with a listening socket: it begins to serve, is put under another configuration, drains and stops.

What is served is built in `app`; when a process does what is said in `server` and `worker`.
"""

import asyncio
import gc
import logging
import socket
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import http_parser, web

from proxy.admin.configuration import Reloading
from proxy.app import GATEWAY, create_app
from proxy.core import clock, tasks
from proxy.core.peers import Peers
from proxy.health.metrics_port import MetricsPort
from proxy.http.connections import ClientConnections, GatewayRunner
from proxy.observe.log import Logs
from proxy.process.certificate import expiries
from proxy.process.prepared import Prepared, copies, prepared
from proxy.process.quic import alternative, open_door
from proxy.process.sockets import Sockets, Unservable, moves_metrics
from proxy.process.tls import tls_of
from proxy.settings import Server, Settings
from proxy.settings.in_force import InForce

if TYPE_CHECKING:
    from proxy.http3.door import Door

_log = logging.getLogger("hapax")

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
        in_force: InForce | None = None,
        reloading: Reloading | None = None,
    ) -> None:
        """
        *sockets*: those of a supervisor; without them it opens its own. *peers*: the workers beside this one. The rest
        as for `app.build`.
        """
        app = create_app(settings, logs, peers, in_force, reloading)
        self.gateway = app[GATEWAY]
        self._runner = GatewayRunner(app, self.gateway.refuse, settings.server, self.gateway.served, AT_ONCE)
        self._given = sockets
        self._listening: list[socket.socket] = []
        """What clients are accepted on, while it serves."""
        self._metrics: MetricsPort | None = None
        self.door: Door | None = None
        """That of HTTP/3; None where it is not served."""
        self.port = 0
        """The port it listens on, once started."""
        self._door = asyncio.Lock()
        """Held while the socket is about to be listened on otherwise, or not at all."""

    @property
    def connections(self) -> ClientConnections:
        """Those of its clients, once started."""
        return self._runner.connections

    @property
    def url(self) -> str:
        """Where to reach it."""
        return url_of(self.gateway.settings.server, self.port)

    async def start(self) -> None:
        """Begin to serve; raises `OSError` when the address cannot be had, `Unservable` when it must not be used."""
        settings = self.gateway.settings
        sockets = self._given or Sockets(settings)
        try:
            if not parsed_by_c():
                raise Unservable(NO_C_PARSER)
            await self._runner.setup()
            obstacle = self.gateway.accounting.obstacle()
            if obstacle is not None:
                raise Unservable(obstacle)
            if sockets.metrics is not None:
                await self._show_metrics(sockets.metrics)
            if sockets.http3 is not None:
                self._open_door(sockets.http3, sockets.secret)
            context = tls_of(settings.server.tls)
            self.gateway.served.certificates.update(expiries(settings.server))
        except BaseException:
            sockets.close()
            raise
        address = sockets.clients.getsockname()[:2]
        self.gateway.served.addresses.append(address)
        self.port = address[1]
        self._listening.append(sockets.clients)
        await self._listen(context, copies(self._listening))

    async def prepare(self, settings: Settings, metrics: socket.socket | None = None) -> Prepared:
        """
        What *settings* ask for, made beside what is in force; `SettingsError` for what cannot be had. Nothing has
        changed until `put_in_force`. *metrics*: the socket of another `metrics.port`, where a supervisor has opened it.
        """
        return await prepared(self.gateway, settings, self._listening, metrics, self.door is not None)

    def discard(self, made: Prepared) -> None:
        """It is not put in force after all."""
        self.gateway.discard(made.configured)
        made.close()

    async def put_in_force(self, made: Prepared) -> None:
        """Have calls that come from now on meet it; handshakes and metrics follow at once."""
        before, settings = self.gateway.settings, made.configured.settings
        self.gateway.put_in_force(made.configured)
        self.connections.obey(settings.server)
        if self.door is not None and made.http3 is not None:
            self.door.obey(made.http3)
        self.gateway.served.certificates.clear()
        self.gateway.served.certificates.update(made.certificates)
        if made.listening:
            await self._listen(made.tls, made.listening)
        if moves_metrics(before.metrics, settings.metrics):
            former, self._metrics = self._metrics, None
            if made.metrics is not None:
                await self._show_metrics(made.metrics)
            if former is not None:
                await former.stop()
        # Configurations are full of cycles, and the collector is calm (`server.calm_the_collector`): what ended calls
        # had kept of former ones would stay for good.
        gc.collect()

    async def _listen(self, context: ssl.SSLContext | None, sockets: list[socket.socket]) -> None:
        """Accept clients with *context*; connections that are open, or are being made, keep the one they began with."""
        async with self._door:
            former = list(self._runner.sites)
            for each in sockets:
                if self._listening:
                    await web.SockSite(self._runner, each, ssl_context=context, backlog=BACKLOG).start()
                else:
                    # It has begun to drain meanwhile.
                    each.close()
            for site in former:
                await site.stop()

    def _open_door(self, public: socket.socket, secret: bytes) -> None:
        """Serve HTTP/3, where this process is to, and tell clients that it is served."""
        self.gateway.served.alternative = alternative(public)
        if self.gateway.settings.server.http3.enabled:
            self.door = open_door(self.gateway, self._runner.connections, public, secret)

    async def _show_metrics(self, listening: socket.socket) -> None:
        gateway = self.gateway
        self._metrics = MetricsPort(gateway.pages, gateway.health, gateway.checks, gateway.pool)
        await self._metrics.start(listening)

    async def drain(self, delay: float, timeout: float) -> None:
        """
        Say that we are not ready, keep accepting for *delay* seconds, then accept no more; exchanges under way may end
        within *timeout* seconds after that and are then cut, with the error event where a stream has begun.
        """
        under_way = self.gateway.under_way
        under_way.draining = True
        self.gateway.served.alternative = b""
        if self.door is not None:
            self.door.announce_end()
        await asyncio.sleep(delay)
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)
        async with self._door:
            for site in list(self._runner.sites):
                await site.stop()
            self._close()
        under_way.closing = True
        if self.door is not None:
            self.door.shut()
        self.gateway.feed.close()
        self.gateway.cache.replays.hurry()
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
        if self._metrics is not None:
            await self._metrics.stop()
        if self.door is not None:
            self.door.stop()
        await self._runner.cleanup()
        self._close()

    def _close(self) -> None:
        while self._listening:
            self._listening.pop().close()

    async def end(self, delay: float, insisted: Coroutine[Any, Any, object], replaced: bool = False) -> None:
        """
        Drain as the settings say, after *delay* seconds, but no longer than until *insisted*; then close. *replaced*:
        another process serves on the same sockets already.
        """
        if replaced and self.door is not None:
            self.door.hand_over()
        draining = tasks.start(self.drain(delay, self.gateway.settings.server.shutdown_timeout), "drain")
        second = tasks.start(insisted, "second signal")
        await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
        for waiting in (draining, second):
            waiting.cancel()
        await self.stop()


def url_of(server: Server, port: int) -> str:
    """Where a gateway with these settings is reached that listens on *port*."""
    host = server.host
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"{'https' if server.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def parsed_by_c() -> bool:
    """Most request smuggling holes were found in aiohttp's other parser, in Python."""
    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
