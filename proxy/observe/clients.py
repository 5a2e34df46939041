"""
What each client key has used: calls, tokens and money, with its team.

Counted of ended exchanges that had an answer to wait for; what limits refused is counted elsewhere. For graphs:
the ledger knows more, and for longer.
"""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.core.exchange import Exchange
from proxy.observe.families import OTHER
from proxy.observe.tally import counter

MOST_CLIENTS = 1000
"""Keys with a series of their own; further ones are `other` together, since a page of 100 000 keys helps no one."""


class _Row:
    """One key's calls."""

    __slots__ = ("completion", "cost", "outcomes", "prompt")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.prompt = self.completion = self.cost = 0


class Clients(Collector):
    """Three families; an observer."""

    def __init__(self, team_of: Callable[[str], str]) -> None:
        """*team_of* tells a key's team by the key's name, now; empty for none."""
        self._team_of = team_of
        self._rows: dict[str, _Row] = {}

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Count those of a key for which a provider was asked, or that got the answer of another call."""
        for exchange in exchanges:
            name = exchange.principal
            if not name or not (exchange.attempts or exchange.cached or exchange.shared):
                continue
            row = self._rows.get(name)
            if row is None:
                row = self._rows.setdefault(name if len(self._rows) < MOST_CLIENTS else OTHER, _Row())
            outcome = exchange.outcome.value
            row.outcomes[outcome] = row.outcomes.get(outcome, 0) + 1
            tokens = exchange.tokens
            if tokens is not None:
                row.prompt += tokens.prompt
                row.completion += tokens.completion
                row.cost += exchange.cost or 0

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        rows = [((name, "" if name == OTHER else self._team_of(name)), row) for name, row in self._rows.items()]
        yield counter(
            "hapax_key_calls",
            "Calls of a key, by how they ended.",
            ("client", "team", "outcome"),
            (((*key, outcome), number) for key, row in rows for outcome, number in row.outcomes.items()),
        )
        yield counter(
            "hapax_key_tokens",
            "Tokens of their answers.",
            ("client", "team", "kind"),
            (
                ((*key, kind), number)
                for key, row in rows
                for kind, number in (("prompt", row.prompt), ("completion", row.completion))
            ),
        )
        yield counter(
            "hapax_key_cost_usd",
            "What their answers cost, in US dollars.",
            ("client", "team"),
            ((key, row.cost / 1_000_000) for key, row in rows),
        )
