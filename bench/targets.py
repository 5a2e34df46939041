"""
What the gateway wants to be beside others, and whether it is.

A target that is not kept is told as that, whatever else the machine was doing; `report` says how far to trust a run.
"""

from dataclasses import dataclass
from statistics import median

from bench.measures import Run

KEPT, NOT_KEPT, NOT_MEASURED = "kept", "not kept", "not measured"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for one figure of the gateway, for its ratio to a peer's, or for what it adds at half load."""

    title: str
    figure: str
    limit: float
    form: str
    peer: str = ""
    """It is about the ratio to this one; about the figure itself when there is none."""
    at_least: bool = False
    """The bound is a lower one: the ratio is how many times more the gateway manages than the peer."""
    added: bool = False
    """The figure is one of half load, less what it is without any subject."""

    def values(self, run: Run) -> list[float]:
        """By round; none when it was not measured."""
        if self.added:
            return run.added("gateway", self.figure)
        if not self.peer:
            return run.values("gateway", self.figure)
        if self.peer not in run.names:
            return []
        pair = (self.peer, "gateway") if self.at_least else ("gateway", self.peer)
        return run.ratios(self.figure, *pair)

    def verdict(self, run: Run) -> str:
        """`KEPT`, `NOT_KEPT` or `NOT_MEASURED`, by the median of the rounds."""
        values = self.values(run)
        if not values:
            return NOT_MEASURED
        found = median(values)
        return KEPT if (found >= self.limit if self.at_least else found <= self.limit) else NOT_KEPT

    @property
    def bound(self) -> str:
        """In words."""
        return f"{'>=' if self.at_least else '<='} {self.form.format(self.limit)}"


TARGETS = (
    Target("CPU per request / Envoy", "cpu_per_request_us", 1.6, "{:.2f}", "envoy"),
    Target("CPU per request / control", "cpu_per_request_us", 0.65, "{:.2f}", "control"),
    Target("p99 at one connection / Envoy", "latency_p99_ms", 1.2, "{:.2f}", "envoy"),
    Target("CPU per SSE event / Envoy", "cpu_per_event_us", 1.0, "{:.2f}", "envoy"),
    Target("memory per open stream / Envoy", "memory_per_stream_kb", 0.6, "{:.2f}", "envoy"),
    Target("requests per second / LiteLLM", "requests_per_second", 100.0, "{:.0f}", "litellm", at_least=True),
    Target("requests per second / Portkey", "requests_per_second", 10.0, "{:.1f}", "portkey", at_least=True),
    Target("TTFT p99 added at half load", "ttft_p99_ms", 1.0, "{:.2f} ms", added=True),
    Target("idle memory", "idle_memory_mb", 90.0, "{:.0f} MB"),
)
"""Each is judged by what the gateway is as deployed: keys, limits, a ledger, metrics and its log are on."""
