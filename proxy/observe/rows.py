"""
What is counted of exchanges that are alike: the numbers the families of `metrics` are made of.

Plain numbers that are added to; each row belongs to one set of labels, which its holder knows.
"""

from proxy.observe.tally import Buckets

GENAI_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68)
"""Buckets of `gen_ai.client.operation.duration` as the conventions ask, and two more."""
GENAI_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
"""Buckets of `gen_ai.client.token.usage` as the conventions ask."""
TOKENS_PER_SECOND = (1, 5, 10, 20, 50, 100, 200, 500, 1000)


class RequestsRow:
    """Requests of one method, route and status: calls and housekeeping."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = Buckets()


class AnswersRow:
    """Calls of one route and model for which providers were asked, by who answered."""

    __slots__ = (
        *("cost", "first_token", "genai", "input", "output", "per_second", "whole"),
        *("prompt", "completion", "seconds", "successes", "errors", "unpriced"),
    )

    def __init__(self) -> None:
        self.successes = self.errors = self.prompt = self.completion = self.cost = self.unpriced = 0
        self.seconds, self.first_token, self.whole = Buckets(), Buckets(), Buckets()
        self.genai = Buckets(GENAI_SECONDS)
        self.input, self.output = Buckets(GENAI_TOKENS), Buckets(GENAI_TOKENS)
        self.per_second = Buckets(TOKENS_PER_SECOND)


class AttemptsRow:
    """Attempts at one provider."""

    __slots__ = ("abandoned", "emitted", "failed", "latency", "ok", "retries", "timeouts")

    def __init__(self) -> None:
        self.ok = self.failed = self.abandoned = self.retries = self.timeouts = self.emitted = 0
        self.latency = Buckets()
