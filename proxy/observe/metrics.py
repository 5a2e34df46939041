"""
What ended exchanges amount to: counts, durations, tokens and money, under the names of three systems and of the GenAI
conventions.

Each exchange is counted once, in the row of its kind; families are made of the rows when they are read. It never sees a
body, and no name a client invented becomes a label.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.core import clock
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.observe.families import METHODS, OTHER, of_genai, of_providers, of_requests
from proxy.observe.rows import AnswersRow, AttemptsRow, RequestsRow
from proxy.observe.tally import Buckets, Histograms, Labels, counter, histogram
from proxy.observe.traces import recorded
from proxy.providers.pool import Pool

# A second series per child that no dashboard reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it without annotations

OVERHEAD = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
NAMES_KEPT = 5.0
"""Seconds for which the label of a model is at hand; providers' lists change."""
MOST_NAMES = 4096

_TIMEOUTS = frozenset(("upstream_timeout", "upstream_connect_timeout"))
_SUCCESS, _REFUSED, _FAILED = Outcome.OK, Outcome.REFUSED, (Outcome.FAILED, Outcome.CUT)


class Metrics(Collector):
    """All families of exchanges, and the registry of this process; an observer."""

    def __init__(self, pool: Pool) -> None:
        """*pool* knows which models there are."""
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        ProcessCollector(namespace="llm_router", registry=registry)
        self._pool = pool
        self._requests: dict[tuple[str, str, int], RequestsRow] = {}
        self._answers: dict[tuple[str, str, str], AnswersRow] = {}
        self._attempts: dict[str, AttemptsRow] = {}
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._errors: dict[str, int] = {}
        self._fallbacks: dict[str, int] = {}
        self._cached: dict[tuple[str, str], int] = {}
        """Those that got a stored answer, by model and `success` or `error`."""
        self._hedges = self._resumes = 0
        self._queued = Histograms("hapax_queue_wait_seconds", "Seconds a call waited for a place.")
        self._overhead = Histograms(
            "hapax_overhead_seconds", "Seconds of a call spent in the gateway itself.", ("phase",), OVERHEAD
        )
        self._before, self._after = self._overhead.of("request"), self._overhead.of("answer")
        self._labels: dict[str, str] = {}
        self._labels_until = 0.0
        self._epoch = clock.epoch()
        self._known: frozenset[str] = frozenset()
        registry.register(self)

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Count them."""
        now, self._epoch = clock.now(), clock.epoch()
        if now > self._labels_until:
            self._labels_until = now + NAMES_KEPT
            self._labels.clear()
            self._known = frozenset(entry["id"] for entry in self._pool.listing())
        for exchange in exchanges:
            method = exchange.method if exchange.method in METHODS else OTHER
            key = (method, exchange.route, exchange.status)
            row = self._requests.get(key)
            if row is None:
                row = self._requests[key] = RequestsRow()
            row.count += 1
            row.seconds.observe(exchange.ended - exchange.started)
            if exchange.trace_flags and recorded(exchange):
                self._exemplify(row.seconds, exchange, exchange.ended)
            if not exchange.call:
                continue
            self._outcomes[exchange.outcome] += 1
            if exchange.error_code:
                self._errors[exchange.error_code] = self._errors.get(exchange.error_code, 0) + 1
            if exchange.position is not None:
                self._queued.of().observe(exchange.queued)
            if exchange.attempts:
                self._count_answer(exchange, exchange.attempts)
            elif exchange.cached:
                model = self._labels.get(exchange.model) or self._label(exchange.model)
                told = (model, "success" if exchange.outcome is _SUCCESS else "error")
                self._cached[told] = self._cached.get(told, 0) + 1

    def _count_answer(self, exchange: Exchange, attempts: list[AttemptRecord]) -> None:
        model = self._labels.get(exchange.model)
        if model is None:
            model = self._label(exchange.model)
        provider = exchange.provider
        key = (exchange.route, model, provider)
        row = self._answers.get(key)
        if row is None:
            row = self._answers[key] = AnswersRow()
        seconds = exchange.ended - exchange.started
        if exchange.outcome is _SUCCESS:
            row.successes += 1
        else:
            row.errors += 1
        row.seconds.observe(seconds)
        row.genai.observe(seconds)
        traced = exchange.trace_flags and recorded(exchange)
        if traced:
            self._exemplify(row.seconds, exchange, exchange.ended)
            self._exemplify(row.genai, exchange, exchange.ended)
        tokens = exchange.tokens
        if tokens is not None:
            row.prompt += tokens.prompt
            row.completion += tokens.completion
            row.input.observe(tokens.prompt)
            row.output.observe(tokens.completion)
            if tokens.completion and seconds > 0:
                row.per_second.observe(tokens.completion / seconds)
            if exchange.cost is None:
                row.unpriced += 1
            else:
                row.cost += exchange.cost
        if exchange.answered_model and exchange.answered_model != exchange.model:
            self._fallbacks[model] = self._fallbacks.get(model, 0) + 1
        if exchange.hedged:
            self._hedges += 1
        self._resumes += exchange.resumed
        first = None
        token_at = 0.0
        for number, attempt in enumerate(attempts):
            tried = self._attempts.get(attempt.provider)
            if tried is None:
                tried = self._attempts[attempt.provider] = AttemptsRow()
            if attempt.failure:
                tried.failed += 1
                if attempt.failure in _TIMEOUTS:
                    tried.timeouts += 1
            elif attempt.first_content_at or attempt.status:
                tried.ok += 1
            else:
                tried.abandoned += 1
            if number and not attempt.began_beside:
                tried.retries += 1
            if attempt.first_token_at and not token_at:
                token_at = attempt.first_token_at
            if attempt.first_content_at:
                tried.latency.observe(attempt.first_content_at - attempt.started)
                if first is None:
                    first = attempt
                    tried.emitted += exchange.emitted
        if token_at:
            row.first_token.observe(token_at - exchange.started)
            if traced:
                self._exemplify(row.first_token, exchange, token_at)
        if first is not None:
            # A session over a WebSocket has the status 101.
            if not first.streamed and exchange.outcome is _SUCCESS and exchange.status == 200:
                row.whole.observe(seconds)
            if exchange.answered_at:
                self._after.observe(exchange.answered_at - max(first.head_at, first.first_content_at))
        sent = attempts[0].sent_at
        if sent:
            self._before.observe(sent - exchange.started - exchange.queued)

    def _exemplify(self, buckets: Buckets, exchange: Exchange, until: float) -> None:
        """What *buckets* have observed of *exchange*, from its start *until* then, leads to its trace."""
        buckets.exemplify(until - exchange.started, exchange.trace_id, self._epoch + exchange.ended)

    def slow(self, route: str, seconds: float) -> tuple[int, int]:
        """Calls of *route* so far, and those that took longer than *seconds*, as finely as the buckets tell."""
        calls = slow = 0
        for (_, template, _), row in self._requests.items():
            if template == route:
                calls += row.count
                slow += row.seconds.above(seconds)
        return calls, slow

    def _label(self, model: str) -> str:
        """The name, or the pattern it is configured under; `other` for one that is not known."""
        if model and model not in self._known:
            label = self._pool.pattern(model) or OTHER
        else:
            label = model
        if len(self._labels) < MOST_NAMES:
            self._labels[model] = label
        return label

    def collect(self) -> Iterator[Metric]:
        """Every family, made of the rows."""
        yield from of_requests(self._requests)
        yield from self._of_answers()
        yield from of_providers(self._attempts)
        yield self._queued.family()
        yield self._queued_alias()
        yield self._overhead.family()
        yield counter("hapax_exchanges", "Calls, by how they ended.", ("outcome",), _keyed(self._outcomes.items()))
        yield counter("hapax_errors", "Errors told to callers, by code.", ("type",), _keyed(self._errors.items()))
        outcomes = self._outcomes
        errors = (
            (("inference_error", "llm_router", "error"), sum(outcomes[each] for each in _FAILED)),
            (("client_error", "llm_router", "warning"), outcomes[_REFUSED]),
        )
        yield counter(
            "llm_router_errors", "Calls that went wrong, by whose fault.", ("type", "component", "severity"), errors
        )
        yield counter("hapax_fallbacks", "Calls another model answered.", ("model",), _keyed(self._fallbacks.items()))
        yield counter("hapax_hedges", "Calls for which a second target was asked.", (), [((), self._hedges)])
        yield counter("hapax_resumes", "Answers continued by another target.", (), [((), self._resumes)])

    def _of_answers(self) -> Iterator[Metric]:
        rows = [
            (route, model, self._pool.entry(model or None).balance, provider, row)
            for (route, model, provider), row in self._answers.items()
        ]
        yield counter(
            "hapax_tokens",
            "Tokens of answers, as charged to callers.",
            ("kind",),
            [(("prompt",), 0), (("completion",), 0)]
            + [((kind,), number) for *_, row in rows for kind, number in _both(row)],
        )
        priced = (((provider, model), row.cost / 1_000_000) for _, model, _, provider, row in rows)
        yield counter("hapax_cost_usd", "What answers cost, in US dollars.", ("provider", "model"), priced)
        unpriced = sum(row.unpriced for *_, row in rows)
        yield counter("hapax_unpriced", "Answers of models without a known price.", (), [((), unpriced)])
        yield histogram(
            "hapax_time_to_first_token_seconds",
            "Seconds from a call's head to the first content of its stream.",
            ("provider", "model"),
            (((provider, model), row.first_token) for _, model, _, provider, row in rows),
        )
        yield histogram(
            "hapax_whole_answer_seconds",
            "Seconds from a call's head to the end of an answer that was no stream.",
            ("provider", "model"),
            (((provider, model), row.whole) for _, model, _, provider, row in rows),
        )
        asked = [
            ((model, strategy, status, "false"), number)
            for _, model, strategy, _, row in rows
            for status, number in (("success", row.successes), ("error", row.errors))
        ]
        cached = [
            ((model, self._pool.entry(model or None).balance, status, "true"), number)
            for (model, status), number in self._cached.items()
        ]
        yield counter(
            "llm_router_inference",
            "Calls for which a provider was asked, or that got a stored answer.",
            ("model", "strategy", "status", "cached"),
            [*asked, *cached],
        )
        yield histogram(
            "llm_router_inference_duration_seconds",
            "Seconds such a call took.",
            ("model", "strategy"),
            (((model, strategy), row.seconds) for _, model, strategy, _, row in rows),
        )
        yield counter(
            "llm_router_tokens_generated",
            "Tokens of their answers.",
            ("model", "strategy"),
            (((model, strategy), row.completion) for _, model, strategy, _, row in rows),
        )
        yield histogram(
            "llm_router_tokens_per_second",
            "Tokens of an answer by the seconds of its call.",
            ("model",),
            (((model,), row.per_second) for _, model, _, _, row in rows),
        )
        yield from of_genai(self._answers)

    def _queued_alias(self) -> Metric:
        return histogram(
            "llm_router_queue_processing_seconds",
            "Seconds a call waited for a place, by its other name.",
            ("queue_type",),
            [(("request",), self._queued.of())],
        )


def _keyed(items: Iterable[tuple[str, int]]) -> Iterator[tuple[Labels, float]]:
    for name, number in items:
        yield (str(name),), number


def _both(row: AnswersRow) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("prompt", row.prompt), ("completion", row.completion)
