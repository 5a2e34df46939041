"""
What the pages of health and those of operators both answer of a provider, as the document of the API tells it.

It is made in `providers`; a test holds what comes against what is told here.
"""

from typing_extensions import TypedDict

from proxy.middleware.described import Shape

_Classed = TypedDict("_Classed", {"class": str})


class LastErrorTold(Shape, _Classed):
    """How a provider failed last."""

    at: str
    code: str
    """The error's; `probe_failed` for a probe."""
    reason: str
    """Which fault it was; never content."""
    status: int
    """The provider's; 0 where none had come, and for a probe."""
