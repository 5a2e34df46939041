"""
The process that serves: event loop, listening socket, signals, and an orderly end.

What is served is built in `app`. One process and one socket here; more workers are a supervisor's business.
"""

import asyncio
import gc
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable

from proxy import __version__, tasks
from proxy.app import Gateway
from proxy.observe.log import Logs
from proxy.settings import Loaded, Settings, SettingsError

_log = logging.getLogger("hapax")
_audit = logging.getLogger("hapax.audit")

FLUSH = 0.5
"""Seconds that last bytes get to leave, once everything has been cut."""
LAST_TURNS = 3
"""Turns of the loop before the door closes: whoever has knocked by then is let in, not reset by the kernel."""
BACKLOG = 2048
"""Connections the kernel may hold for us; aiohttp's 128 refuses bursts."""


class Unservable(Exception):
    """The gateway must not serve with these settings and keys; the message says why and what to do."""


class Listener:
    """A gateway with a listening socket."""

    def __init__(self, settings: Settings, logs: Logs | None = None) -> None:
        self.gateway = Gateway(settings, logs)
        self.port = 0
        """The port it listens on, once started."""
        self._settings = settings.server
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where to reach it."""
        host = self._settings.host
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        scheme = "https" if self._settings.tls else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Begin to serve; raises `OSError` when the address cannot be had, `Unservable` when it must not be used."""
        listening = _socket(self._settings.host, self._settings.port)
        try:
            await self.gateway.start()
            obstacle = self.gateway.state.why_not()
            if obstacle is not None:
                raise Unservable(obstacle)
            await self._open_metrics_port()
        except BaseException:
            listening.close()
            raise
        self._protocols = self.gateway.protocols()
        tls = self._settings.tls
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls.cert_file, tls.key_file)
        self._server = await asyncio.get_running_loop().create_server(
            self._protocols, sock=listening, backlog=BACKLOG, ssl=context
        )
        self.port = listening.getsockname()[1]

    async def _open_metrics_port(self) -> None:
        metrics, port = self.gateway.settings.metrics, self.gateway.metrics_port
        if port is None:
            return
        try:
            await port.start(metrics.host, metrics.port)
        except OSError as error:
            where = f"{metrics.host}:{metrics.port}"
            raise Unservable(f"metrics.port: cannot listen on {where}: {error.strerror or error}") from None

    async def drain(self, delay: float, timeout: float) -> None:
        """
        Say that we are not ready, keep accepting for *delay* seconds, then accept no more; exchanges under way may end
        within *timeout* seconds after that and are then cut, with the error event where a stream has begun.
        """
        front = self.gateway.front
        front.draining = True
        await asyncio.sleep(delay)
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        front.closing = True
        self._protocols.close_idle()
        if await self._emptied(timeout):
            return
        if front.active:
            _log.warning("exchanges cut by shutdown", extra={"fields": {"exchanges": front.active}})
        if self.gateway.state.queue is not None:
            self.gateway.state.queue.close()
        self.gateway.relay.cut_all("shutting_down", "shutdown timeout")
        await self._emptied(FLUSH)

    async def _emptied(self, timeout: float) -> bool:
        """Whether within *timeout* seconds every exchange has ended and its last byte has left."""
        try:
            async with asyncio.timeout(timeout):
                await self.gateway.front.idle.wait()
                await self._protocols.close_all()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Close everything at once; call `drain` first to let exchanges end."""
        if self._server is not None:
            self._server.close()
            self._protocols.pre_shutdown()
            await self._protocols.shutdown(0.1)
        await self.gateway.stop()


def run(loaded: Loaded, load_again: Callable[[], Loaded]) -> int:
    """Serve until a signal says otherwise; returns the exit code. *load_again* is called at SIGHUP."""
    _require_c_parser()
    _raise_file_limit()
    try:
        logs = Logs(loaded.settings.logging)
    except OSError as error:
        print(f"hapax: logging.dir: {error.strerror or error}; name a directory that can be written.", file=sys.stderr)
        return 2
    logs.take_over()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(loaded, load_again, logs))
    except KeyboardInterrupt:
        return 130
    finally:
        logs.stop()


async def _serve(loaded: Loaded, load_again: Callable[[], Loaded], logs: Logs) -> int:
    settings = loaded.settings
    try:
        listener = Listener(settings, logs)
    except ValueError as problem:
        print(f"hapax: {problem}", file=sys.stderr)
        return 2
    try:
        await listener.start()
    except OSError as error:
        print(
            f"hapax: cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror or error}. "
            "Choose another with --port, or stop what listens there.",
            file=sys.stderr,
        )
        await listener.gateway.stop()
        return 1
    except Unservable as obstacle:
        print(f"hapax: {obstacle}.", file=sys.stderr)
        await listener.gateway.stop()
        return 2
    _calm_the_collector()
    print(banner(loaded, listener), flush=True)
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    while (first := await signals.get()) is signal.SIGHUP:
        logs.reopen()
        await _reload(listener, load_again)
    _log.info("shutting down gracefully", extra={"fields": {"signal": first.name}})
    delay = settings.server.drain_delay if first is signal.SIGTERM else 0.0
    draining = tasks.start(listener.drain(delay, settings.server.shutdown_timeout), "drain")
    second = tasks.start(_second(signals), "second signal")
    await asyncio.wait({draining, second}, return_when=asyncio.FIRST_COMPLETED)
    for waiting in (draining, second):
        waiting.cancel()
    await listener.stop()
    _log.info("shutdown complete")
    return 0


async def _second(signals: "asyncio.Queue[signal.Signals]") -> None:
    """Until somebody insists; there is nothing to reload any more."""
    while await signals.get() is signal.SIGHUP:
        pass


async def _reload(listener: Listener, load_again: Callable[[], Loaded]) -> None:
    """Put the settings as they are now in force, as far as that goes without a restart; bad ones change nothing."""
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


def _calm_the_collector() -> None:
    """
    Take what start-up made out of the garbage collector's sight and let it look less often. An exchange leaves no
    cycles behind, so it finds little, and walking the whole heap for that cost a fifth of every request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def banner(loaded: Loaded, listener: Listener) -> str:
    """What is printed once the gateway answers: where it is, whom it asks, and a line that streams."""
    settings = loaded.settings
    providers = ", ".join(settings.preferred_order)
    model = next(iter(settings.models), "MODEL")
    if listener.gateway.upstreams.simulates:
        model = "sim-1"
    state = listener.gateway.state
    key = "" if state.principals.open else '-H "X-API-Key: $KEY" '
    lines = [
        f"hapax {__version__} listens on {listener.url}",
        f"  configuration  {loaded.source}",
        f"  providers      {providers}",
    ]
    if settings.store.url.get_secret_value():
        lines.append(f"  store          {settings.store.url}")
    if state.principals.open:
        lines.append("  keys           none: whoever reaches the loopback address may call, with any key")
    elif state.watch is not None and not state.watch.reachable:
        lines.append("  keys           the store cannot be read, see the log: until it can, only keys of the file work")
    elif not len(state.principals):
        lines.append("  keys           none that works; make one with `hapax keys create NAME`")
    lines += [
        "",
        "Try it:",
        "",
        f"  curl -N {listener.url}/v1/chat/completions {key}-H 'Content-Type: application/json' \\",
        f'    -d \'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}\'',
        "",
        f"Or set base_url={listener.url}/v1 in any OpenAI client. Stop with Ctrl-C.",
    ]
    return "\n".join(lines)


def _socket(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop


def _raise_file_limit() -> None:
    """As many open files as the system lets us have: the soft limit is meant for programs that use select()."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _require_c_parser() -> None:
    """Most request smuggling holes were found in the pure Python parser; it is not used here (reliability.md P3)."""
    from aiohttp import http_parser

    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise SystemExit(
            "hapax: aiohttp runs without its C parser. Unset AIOHTTP_NO_EXTENSIONS, or reinstall aiohttp from a wheel."
        )
