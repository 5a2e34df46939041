"""
Reload after reload under open streams and steady calls: every one of them must end as if there were none.

It changes something of nearly every section each time, at a gateway that is a process of its own.
"""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proxy.core import tasks
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.simulator import Simulator
from tests.spec.loop import until
from tests.spec.wire import ask, chat, connect, request, target

ADMIN, KEY = "hapax-admin-9f2b6c1de04a7788", "hapax-client-4b1e9d7730aa65c2"
OPERATOR = f"X-API-Key: {ADMIN}\r\n"
KEYED = f"X-API-Key: {KEY}\r\n"
WHOLE = b"data: [DONE]\n\n\r\n0\r\n\r\n"
CALLERS = 4


def settings(simulator: Simulator, workers: int = 1) -> dict[str, Any]:
    """Those of the first start."""
    return {
        "server": {"drain_delay": "0s", "workers": workers},
        "providers": {"sim": target(simulator)},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]},
        "store": {"url": ""},
    }


def another(simulator: Simulator, folder: Path, number: int, workers: int = 1) -> dict[str, Any]:
    """What the settings become by reload *number*: something of most sections is different each time."""
    odd = number % 2 == 1
    whole = settings(simulator, workers)
    whole["server"] |= {"max_body_bytes": 2**20 + number, "cors": {"allow_origins": [f"https://a{number}.example"]}}
    whole["providers"]["sim"] |= {
        "api_key": f"sk-provider-{number:04}1f0c9b77d2ae",
        "headers": {"X-Reload": str(number)},
    }
    whole["models"] = {f"model-{number % 10}": {"targets": ["sim/sim-fast"]}}
    whole["failover"] = {"retries": number % 3}
    whole["health_check"] = {"interval": f"{10 + number % 5}s"}
    whole["auth"]["keys"].append({"name": f"key-{number}", "key": f"hapax-client-{number:04}7a5c2d1e9b3f"})
    whole["limits"] = {"keyless": {"requests_per_minute": 1_000_000 + number}}
    whole["queue"] = {"enabled": odd, "max_running": 1000 + number}
    whole["routes"] = [{"path": f"/v1/route-{number % 7}", "handler": "relay", "timeout": "30s"}]
    whole["logging"] = {
        "level": "error",
        "format": "json" if odd else "text",
        "dir": str(folder / "logs") if odd else "",
    }
    whole["metrics"] = {"statsd": {"address": "127.0.0.1:9"} if odd else {}}
    whole["tracing"] = {"otlp_endpoint": "http://127.0.0.1:9", "sample_ratio": 0.0 if odd else 0.001}
    whole["processing"] = {"response_formatting": {"max_length": 1000 + number}}
    return whole


@dataclass
class Figures:
    """What came of it."""

    streams: Counter[str] = field(default_factory=Counter)
    """Streams by how they ended: `whole`, or what was wrong."""
    calls: Counter[int] = field(default_factory=Counter)
    """Calls by status."""
    reloads: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    """Seconds that the slowest call took."""
    seconds: float = 0.0
    resident: list[int] = field(default_factory=list)
    """Bytes of memory after each tenth of the reloads."""

    def __str__(self) -> str:
        memory = ", ".join(f"{each / 2**20:.0f}" for each in self.resident)
        return (
            f"{dict(self.reloads)} reloads in {self.seconds:.1f} s; streams {dict(self.streams)}; calls "
            f"{dict(self.calls)}, the slowest {self.slowest * 1000:.0f} ms; MiB after each tenth: {memory}"
        )


class Reloading:
    """A gateway, and what goes on at it."""

    def __init__(self, process: Hapax, simulator: Simulator, folder: Path, workers: int) -> None:
        self.figures = Figures()
        self._process = process
        self._simulator = simulator
        self._folder = folder
        self._workers = workers
        self._open = 0
        self._ending = False

    async def run(self, reloads: int, streams: int) -> Figures:
        """*reloads* one after the other, with so many *streams* open all the time."""
        going = [tasks.start(self._stream(number), "stream") for number in range(streams)]
        await until(lambda: self._open >= streams)
        going += [tasks.start(self._call(), "caller") for _ in range(CALLERS)]
        began = time.monotonic()
        for number in range(reloads):
            await self._reload(number)
            if (number + 1) % max(1, reloads // 10) == 0:
                self.figures.resident.append(_resident(self._process))
        self.figures.seconds = time.monotonic() - began
        self._ending = True
        await asyncio.gather(*going)
        return self.figures

    async def _reload(self, number: int) -> None:
        whole = another(self._simulator, self._folder, number, self._workers)
        beside = self._folder / "beside.yaml"
        beside.write_text(yaml.dump(whole, Dumper=yaml.CSafeDumper))
        beside.replace(self._folder / "hapax.yaml")
        answer = await ask(self._process.port, request("/admin/reload", head=OPERATOR))
        told = answer.json
        self.figures.reloads[told["outcome"] if answer.status == 200 else told["error"]["details"]["problems"][0]] += 1

    async def _stream(self, number: int) -> None:
        while not self._ending:
            async with connect(self._process.port) as wire:
                # Not all of them end in the same moment.
                pace = 200 + number % 50
                wire.send(chat(f"sim-1:tokens=40,pace={pace}ms", stream=True, head=KEYED))
                try:
                    await wire.until(b"data: ")
                    self._open += 1
                    await wire.until(WHOLE)
                except Exception as error:
                    self.figures.streams[type(error).__name__] += 1
                else:
                    self.figures.streams["whole"] += 1

    async def _call(self) -> None:
        while not self._ending:
            began = time.monotonic()
            try:
                status = (await ask(self._process.port, chat(head=KEYED))).status
            except Exception as error:
                self.figures.streams[f"call: {type(error).__name__}"] += 1
            else:
                self.figures.calls[status] += 1
            self.figures.slowest = max(self.figures.slowest, time.monotonic() - began)
            await asyncio.sleep(0.02)


def _resident(process: Hapax) -> int:
    """Bytes of memory that it has now, its workers included."""
    pid = process.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in workers)
    return process.resident + pages * os.sysconf("SC_PAGE_SIZE")


async def reloaded(simulator: Simulator, folder: Path, reloads: int, streams: int, workers: int = 1) -> Figures:
    """The figures of *reloads* under *streams*, at a gateway of so many *workers*."""
    async with hapax(folder, settings(simulator, workers)) as process:
        return await Reloading(process, simulator, folder, workers).run(reloads, streams)
