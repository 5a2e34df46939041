"""
How much this process tells: the level of its log and the share of traces it records, by the configuration or by what an
operator has changed meanwhile.

What is written and where, and how a trace is recorded, stand in `log` and `traces`.
"""

import asyncio
from typing import Any

from proxy.core import clock
from proxy.core.audit import audit
from proxy.core.traceparent import Sampling
from proxy.observe.log import Logs
from proxy.settings import Settings
from proxy.settings.in_force import InForce
from proxy.settings.live import NONE, LiveChange


class Verbosity:
    """It, for as long as the process lives."""

    def __init__(self, settings: Settings, in_force: InForce, logs: Logs | None) -> None:
        """*in_force* knows what an operator has changed. *logs*: None where another program set up the log."""
        self.sampling = Sampling(None)
        """Which of the traces that begin now are recorded."""
        self._settings = settings
        self._in_force = in_force
        self._logs = logs
        self._waiting: list[asyncio.TimerHandle] = []
        self.obey(settings)

    @property
    def has_level(self) -> bool:
        """The level of the log is this gateway's to choose."""
        return self._logs is not None

    @property
    def has_traces(self) -> bool:
        """Traces are recorded at all."""
        return bool(self._settings.tracing.otlp_endpoint)

    @property
    def live(self) -> LiveChange:
        """What an operator has changed and holds now."""
        return self._in_force.live.at(clock.wall().timestamp())

    def obey(self, settings: Settings) -> None:
        """Another configuration is in force; what an operator has changed goes on to hold."""
        self._settings = settings
        live, tracing = self.live, settings.tracing
        if self._logs is not None:
            self._logs.change_level(live.level)
        ratio = tracing.sample_ratio if live.sample_ratio is None else live.sample_ratio
        self.sampling.set(ratio if tracing.otlp_endpoint else None)

    def change(self, live: LiveChange) -> None:
        """An operator has changed it."""
        self._in_force.live = live
        self.obey(self._settings)
        self.start()

    def told(self) -> dict[str, Any]:
        """How it is now: `level`, and `sample_ratio`, which is None where no trace is recorded."""
        live, settings = self.live, self._settings
        ratio = settings.tracing.sample_ratio if live.sample_ratio is None else live.sample_ratio
        return {"level": live.level or settings.logging.level, "sample_ratio": ratio if self.has_traces else None}

    def configured(self) -> dict[str, Any]:
        """How it is without what an operator has changed."""
        ratio = self._settings.tracing.sample_ratio if self.has_traces else None
        return {"level": self._settings.logging.level, "sample_ratio": ratio}

    def start(self) -> None:
        """
        Wait for the end of what an operator has changed, where it has one. Of one that has ended already, before this
        process began or heard of it, nothing is told: it has never held here.
        """
        self.stop()
        until = self._in_force.live.until
        if until is None:
            return
        left = until - clock.wall().timestamp()
        if left > 0:
            self._waiting.append(asyncio.get_running_loop().call_later(left, self._look))
        else:
            self._in_force.live = NONE
            self.obey(self._settings)

    def stop(self) -> None:
        """Wait no more."""
        while self._waiting:
            self._waiting.pop().cancel()

    def _look(self) -> None:
        before = self._in_force.live
        if not self.live.empty:
            # The clock on the wall was set back meanwhile.
            self.start()
            return
        self._waiting.clear()
        self._in_force.live = NONE
        self.obey(self._settings)
        audit(
            "logging_restored",
            "logging is as configured again",
            {"by": "gateway"},
            before.told(),
            None,
            in_force=self.told(),
        )
