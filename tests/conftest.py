"""
The rig every test may use: a gateway in this event loop, a scripted provider behind it, and a check that both are gone.

The gateway is the real one: its own listener, its own connection class, `handler_cancellation` on. aiohttp's test
server would hide that setting by turning it on itself.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from proxy.core.exchange import Exchange
from proxy.process.listener import Listener
from proxy.settings import Settings
from tests.rigs.postgres import Postgres, postgres
from tests.rigs.simulator import Simulator

# No example is wrong because a machine was late with it.
hypothesis.settings.register_profile(
    "late", hypothesis.settings.default, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("late")

GatewayFactory = Callable[..., Awaitable["RunningGateway"]]


class Ended(list[Exchange]):
    """An observer that keeps what ended."""

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        self.extend(exchanges)


@dataclass
class RunningGateway:
    """A gateway that answers."""

    listener: Listener

    @property
    def url(self) -> str:
        return self.listener.url

    @property
    def base_url(self) -> str:
        return self.url + "/v1"

    @property
    def port(self) -> int:
        return self.listener.port

    def nothing_held(self) -> None:
        """Every exchange has ended, and everything its attempts took has been given back."""
        assert self.listener.gateway.under_way.count == 0
        for target in self.listener.gateway.pool.all_targets:
            assert target.in_flight == 0, target
            assert target.provider.in_flight == 0, target.provider
        self.books_balance()

    def books_balance(self) -> None:
        """
        What the laws of conservation say: each exchange that ended was counted once, and each attempt that took a place
        at a provider stands in the record of one.
        """
        gateway = self.listener.gateway
        if not gateway.settings.metrics.enabled:
            return
        self.caught_up()
        counted = {family.name: family.samples for family in gateway.metrics.collect()}

        def total(name: str, **labels: str) -> float:
            return sum(sample.value for sample in counted[name] if labels.items() <= sample.labels.items())

        assert total("hapax_http_requests") == gateway.records.handed_over_total
        # The rest are housekeeping: probes and pages.
        assert total("hapax_exchanges") <= gateway.records.handed_over_total
        for provider in gateway.pool.providers:
            # More only where a session had several responses, or a reload put another account under the same name; one
            # attempt asks twice where an option that the gateway had added was refused.
            assert 2 * total("hapax_provider_attempts", provider=provider.name) >= provider.request_count, provider

    async def reload(self, **sections: Any) -> None:
        """Put *sections* in force beside those that are, as its process does; of `server` what is not named stays."""
        listener = self.listener
        whole = listener.gateway.settings.model_dump(exclude_unset=True)
        for name, section in sections.items():
            before = whole.get(name)
            whole[name] = {**before, **section} if isinstance(before, dict) and name == "server" else section
        await listener.put_in_force(await listener.prepare(Settings.model_validate(whole)))

    def caught_up(self) -> None:
        """Every exchange that has ended is known to those that read them: metrics, log, trails, ledger."""
        self.listener.gateway.records.hand_over()

    def observed(self) -> "Ended":
        """Every exchange that ends from now on."""
        kept, records = Ended(), self.listener.gateway.records
        records.hand_over()
        records._observers = [*records._observers, kept]
        return kept

    def metric(self, name: str, /, **labels: str) -> float:
        """The value of one series; 0 while it does not exist."""
        self.caught_up()
        return self.listener.gateway.metrics.registry.get_sample_value(name, labels) or 0.0


LONG = tuple(
    f"tests/{name}.py"
    for name in (
        *("spec/test_drain", "spec/test_workers", "spec/test_faults_of_state", "spec/test_slow_readers"),
        *("spec/test_reload_files", "spec/test_reload_sections", "spec/test_books", "bench/test_bench"),
        *("accounts/test_ledger_killed", "deploy/test_outage", "accounts/test_watch", "spec/test_shared_limits"),
    )
)
"""Files of few tests that take long. They begin first, so that in the end no process of tests waits for another."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """As they were collected, but for the long ones."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_collection_finish() -> None:
    """Leave thousands of tests and what they import out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """Every task a test started has ended by the time it is over."""
    before = asyncio.all_tasks()
    yield
    for _ in range(20):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"tasks left behind: {sorted(task.get_name() for task in left)}")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def backup() -> AsyncIterator[Simulator]:
    """A second provider, which a call may go on to."""
    async with Simulator() as running:
        yield running


@pytest.fixture
async def gateway(simulator: Simulator) -> AsyncIterator[GatewayFactory]:
    """
    A factory: `await gateway({...})` with settings as in the configuration file. Without `providers`, one called `sim`
    leads to the simulator.
    """
    running: list[RunningGateway] = []

    async def start(settings: dict[str, Any] | None = None) -> RunningGateway:
        whole: dict[str, Any] = {**(settings or {})}
        whole["server"] = {"host": "127.0.0.1", **whole.get("server", {}), "port": 0}
        whole.setdefault("providers", {"sim": provider(simulator)})
        # Most tests are not about what is written down; those that are name a store.
        whole.setdefault("store", {"url": ""})
        listener = Listener(Settings.model_validate(whole))
        await listener.start()
        running.append(RunningGateway(listener))
        return running[-1]

    yield start
    for each in running:
        await each.listener.stop()
        each.nothing_held()


def provider(simulator: Simulator, **more: Any) -> dict[str, Any]:
    """Settings of a provider that is *simulator*."""
    return {"type": "compatible", "base_url": simulator.base_url, "models": ["sim-*"], **more}


@pytest.fixture
def quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, and no configuration, no keys and no Ollama of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("HAPAX_", "LOG_", "CONFIG_PATH")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("proxy.cli.check.ollama_answers", lambda: False)
    monkeypatch.setattr("proxy.cli.serve.ollama_answers", lambda: False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for all tests. A test that stops or freezes it sees to it that it answers again."""
    with postgres() as server:
        asyncio.run(server.start())
        yield server


@pytest.fixture
async def postgres_url(postgres_server: Postgres) -> AsyncIterator[str]:
    """A new, empty database."""
    url = await postgres_server.database()
    yield url
    await postgres_server.drop(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A database whose file does not exist yet."""
    return f"sqlite:///{tmp_path / 'hapax.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A new, empty database of either kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
