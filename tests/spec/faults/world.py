"""
The world the catalogue is played in: scripted upstreams, and gateways as a user starts them, each its own process.

Every trial has a provider and a public model of its own, so that a breaker, a rest or a parked key of one is none of
another's.
"""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import yaml

from tests.rigs.built import python_path
from tests.rigs.simulator import Fin, Hold, Program, Request, Reset, Send, Simulator, Step, program

from ..wire import PATIENCE, Response, ask, get
from .words import Cut, Trial

KEY = "sk-client-canary-of-tests"
ADMIN = "sk-admin-canary-of-tests"
PROVIDER_KEY = "sk-provider-canary"
PAGES = ("/live", "/ready", "/health", "/metrics", "/admin", "/v1/models", "/v1/usage", "/openapi.json", "/ui")
"""Requests for them are no calls."""
QUICK = {"connect": "300ms", "first_token": "600ms", "idle": "500ms"}
PLENTY = {"connect": "5s", "first_token": "20s", "idle": "20s", "total": "40s"}
SPARES = 40
BACKUP = "second/sim-fast:id=SECOND"
COMMON: dict[str, Any] = {
    "auth": {"keys": [{"name": "tests", "key": KEY}], "admin_key": ADMIN},
    "failover": {"budget": 1, "initial_delay": "1ms", "max_delay": "2ms"},
    # One round at the start and none during the tests: probes would take part in what is counted here.
    "health_check": {"interval": "24h", "timeout": "1s", "failure_threshold": 100},
    "logging": {"level": "info"},
}


