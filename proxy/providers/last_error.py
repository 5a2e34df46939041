"""
How a provider failed last, for an operator who asks why: a code, a class and a moment, never content.

Values only; whose fault a failure was is judged where it happens.
"""

from dataclasses import dataclass
from typing import Any

from proxy.core import clock
from proxy.core.exchange import AttemptRecord

PROBE_FAILED = "probe_failed"
"""The code of a probe that failed; those of calls are those of docs/errors.md."""


@dataclass(frozen=True, slots=True)
class LastError:
    """One failure."""

    at: float
    """Monotonic seconds."""
    code: str
    reach: str = ""
    """How far the attempt got, its class; empty for a probe."""
    reason: str = ""
    """Which fault it was; never content."""
    status: int = 0
    """The provider's status; 0 where none came, or for a probe, whose reason says it."""
    model: str = ""
    """The provider's name of the model that was asked; empty where none was."""

    @classmethod
    def of(cls, attempt: AttemptRecord) -> "LastError":
        """That of an *attempt* that has ended and failed."""
        return cls(attempt.ended, attempt.failure, attempt.reach, attempt.reason, attempt.status, attempt.model)

    def as_json(self) -> dict[str, Any]:
        """For the pages of health and of operators."""
        return {
            "at": clock.iso_of(clock.epoch() + self.at),
            "code": self.code,
            "class": self.reach,
            "reason": self.reason,
            "status": self.status,
            "model": self.model,
        }
