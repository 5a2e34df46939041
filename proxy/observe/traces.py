"""
Traces on their way to a collector: sampled exchanges wait here and are posted as spans, many at a time.

A collector that is slow, broken or away costs nothing but the spans that find no room meanwhile. It decides neither
what is sampled nor what a span says.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from proxy.core import clock, tasks
from proxy.core.exchange import Exchange
from proxy.core.traceparent import SAMPLED
from proxy.observe.collector import Collector, Fate
from proxy.settings import Provider
from proxy.settings.extras import lacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

_log = logging.getLogger("hapax")

QUIET = ("/health", "/live", "/metrics", "/ready", "/v1/health")
"""Routes that machines ask all day long: traced only for a caller who traces them."""
BATCH = 512
"""Spans in one post."""
INTERVAL = 5.0
"""Seconds a span waits at most while the collector takes what it is sent."""
CAPACITY = 2048
"""Exchanges that may wait; at some 3 kB each, a collector that is away costs 6 MB."""
SLICE = 16
"""Exchanges made into spans in one turn of the loop: 0.6 ms."""
PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds to the next post after one that failed; doubled each time, up to the second."""
STOP_WITHIN = 2.0
"""Seconds `stop` may take to post what is left."""


def recorded(exchange: Exchange) -> bool:
    """Whether its spans are sent, so that its trace can be looked at."""
    return bool(exchange.trace_flags & SAMPLED) and (
        bool(exchange.parent_span_id) or not exchange.route.startswith(QUIET)
    )


class Traces:
    """Collects ended exchanges and posts their spans; an observer."""

    def __init__(
        self,
        collector: Collector,
        providers: "Callable[[], Mapping[str, Provider]]",
        resource: Mapping[str, str],
        *,
        interval: float = INTERVAL,
        capacity: int = CAPACITY,
        pause: float = PAUSE,
    ) -> None:
        """
        *resource*: what is said of this process, see `observe.resource`. *interval* and *pause* in seconds, *capacity*
        in exchanges. `ValueError` where the protocol's messages are not installed.
        """
        try:
            from proxy.observe import spans
        except ImportError:
            raise ValueError(f"tracing.otlp_endpoint: {lacking('otlp', 'opentelemetry.proto')}") from None
        self._new_request = spans.new_request
        self._rejected = spans.rejected
        self._spans = spans.Spans(providers)
        self._collector = collector
        self._interval = interval
        self._capacity = capacity
        self._pause = pause
        self._resource = resource
        # The mutable state: what waits, what is being posted, and who is to be woken.
        self._waiting: deque[Exchange] = deque()
        self._spans_waiting = 0
        self._flying = 0
        self._due = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks = tasks.Tasks()
        self.dropped_total = 0
        """Spans that were lost: no room, refused, or left over in the end."""

    def __repr__(self) -> str:
        return f"<Traces to {self._collector!r}, {len(self._waiting)} exchanges wait, {self.dropped_total} spans lost>"

    @property
    def available(self) -> bool:
        """The collector took the last post."""
        return self._collector.available

    @property
    def waiting(self) -> int:
        """Spans that have not been taken yet."""
        return self._spans_waiting + self._flying

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Keep those whose trace is recorded; the oldest make room when there is none."""
        waiting = self._waiting
        for exchange in exchanges:
            if recorded(exchange):
                waiting.append(exchange)
                self._spans_waiting += 1 + len(exchange.attempts)
        while len(waiting) > self._capacity:
            self._lose(waiting.popleft())
        if self._spans_waiting >= BATCH:
            self._due.set()

    def start(self) -> None:
        """Begin to post."""
        self._tasks.start(self._run(), "traces")

    async def stop(self) -> None:
        """Post what is left, within `STOP_WITHIN` seconds; what is not taken by then is lost, and said to be."""
        self._stopping.set()
        self._due.set()
        await self._tasks.finish(STOP_WITHIN)
        await self._collector.stop()
        if left := self.waiting:
            self.dropped_total += left
            self._waiting.clear()
            self._spans_waiting = self._flying = 0
            _log.warning("spans lost: the collector did not take them in time", extra={"fields": {"spans": left}})

    async def _run(self) -> None:
        body, pause = b"", self._pause
        while True:
            if not body:
                if not self._stopping.is_set():
                    await self._until_due()
                body = await self._next_batch()
                if not body:
                    if self._stopping.is_set():
                        return
                    continue
            fate, answer = await self._collector.post(body)
            if fate is Fate.TAKEN:
                self._taken(answer)
                body, pause = b"", self._pause
                continue
            if fate is Fate.NEVER:
                self.dropped_total += self._flying
                self._flying = 0
                body = b""
            if self._stopping.is_set():
                # One try is all there is time for; `stop` counts what is left.
                return
            asked = self._collector.retry_after or 0.0
            await tasks.happens(self._stopping, min(LONGEST_PAUSE, max(asked, random.uniform(0.5, 1.0) * pause)))
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _until_due(self) -> None:
        """Until there is a whole batch, or something has waited for as long as it may."""
        if self._spans_waiting < BATCH:
            self._due.clear()
            await tasks.happens(self._due, self._interval)

    async def _next_batch(self) -> bytes:
        """The next post, a slice at a time so that calls go on meanwhile; empty when nothing waits."""
        waiting = self._waiting
        request, scope = self._new_request(self._resource)
        # Read for each batch anew: the wall clock may have been set.
        offset = time.time_ns() - int(clock.now() * 1e9)
        while waiting and self._flying < BATCH:
            for _ in range(min(SLICE, len(waiting))):
                if self._flying and self._flying + 1 + len(waiting[0].attempts) > BATCH:
                    return bytes(request.SerializeToString())
                self._add(scope, waiting.popleft(), offset)
            await asyncio.sleep(0)
        return bytes(request.SerializeToString()) if self._flying else b""

    def _add(self, scope: "ScopeSpans", exchange: Exchange, offset: int) -> None:
        try:
            made = self._spans.of(exchange, offset)
        except Exception as error:
            # One record that no span can be made of must not keep the others back.
            _log.error("no span can be made of a request: %s", type(error).__name__, exc_info=error)
            self._lose(exchange)
            return
        scope.spans.extend(made)
        self._spans_waiting -= len(made)
        self._flying += len(made)

    def _taken(self, answer: bytes) -> None:
        rejected = min(max(0, self._rejected(answer)), self._flying)
        self.dropped_total += rejected
        self._flying = 0

    def _lose(self, exchange: Exchange) -> None:
        spans = 1 + len(exchange.attempts)
        self._spans_waiting -= spans
        self.dropped_total += spans
