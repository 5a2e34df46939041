"""
`GET /debug`: one page of what an operator asks first when a gateway behaves oddly.

Facts of the process only: no configuration, no variable of the environment but its name, nothing of a caller.
"""

import os
import platform

from aiohttp import web
from prometheus_client import CollectorRegistry

from proxy import __version__
from proxy.health.checkup import resident_bytes
from proxy.health.health import Health
from proxy.http.page import json_page


class Debug:
    """The handler."""

    def __init__(self, health: Health, registry: CollectorRegistry) -> None:
        self._health = health
        self._registry = registry

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Status, the checks, how many families of metrics there are, and the process."""
        condition, results = await self._health.condition()
        return json_page(
            {
                "status": condition,
                "version": __version__,
                "health": results,
                "metrics": sum(1 for _ in self._registry.collect()),
                "environment": {
                    "python_version": platform.python_version(),
                    "platform": platform.platform(),
                    "uptime": self._health.uptime,
                    "memory": resident_bytes(),
                    "pid": os.getpid(),
                    "env": os.environ.get("HAPAX_ENV", "production"),
                },
            }
        )
