"""
How a provider failed last, for an operator who asks why: a code, a class and a moment, never content.
A name of a model is content as well: a client may have made it up.

Values only; whose fault a failure was is judged where it happens.
"""

from dataclasses import dataclass
from typing import Any

from proxy.core.exchange import AttemptRecord

PROBE_FAILED = "probe_failed"
"""The code of a probe that failed; those of calls are those of docs/errors.md."""


@dataclass(frozen=True, slots=True)
class LastError:
    """One failure."""

    at: str
    """The moment, as `clock.iso` writes it."""
    code: str
    reach: str = ""
    """How far the attempt got, its class; empty for a probe."""
    reason: str = ""
    """Which fault it was; never content."""
    status: int = 0
    """The provider's status; 0 where none came, or for a probe, whose reason says it."""

    @classmethod
    def of(cls, attempt: AttemptRecord, at: str) -> "LastError":
        """That of an *attempt* that has just ended and failed."""
        return cls(at, attempt.failure, attempt.reach, attempt.reason, attempt.status)

    def as_json(self) -> dict[str, Any]:
        """For the pages of health and of operators."""
        return {
            "at": self.at,
            "code": self.code,
            "class": self.reach,
            "reason": self.reason,
            "status": self.status,
        }
