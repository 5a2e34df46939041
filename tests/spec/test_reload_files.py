"""`hapax serve` and its files: a change is in force however it is written and asked for, at one process and at two."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rigs.hapax import Hapax, hapax
from tests.rigs.reloading import reloaded
from tests.rigs.simulator import Simulator

from .wire import Response, ask, chat, connect, get, request, target

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
KEYED, OPERATOR = f"X-API-Key: {KEY}\r\n", f"X-API-Key: {ADMIN}\r\n"


def settings(simulator: Simulator, workers: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "server": {"drain_delay": "0s", "workers": workers},
        "providers": {"sim": target(simulator)},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]},
        "store": {"url": ""},
        "logging": {"level": "info"},
        **more,
    }


async def answers(question: Callable[[], Awaitable[Any]], right: Callable[[Any], bool]) -> Any:
    """What *question* gives once that is *right*."""
    async with asyncio.timeout(30):
        while not right(found := await question()):  # noqa: ASYNC110 - no event tells of another process
            await asyncio.sleep(0.01)
    return found


async def config(port: int, head: str = OPERATOR) -> dict[str, Any]:
    """What `/admin/config` tells, on a connection of its own."""
    answer = await ask(port, get("/admin/config", head=head))
    assert answer.status == 200, answer.body
    told: dict[str, Any] = answer.json
    return told


async def in_force(port: int, path: str, value: object) -> dict[str, Any]:
    """What is told once the value at *path* is *value*, at whichever worker answers, ten times in a row."""
    told: dict[str, Any] = {}
    for _ in range(10):
        told = await answers(lambda: config(port), lambda told: told["values"][path]["value"] == value)
    return told


async def reload(port: int) -> Response:
    return await ask(port, request("/admin/reload", head=OPERATOR))


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def renamed_over(file: Path, text: str) -> None:
    beside = file.with_name("beside.yaml")
    beside.write_text(text)
    beside.replace(file)


def link_turned(file: Path, text: str) -> None:
    """As Kubernetes replaces a ConfigMap; the first time the file gives way to a link."""
    folder = file.parent
    version = folder / f"..version_{len(list(folder.glob('..version_*')))}"
    version.mkdir()
    (version / file.name).write_text(text)
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").replace(folder / "..data")
    if not file.is_symlink():
        (folder / "link_tmp").symlink_to(f"..data/{file.name}")
        (folder / "link_tmp").replace(file)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("replaced", [in_place, renamed_over, link_turned])
async def test_a_changed_file_is_in_force_by_itself(
    replaced: Callable[[Path, str], None], workers: int, simulator: Simulator, tmp_path: Path
) -> None:
    before = settings(simulator, workers)
    async with hapax(tmp_path, before) as process:
        for number in (1, 2, 3):
            replaced(tmp_path / "hapax.yaml", yaml.safe_dump({**before, "failover": {"retries": number}}))
            told = await in_force(process.port, "failover.retries", number)
            assert told["last_reload"]["by"] == "watch"
            assert told["last_reload"]["changed"] == ["failover.retries"]
            assert (await ask(process.port, chat(head=KEYED))).status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_half_written_file_changes_nothing_and_its_end_is_waited_for(
    workers: int, simulator: Simulator, tmp_path: Path
) -> None:
    before = settings(simulator, workers)
    async with hapax(tmp_path, before) as process, connect(process.port) as wire:
        wire.send(chat("sim-1:forever,pace=10ms", stream=True, head=KEYED))
        await wire.until(b"data: ")
        text = yaml.safe_dump({**before, "failover": {"retries": 7}})
        with (tmp_path / "hapax.yaml").open("w") as file:
            file.write(text[: text.index("providers:") + 20])
            file.flush()
            told = await answers(lambda: config(process.port), lambda told: told["last_reload"] is not None)
            assert told["last_reload"]["outcome"] == "refused"
            assert told["values"]["failover.retries"]["value"] == 2
            assert told["last_reload"]["problems"]
            assert (await ask(process.port, chat(head=KEYED))).status == 200
            page = (await ask(process.port, get("/metrics", head=OPERATOR))).body
            assert b"\nhapax_config_last_reload_successful 0.0\n" in page
            assert b'\nhapax_config_reloads_total{outcome="refused"} 1.0\n' in page
            file.write(text[text.index("providers:") + 20 :])
        await in_force(process.port, "failover.retries", 7)
        page = (await ask(process.port, get("/metrics", head=OPERATOR))).body
        assert b"\nhapax_config_last_reload_successful 1.0\n" in page
        # What went on meanwhile goes on.
        await wire.until(b"data: ")


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_operator_who_asks_is_told_what_became_of_it(
    workers: int, simulator: Simulator, tmp_path: Path
) -> None:
    before = settings(simulator, workers)
    file = tmp_path / "hapax.yaml"
    async with hapax(tmp_path, before) as process:
        state = {"url": "redis://127.0.0.1:1/0"}
        file.write_text(yaml.safe_dump({**before, "models": {"m": {"targets": ["sim/sim-fast"]}}, "state": state}))
        answer = await reload(process.port)
        assert (answer.status, answer.json["outcome"], answer.json["needs_restart"]) == (200, "applied", ["state.url"])
        # From the answer on every worker serves it.
        for _ in range(10):
            assert (await ask(process.port, chat("m", head=KEYED))).status == 200
        file.write_text(yaml.safe_dump({**before, "failover": {"retries": -1}}))
        refused = await reload(process.port)
        assert (refused.status, refused.code) == (409, "reload_refused")
        [problem] = refused.json["error"]["details"]["problems"]
        assert problem.startswith("failover.retries: must be at least 0, not -1 (line ")
        for _ in range(10):
            assert (await config(process.port))["last_reload"]["problems"] == [problem]
            assert (await ask(process.port, chat("m", head=KEYED))).status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_secret_in_a_file_is_rotated_with_it_and_never_told(
    workers: int, simulator: Simulator, tmp_path: Path
) -> None:
    admin, provider = tmp_path / "admin", tmp_path / "provider"
    first, second = "hapax-admin-77aa01b2c3d4e5f6", "hapax-admin-88bb12c3d4e5f6a7"
    with_first, with_second = (f"X-API-Key: {each}\r\n" for each in (first, second))
    admin.write_text(f"{first}\n")
    provider.write_text("sk-provider-one-1f0c9b\n")
    whole = settings(simulator, workers)
    whole["auth"]["admin_key"] = f"${{file:{admin}}}"
    whole["providers"]["sim"]["api_key"] = f"${{file:{provider}}}"
    async with hapax(tmp_path, whole) as process:
        told = await config(process.port, with_first)
        assert str(admin) in told["files"]
        assert told["values"]["auth.admin_key"]["source"].endswith(f"(file:{admin})")
        before = told["values"]["providers.sim.api_key"]["hash"]
        assert (await ask(process.port, chat(head=KEYED))).status == 200
        renamed_over(provider, "sk-provider-two-77d2ae\n")
        told = await answers(lambda: config(process.port, with_first), lambda told: told["last_reload"] is not None)
        assert told["last_reload"]["changed"] == ["providers.sim.api_key"]
        assert told["values"]["providers.sim.api_key"]["hash"] != before
        assert (await ask(process.port, chat(head=KEYED))).status == 200
        renamed_over(admin, f"{second}\n")
        asked = get("/admin/config", head=with_second)
        await answers(lambda: ask(process.port, asked), lambda answer: answer.status == 200)
        admin.unlink()
        told = await answers(
            lambda: config(process.port, with_second), lambda told: told["last_reload"]["outcome"] == "refused"
        )
        assert "which cannot be read: No such file or directory" in told["last_reload"]["problems"][0]
        process.signal(signal.SIGTERM)
        _, errors = await process.ended()
    said = errors.decode() + json.dumps(told)
    assert [secret for secret in (first, second, "sk-provider-one", "sk-provider-two") if secret in said] == []
    sent = [record.header("authorization") for record in simulator.ledger if record.path.endswith("/chat/completions")]
    assert sent == [b"Bearer sk-provider-one-1f0c9b", b"Bearer sk-provider-two-77d2ae"]


async def metrics_shown(port: int) -> bool:
    try:
        return b"hapax_workers 2.0" in (await ask(port, get("/metrics"))).body
    except ConnectionRefusedError:
        return False


async def test_several_workers_share_a_port_for_metrics_that_was_named_later(
    simulator: Simulator, tmp_path: Path
) -> None:
    before = settings(simulator, 2)
    ports = []
    for _ in range(2):
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        server.close()
        await server.wait_closed()
    async with hapax(tmp_path, before) as process:
        for port in ports:
            (tmp_path / "hapax.yaml").write_text(yaml.safe_dump({**before, "metrics": {"port": port}}))
            assert (await reload(process.port)).status == 200
            for _ in range(10):
                assert await metrics_shown(port)
        # A worker that comes later has it as well.
        await killed_and_replaced(process)
        for _ in range(10):
            assert await metrics_shown(ports[1])
        (tmp_path / "hapax.yaml").write_text(yaml.safe_dump(before))
        assert (await reload(process.port)).status == 200
        assert not await metrics_shown(ports[0])
        assert not await metrics_shown(ports[1])


async def killed_and_replaced(process: Hapax) -> None:
    pid = process.process.pid

    def workers() -> list[str]:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    victim = workers()[0]
    await (await asyncio.create_subprocess_exec("kill", "-9", victim)).wait()
    asked = get("/metrics", head=OPERATOR)
    await answers(
        lambda: ask(process.port, asked),
        lambda page: victim not in workers() and b"hapax_workers 2.0" in page.body,
    )


@pytest.mark.parametrize("workers", [1, 2])
async def test_twenty_reloads_lose_no_stream_and_refuse_no_call(
    workers: int, simulator: Simulator, tmp_path: Path
) -> None:
    """A thousand under two hundred streams: tests/soak/test_reload.py."""
    figures = await reloaded(simulator, tmp_path, 20, 20, workers)
    assert figures.reloads == {"applied": 20}
    assert set(figures.streams) == {"whole"}
    assert set(figures.calls) == {200}
