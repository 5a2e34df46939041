"""
What an operator has changed while the gateway runs, beside its configuration: how much is logged and traced, and until
when.

A value that is passed from process to process; what it means for a process stands in `observe.verbosity`. A reload
leaves it as it is: it ends at its time, by another change, or with the gateway.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.settings.observation import LogLevel


@dataclass(frozen=True, slots=True)
class LiveChange:
    """It; what is None is as the configuration says."""

    level: LogLevel | None = None
    sample_ratio: float | None = None
    """Share of new traces that are recorded."""
    until: float | None = None
    """When it ends, in seconds since 1970; None: with the gateway."""

    @property
    def empty(self) -> bool:
        """It changes nothing."""
        return self.level is None and self.sample_ratio is None

    def at(self, now: float) -> "LiveChange":
        """What of it holds at *now*, in seconds since 1970."""
        return NONE if self.until is not None and now >= self.until else self

    def plain(self) -> dict[str, Any]:
        """As JSON that `LiveChange(**plain)` is made of again."""
        return asdict(self)

    def told(self) -> dict[str, Any] | None:
        """As pages and the audit log tell it; None for one that changes nothing."""
        if self.empty:
            return None
        until: str | None = None
        if self.until is not None:
            moment = datetime.fromtimestamp(self.until, UTC).replace(tzinfo=None)
            until = moment.isoformat(timespec="milliseconds") + "Z"
        return {"level": self.level, "sample_ratio": self.sample_ratio, "until": until}


NONE = LiveChange()
"""No change at all."""