class Upstream(Simulator):
    """A simulator that can also be told what to answer to a model, or to a connection, for good."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.book: dict[str, Program] = {}
        """Literal answers by model."""
        self.aliases: dict[str, str] = {}
        """Models that are other models."""
        self.hello: Program | None = None
        """What every connection gets as it is accepted."""

    def greeting(self) -> Program | None:
        return self.hello or super().greeting()

    def answer(self, request: Request, body: bytes, form: Any) -> Program:
        for name, meant in self.aliases.items():
            body = body.replace(b'"%b"' % name.encode(), b'"%b"' % meant.encode())
        found = super().answer(request, body, form)
        if request.path.endswith("/models"):
            # The list is asked for at the start; what is tested begins on a connection of its own.
            request.keep_alive = False
            return found
        return self.book.get(request.model, found)

    def of(self, key: str) -> list[Request]:
        """The calls of one trial."""
        return [record for record in self.ledger if record.header("x-request-id") == key.encode()]


class Gateway:
    """`hapax serve`, as a user starts it."""

    def __init__(self, port: int, process: asyncio.subprocess.Process, errors: Path) -> None:
        self.port = port
        self.process = process
        self.errors = errors

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def admin(self, path: str) -> Any:
        """What an operator is told; None for what is not known."""
        answer = await ask(self.port, get(f"/admin/{path}", head=f"X-API-Key: {ADMIN}\r\n"))
        return answer.json if answer.status == 200 else None

    async def trail(self, key: str) -> dict[str, Any]:
        """What became of a request, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            while (found := await self.admin(f"requests/{key}")) is None:
                pass
        return dict(found)

    async def provider(self, name: str) -> dict[str, Any]:
        """The state of a provider."""
        return dict((await self.admin("providers"))["providers"][name])

    async def metrics(self) -> dict[str, float]:
        """Every series."""
        answer = await ask(self.port, get("/metrics", head=f"X-API-Key: {ADMIN}\r\n"))
        lines = [line.rpartition(" ") for line in answer.body.decode().splitlines() if line[:1] not in ("#", "")]
        return {name: float(value) for name, _, value in lines}

    async def at_rest(self, key: str) -> None:
        """Wait until nothing is under way for that provider."""
        async with asyncio.timeout(PATIENCE):
            while (await self.provider(key))["in_flight"]:
                pass

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class World:
    """Everything the catalogue needs; use `world()`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.upstreams: dict[str, Upstream] = {}
        self.addresses: dict[str, str] = {}
        """Base URLs of upstreams, by name; also of those that are no server."""
        self.gateways: dict[str, Gateway] = {}
        self.node: dict[str, Any] = {}
        """What the SDK for JavaScript saw, by trial; filled by one run."""
        self.references: dict[tuple[str, bytes], bytes] = {}
        """What an upstream answers without a gateway, by its name and the question."""
        self.played: dict[Trial, bool] = {}
        """Trials that have been played, and whether a second target was asked beside the first."""
        self._spares = {kind: iter(self.spares_of(kind)) for kind in ("calm", "quick")}
        self.stack = contextlib.AsyncExitStack()
        self._clients: dict[str, openai.AsyncOpenAI] = {}

    @property
    def upstream(self) -> Upstream:
        return self.upstreams["upstream"]

    @property
    def second(self) -> Upstream:
        return self.upstreams["second"]

    @property
    def main(self) -> Gateway:
        return self.gateways["main"]

    def python(self, gateway: str) -> openai.AsyncOpenAI:
        """The SDK for Python, before that gateway; it never tries again by itself."""
        if gateway not in self._clients:
            client = openai.AsyncOpenAI(base_url=self.gateways[gateway].base_url, api_key=KEY, max_retries=0)
            self.stack.push_async_callback(client.close)
            self._clients[gateway] = client
        return self._clients[gateway]

    @staticmethod
    def spares_of(kind: str) -> list[str]:
        return [f"{kind}-{number}" for number in range(SPARES)]

    def spare(self, directives: str, kind: str = "calm") -> str:
        """
        A provider of `main` that no other check has, which does this; its name is its public model, and with `-pair`
        behind it there is a second target. The clocks of a `quick` one are half a second.
        """
        name = next(self._spares[kind])
        self.upstream.aliases[name] = f"sim-fault:id=FIRST,{directives}".removesuffix(",")
        return name

    async def add_upstream(self, name: str, hello: Sequence[Step] = (), **options: Any) -> Upstream:
        upstream = await self.stack.enter_async_context(Upstream(**options))
        upstream.hello = program(list(hello)) if hello else None
        self.upstreams[name] = upstream
        self.addresses[name] = upstream.base_url
        return upstream

    def provider(self, at: str = "upstream", **more: Any) -> dict[str, Any]:
        """Settings of a provider that is one of the upstreams."""
        settings = {"type": "compatible", "base_url": self.addresses[at], "api_key": PROVIDER_KEY, "models": ["sim-*"]}
        return {**settings, "timeouts": PLENTY, **more}

    @contextlib.asynccontextmanager
    async def serving(
        self, name: str, settings: dict[str, Any], prepare: Callable[[], None] | None = None
    ) -> AsyncIterator[Gateway]:
        """A gateway with these settings in a process of its own; *prepare* runs in the child before it starts."""
        whole = {**COMMON, **settings}
        whole["server"] = {"host": "127.0.0.1", "port": 0, "drain_delay": "0s", **settings.get("server", {})}
        configuration = self.directory / f"{name}.yaml"
        configuration.write_text(yaml.safe_dump(whole))
        errors = self.directory / f"{name}.log"
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with errors.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "proxy", "serve", "--config", str(configuration)),
                cwd=self.directory,
                env={**kept, "PYTHONPATH": python_path(), "SSL_CERT_FILE": str(self.directory / "authority.pem")},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                preexec_fn=prepare,
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(6 * PATIENCE):
                banner = await process.stdout.readline()
            assert banner, errors.read_text()
            gateway = Gateway(int(banner.rpartition(b":")[2]), process, errors)
            # Answered once every provider has been asked for its list.
            async with asyncio.timeout(6 * PATIENCE):
                assert (await self.listed(gateway)).status == 200
            yield gateway
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(6 * PATIENCE):
                await process.communicate()
        log_text = errors.read_text()
        assert process.returncode == 0, log_text
        for word in (KEY, ADMIN, PROVIDER_KEY, "Traceback", "unhandled", "internal error", "never retrieved"):
            assert word not in log_text, f"{word} in {log_text}"

    async def listed(self, gateway: Gateway) -> Response:
        return await ask(gateway.port, get("/v1/models", head=f"X-API-Key: {KEY}\r\n"))

    async def keep(self, name: str, settings: dict[str, Any]) -> Gateway:
        """A gateway that stays until the end."""
        gateway = await self.stack.enter_async_context(self.serving(name, settings))
        self.gateways[name] = gateway
        return gateway


@contextlib.asynccontextmanager
async def world(directory: Path, found: Sequence[Trial]) -> AsyncIterator[World]:
    """Upstreams, and the gateways for these trials."""
    made = World(directory)
    async with made.stack:
        await _upstreams(made)
        for trial in found:
            if trial.case.steps:
                made.upstream.book[trial.model] = replace(program(list(trial.case.steps)), numbered=False)
        settings = {name: _settings(made, [t for t in found if t.gateway == name]) for name in ("main", "impatient")}
        settings["impatient"]["failover"] = {**COMMON["failover"], "patience": "200ms"}
        settings["doorman"] = {
            "providers": {"sim": made.provider()},
            "server": {"read_timeout": "1s", "write_timeout": "1s", "max_body_bytes": "256KiB"},
        }
        await asyncio.gather(*(made.keep(name, each) for name, each in settings.items()))
        yield made
        for name in settings:
            await _conserved(made.gateways[name])


def _settings(made: World, found: Sequence[Trial]) -> dict[str, Any]:
    providers: dict[str, Any] = {"second": made.provider("second")}
    models = {}

    def add(key: str, model: str, **more: Any) -> None:
        providers[key] = made.provider(models=["none"], **more)
        models[key] = {"targets": [f"{key}/{model}"]}

    for kind, timeouts in (("calm", PLENTY), ("quick", {**QUICK, "total": "1s"})):
        for name in made.spares_of(kind):
            add(name, name, timeouts=timeouts)
            models[f"{name}-pair"] = {"targets": [f"{name}/{name}", BACKUP]}
    for trial in found:
        timeouts = dict(PLENTY)
        if trial.case.timed and isinstance(trial.expected, Cut):
            # It has begun by then, also where all of Node's calls begin at once.
            timeouts["idle"] = QUICK["idle"]
        elif trial.case.timed:
            timeouts |= {**QUICK, "total": "20s" if trial.paired else "800ms"}
        add(trial.key, trial.model, at=trial.case.at, timeouts=timeouts)
        if trial.paired:
            models[trial.key]["targets"].append(BACKUP)
    return {"providers": providers, "models": models}


async def _conserved(gateway: Gateway) -> None:
    """Whatever was done to it: nothing is under way, and what was counted adds up."""
    series = await gateway.metrics()

    def total(name: str) -> float:
        return sum(value for key, value in series.items() if key.partition("{")[0] == name)

    assert total("hapax_provider_in_flight") == 0
    assert total("hapax_http_active_requests") == 1, "the one that asks"
    name = 'hapax_http_requests_total{endpoint="'
    pages = sum(number for key, number in series.items() if key.removeprefix(name).startswith(PAGES))
    assert total("hapax_exchanges_total") == total("hapax_http_requests_total") - pages


async def _upstreams(made: World) -> None:
    """All the places a provider can be at, most of them bad."""
    await made.add_upstream("upstream")
    await made.add_upstream("second")
    await made.add_upstream("canary")
    await made.add_upstream("storm")
    mute = await asyncio.get_running_loop().create_server(_Mute, "127.0.0.1", 0)
    made.stack.push_async_callback(mute.wait_closed)
    made.stack.callback(mute.close)
    made.addresses["mute"] = f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}/v1"
    await made.add_upstream("hangs up", [Fin()])
    await made.add_upstream("resets", [Reset()])
    await made.add_upstream("speaks first", [Send(b"SSH-2.0-OpenSSH_9.2p1\r\n"), Hold()])
    for name in ("mute", "hangs up", "resets", "speaks first"):
        made.addresses[f"tls {name}"] = made.addresses[name].replace("http://", "https://")
    closed = made.stack.enter_context(socket.socket())
    closed.bind(("127.0.0.1", 0))
    made.addresses["closed"] = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    made.addresses["full"] = f"http://127.0.0.1:{await full_port(made.stack)}/v1"
    for name, context in certificates(made.directory).items():
        await made.add_upstream(f"tls {name}", ssl=context)


class _Mute(asyncio.Protocol):
    """Takes everything and never says a word."""


async def full_port(stack: contextlib.AsyncExitStack, host: str = "127.0.0.1", port: int = 0) -> int:
    """A port whose queue of connections is full: a SYN to it stays unanswered."""
    listening = stack.enter_context(socket.socket())
    listening.bind((host, port))
    listening.listen(0)
    for _ in range(8):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            waiting.connect(listening.getsockname())
    return int(listening.getsockname()[1])


def certificates(directory: Path) -> dict[str, ssl.SSLContext]:
    """Server contexts with certificates of a local authority, which the gateways trust; most have something wrong."""

    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=directory)

    def key(name: str) -> tuple[str, ...]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")

    (directory / "index").write_text("")
    (directory / "ca.cnf").write_text(
        "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\nrand_serial=yes\n"
        "copy_extensions=copy\nunique_subject=no\n[p]\ncommonName=supplied\n"
    )
    run("req", "-x509", *key("authority"), "-out", "authority.pem", "-days", "2", "-subj", "/CN=authority")
    contexts = {}
    for name, subject, dates in (
        ("good", "IP:127.0.0.1", ()),
        ("expired", "IP:127.0.0.1", ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")),
        ("elsewhere", "DNS:provider.example", ()),
    ):
        run("req", *key(name), "-out", f"{name}.csr", "-subj", "/CN=test", "-addext", f"subjectAltName={subject}")
        run(
            *("ca", "-batch", "-config", "ca.cnf", "-cert", "authority.pem", "-keyfile", "authority.key"),
            *("-in", f"{name}.csr", "-out", f"{name}.pem", "-notext", *(dates or ("-days", "1"))),
        )
    run(
        "req",
        "-x509",
        *key("own"),
        "-out",
        "own.pem",
        "-days",
        "1",
        "-subj",
        "/CN=test",
        *("-addext", "subjectAltName=IP:127.0.0.1"),
    )
    for name in ("good", "expired", "elsewhere", "own"):
        contexts[name] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        contexts[name].load_cert_chain(directory / f"{name}.pem", directory / f"{name}.key")
    old = contexts["old"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(directory / "good.pem", directory / "good.key")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1  # deprecated, which is the point
    return contexts
