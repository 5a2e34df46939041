"""HTTP/3 in a process of its own, as an operator runs it: on its event loop, with its log, and ended by a signal."""

import json
import signal
import socket
from pathlib import Path

from proxy.simulator import Simulator
from tests.conftest import provider
from tests.rigs.hapax import hapax
from tests.rigs.quic import connect, issue


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
