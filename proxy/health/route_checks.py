"""
Health of single paths, where `routes` asks for it: looked at now and then, from facts that are at hand.

A path is unhealthy after `threshold` rounds in a row in which one of its checks failed. No model is asked to answer:
that would cost money each time, and most paths take no GET.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from proxy.core import clock, tasks
from proxy.settings.routes import RouteHealthCheck, RouteSettings

SLOW_SHARE = 0.05
"""Part of a path's calls that may take longer than its check's `timeout`: a bound on the 95th percentile."""

Slow = Callable[[str, float], tuple[int, int]]
"""Calls of a route so far, and those of them that took longer than so many seconds."""


class RouteChecks:
    """The checks of all paths that have some."""

    def __init__(
        self,
        routes: Sequence[RouteSettings],
        usable: Callable[[], bool],
        accepts: Callable[[], Awaitable[bool]],
        slow: Slow,
        catch_up: Callable[[], None],
    ) -> None:
        """
        *usable*: some provider could be asked, see `Pool.usable`. *accepts*: this gateway takes a connection.
        *catch_up* has every call counted that has ended.
        """
        self._usable = usable
        self._accepts = accepts
        self._slow = slow
        self._catch_up = catch_up
        self._watched = {
            route.full_path: _Watched(rules)
            for route in routes
            if (rules := route.health_check) is not None and rules.enabled and rules.checks
        }
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        self._tasks = [
            tasks.start(self._run(path, watched), f"health of {path}") for path, watched in self._watched.items()
        ]

    async def stop(self) -> None:
        """Look no more."""
        ending, self._tasks = self._tasks, []
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def results(self) -> Mapping[str, dict[str, Any]]:
        """By path: healthy, the failures in a row, when it was last looked at, and each check by name."""
        return {path: watched.told() for path, watched in self._watched.items()}

    async def _run(self, path: str, watched: "_Watched") -> None:
        while True:
            await asyncio.sleep(watched.rules.interval)
            await self.look(path)

    async def look(self, path: str) -> None:
        """One round of the checks of *path*."""
        watched = self._watched[path]
        self._catch_up()
        found = {}
        for name, kind in watched.rules.checks.items():
            if kind == "http":
                # What GETs of the providers' models and the calls themselves have shown; see `Pool.usable`.
                found[name] = self._usable()
            elif kind == "tcp":
                try:
                    async with asyncio.timeout(watched.rules.timeout):
                        found[name] = await self._accepts()
                except TimeoutError:
                    found[name] = False
            else:
                found[name] = watched.quick_enough(*self._slow(path, watched.rules.timeout))
        watched.take(found)


class _Watched:
    """One path."""

    def __init__(self, rules: RouteHealthCheck) -> None:
        self.rules = rules
        self._found: dict[str, bool] = {}
        self._failures = 0
        self._looked_at: str | None = None
        self._calls = self._slow = 0

    def quick_enough(self, calls: int, slow: int) -> bool:
        """Whether few enough of the calls since the last round were slow; both numbers are of all so far."""
        new, new_slow = calls - self._calls, slow - self._slow
        self._calls, self._slow = calls, slow
        return new_slow <= new * SLOW_SHARE

    def take(self, found: dict[str, bool]) -> None:
        self._found = found
        self._failures = 0 if all(found.values()) else self._failures + 1
        self._looked_at = clock.iso(clock.wall())

    def told(self) -> dict[str, Any]:
        return {
            "healthy": self._failures < self.rules.threshold,
            "consecutive_fails": self._failures,
            "last_check": self._looked_at,
            "checks": self._found,
        }
