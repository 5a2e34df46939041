"""
What a model's targets look like at one moment: which may be asked, which may be waited for, which not, and why.

A record only; `pool` makes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.providers.target import Target


@dataclass(slots=True)
class Choice:
    """A model's targets at one moment."""

    available: Sequence[Target]
    """In the order to try them."""
    resting: Sequence[tuple[Target, float]] = ()
    """
    Those that may be waited for, and until when: a provider named that moment, or it named none and no fallback could
    take the call meanwhile.
    """
    skipped: Sequence[tuple[Target, str]] = ()
    """Those that are not available, and why."""
    despite: bool = False
    """Those that are available are so in spite of what is known of them: none is well."""
