"""Several `hapax serve` processes with one configuration, as behind a load balancer: killed, replaced, listened to."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from proxy.core import tasks

from .hapax import Hapax, hapax

ACCESS = b'"hapax.access"'
"""What tells the line of a call from all others in the log."""


class Member:
    """One process of a cluster, and what it says."""

    def __init__(self, name: str, running: Hapax, leaving: AsyncExitStack) -> None:
        self.name = name
        self.running = running
        self.log: list[dict[str, Any]] = []
        """Its log so far, but for the lines of calls."""
        self.unreadable: list[bytes] = []
        """Lines that are no JSON: nothing it should ever write."""
        self.killed = False
        self._leaving = leaving
        self._listening = tasks.start(self._listen(), f"log of {name}")

    @property
    def port(self) -> int:
        return self.running.port

    def said(self, part: str) -> list[str]:
        """The messages that contain *part*."""
        return [line["message"] for line in self.log if part in line["message"]]

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.killed = True
        self.running.process.kill()

    async def gone(self) -> None:
        """Wait for its end, and let go of it."""
        await self._listening
        await self.running.process.wait()
        await self._leaving.aclose()

    async def stop(self) -> None:
        """End it at once, in whatever state it is."""
        if self.running.process.returncode is None:
            with suppress(ProcessLookupError):
                self.running.process.kill()
        await self.gone()

    async def _listen(self) -> None:
        # A pipe that is not read would stop the process once it is full.
        errors = self.running.process.stderr
        assert errors is not None
        while line := await errors.readline():
            if ACCESS in line:
                continue
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.unreadable.append(line)


class Cluster:
    """The processes that run."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.members: list[Member] = []
        self._folder = folder
        self._settings = settings
        self._started = 0

    @property
    def ports(self) -> list[int]:
        return [member.port for member in self.members]

    async def add(self) -> Member:
        """One more process that answers."""
        self._started += 1
        name = f"member-{self._started}"
        leaving = AsyncExitStack()
        member = Member(name, await leaving.enter_async_context(hapax(self._folder, self._settings, name)), leaving)
        self.members.append(member)
        return member

    def remove(self, member: Member) -> None:
        """Ask nothing of it any more; its end is the caller's to see to."""
        self.members.remove(member)

    async def stop(self) -> None:
        await stop_all(self.members)
        self.members.clear()


@asynccontextmanager
async def cluster(folder: Path, settings: dict[str, Any], size: int) -> AsyncIterator[Cluster]:
    """*size* processes that answer; killed in the end."""
    running = Cluster(folder, settings)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(size):
                group.create_task(running.add())
        yield running
    finally:
        await running.stop()


async def stop_all(members: Iterable[Member]) -> None:
    """End them, one after the other."""
    for member in list(members):
        await member.stop()
