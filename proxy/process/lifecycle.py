"""
What the log is told of the life of the processes: that they serve, are to end and have ended, and which have died.

What the terminal is told stands in `banner`.
"""

import logging
import signal

from proxy import __version__
from proxy.process.listener import url_of
from proxy.settings.in_force import InForce

_log = logging.getLogger("hapax")


def serves(in_force: InForce, port: int) -> None:
    """Clients are answered from now on, at that *port*."""
    settings = in_force.loaded.settings
    url = url_of(settings.server, port)
    told = {
        "event": "started",
        "stage": "start",
        "address": url,
        "configuration": in_force.hash,
        "source": in_force.loaded.source,
        "workers": settings.server.workers,
        "providers": list(settings.preferred_order),
    }
    _log.info("hapax %s serves at %s", __version__, url, extra={"fields": told})


def stops(by: signal.Signals) -> None:
    """The gateway was told to end."""
    told = {"event": "stopping", "stage": "stop", "signal": by.name}
    _log.info("shutting down gracefully", extra={"fields": told})


def stopped() -> None:
    """It has ended."""
    _log.info("shutdown complete", extra={"fields": {"event": "stopped", "stage": "stop"}})


def died(pid: int, how: str, lived: float, stack: str, deaths: int, pause: float | None) -> None:
    """A worker has, after as many seconds, where *stack* says; *pause*: those until another serves, None: none will."""
    told = {
        "event": "worker_died",
        "stage": "serve",
        "worker_pid": pid,
        "how": how,
        "lived_seconds": round(lived, 1),
        "stack": stack,
    }
    if pause is None:
        _log.error("a worker died", extra={"fields": told})
        return
    told |= {"deaths_in_a_row": deaths, "replaced_in_seconds": pause}
    _log.error("a worker died and is replaced", extra={"fields": told})
