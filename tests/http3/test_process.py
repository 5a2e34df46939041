"""HTTP/3 in a process of its own, as an operator runs it: on its event loop, with its log, and ended by a signal."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from tests.conftest import provider
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.quic import connect, issue
from tests.rigs.simulator import Simulator
from tests.spec.loop import until


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_process_serves_it_says_so_in_its_log_and_drains(simulator: Simulator, tmp_path: Path) -> None:
    port = free_port()
    settings = {
        "server": {"http3": {"enabled": True, "port": port, **issue(tmp_path)}, "drain_delay": "500ms"},
        "providers": {"sim": provider(simulator)},
        "logging": {"level": "info", "dir": str(tmp_path / "logs")},
        "store": {"url": ""},
    }
    async with hapax(tmp_path, settings) as process, connect(port) as client:
        # More than one packet, both ways.
        long = client.chat(messages=[{"role": "user", "content": "x" * 100_000}], model="sim-echo")
        assert len((await long.whole()).body) > 100_000
        stream = client.chat(model="sim-1:tokens=10,pace=200ms", stream=True)
        await stream.begun()
        process.signal(signal.SIGTERM)
        await client.until(lambda: len(client.went_away) == 2)
        assert (await stream.whole()).end == "fin"
        assert stream.body.endswith(b"data: [DONE]\n\n")
        await client.until(lambda: client.terminated)
        code, errors = await process.ended()
        assert (code, errors) == (0, b"")
    lines = [
        json.loads(line) for file in (tmp_path / "logs").glob("*access*") for line in file.read_text().splitlines()
    ]
    assert [(each["protocol"], each["status"], each["outcome"]) for each in lines] == [("h3", 200, "ok")] * 2


def of_two_workers(simulator: Simulator, port: int, folder: Path) -> dict[str, Any]:
    return {
        "server": {
            "workers": 2,
            "drain_delay": "0s",
            "http3": {"enabled": True, "port": port, **issue(folder)},
        },
        "providers": {"sim": provider(simulator)},
        "store": {"url": ""},
    }


def workers(process: Hapax) -> list[int]:
    """The pids of the workers there are."""
    pid = process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_the_first_of_several_workers_serves_it_and_its_replacement_breaks_no_stream(
    simulator: Simulator, tmp_path: Path
) -> None:
    port = free_port()
    async with hapax(tmp_path, of_two_workers(simulator, port, tmp_path)) as process:
        old = set(workers(process))
        async with connect(port) as client:
            stream = client.chat(model="sim-1:tokens=40,pace=100ms", stream=True)
            await stream.begun()
            os.kill(workers(process)[0], signal.SIGTERM)
            await client.until(lambda: client.went_away)
            # The new worker reads what comes now, and the old one goes on with what it has begun.
            async with connect(port) as late:
                assert (await late.chat(stream=True).whole()).end == "fin"
            assert (await stream.whole()).end == "fin"
            assert stream.body.endswith(b"data: [DONE]\n\n")
            await client.until(lambda: client.terminated)
        await until(lambda: len(workers(process)) == 2 and len(old & set(workers(process))) == 1)
        async with connect(port) as client:
            assert (await client.ask("GET", "/live")).status == 200


async def test_when_its_worker_dies_another_one_serves_it(simulator: Simulator, tmp_path: Path) -> None:
    port = free_port()
    async with hapax(tmp_path, of_two_workers(simulator, port, tmp_path)) as process:
        old = workers(process)
        os.kill(old[0], signal.SIGKILL)
        await until(lambda: len(workers(process)) == 2 and old[0] not in workers(process))
        async with asyncio.timeout(20), connect(port) as client:
            assert (await client.ask("GET", "/live")).status == 200
