"""
What the gateway needs besides a caller's key: checks with a deadline, a cache and a weight.

A check looks at facts that are at hand, or at the machine; none of them asks a provider or a database anything. What to
answer to whom stands in `health`.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from proxy.core import clock, tasks


class Condition(StrEnum):
    """How the whole of it is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Calls are answered, and the operator should look."""
    CRITICAL = "critical"
    """Calls had better go elsewhere."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found."""

    healthy: bool
    message: str = ""
    details: dict[str, Any] = field(default_factory=dict)


Look = Callable[[], Found | Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at."""

    name: str
    look: Look
    critical: bool = False
    """Without it calls had better go elsewhere. What it looks at is at hand: its look waits for nothing."""
    kept: bool = False
    """Its result is good for a while, since looking costs something."""


class Checkup:
    """All checks, and what they found last."""

    def __init__(self, checks: Sequence[Check], interval: float, timeout: float) -> None:
        """A result that is kept is good for *interval* seconds; a look that takes *timeout* seconds has failed."""
        self._checks = checks
        self._interval = interval
        self._timeout = timeout
        self._results: dict[str, dict[str, Any]] = {}
        self._looked_at: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._looking: asyncio.Task[None] | None = None

    async def results(self) -> dict[str, dict[str, Any]]:
        """By name: healthy, message, details, duration (ms), timestamp, failures in a row. Askers share one run."""
        if self._looking is None:
            self._looking = tasks.start(self._look(), "health checks")
        await asyncio.shield(self._looking)
        return self._results

    def condition(self) -> Condition:
        """As found by the last run."""
        failed = [check for check in self._checks if not self._results[check.name]["healthy"]]
        if any(check.critical for check in failed):
            return Condition.CRITICAL
        return Condition.DEGRADED if failed else Condition.HEALTHY

    def fails_critically(self) -> bool:
        """Whether a critical check fails now. Those look at facts at hand, so nothing is waited for, and none kept."""
        for check in self._checks:
            if check.critical:
                try:
                    found = check.look()
                except Exception:
                    return True
                if isinstance(found, Found) and not found.healthy:
                    return True
        return False

    async def _look(self) -> None:
        now = clock.now()
        try:
            due = [
                check
                for check in self._checks
                if not (check.kept and now < self._looked_at.get(check.name, -self._interval) + self._interval)
            ]
            await asyncio.gather(*(self._ask(check) for check in due))
        finally:
            self._looking = None

    async def _ask(self, check: Check) -> None:
        began = clock.now()
        try:
            found = check.look()
            if isinstance(found, Awaitable):
                async with asyncio.timeout(self._timeout):
                    found = await found
        except TimeoutError:
            found = Found(False, "Health check timeout")
        except Exception as error:
            # A check that breaks has found something, and its words may hold a path.
            found = Found(False, f"The check itself failed: {type(error).__name__}")
        self._looked_at[check.name] = clock.now()
        self._failures[check.name] = failures = 0 if found.healthy else self._failures.get(check.name, 0) + 1
        self._results[check.name] = {
            "healthy": found.healthy,
            "message": found.message,
            "details": found.details,
            "critical": check.critical,
            "duration": round((clock.now() - began) * 1000, 3),
            "timestamp": clock.iso(clock.wall()),
            "failures": failures,
        }


def resident_bytes() -> int:
    """Memory of this process, as the system counts it; 0 where it does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def memory(limit: int, share: float) -> Found:
    """Whether this process takes no more than *share* of *limit* bytes."""
    used = resident_bytes()
    details = {"used": used, "limit": limit, "share": round(used / limit, 4)}
    return Found(used <= limit * share, f"{used / limit:.1%} of {limit >> 20} MiB in use", details)


async def disks(folders: Iterable[str], share: float) -> Found:
    """Whether no disk with one of *folders* on it is used by more than *share*."""
    fullest = 0.0
    for folder in folders:
        # A disk that hangs must not take the loop with it.
        usage = await asyncio.to_thread(shutil.disk_usage, folder)
        # As `df` counts: what is kept for root is not counted.
        fullest = max(fullest, usage.used / ((usage.used + usage.free) or 1))
    return Found(fullest <= share, f"{fullest:.1%} in use", {"share": round(fullest, 4)})
