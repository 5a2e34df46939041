"""
The core: one exchange from its targets to its end.

Try the targets in order; a failure that left no trace may go to the next one, within the number of tries and the time
there is. What an attempt does stands in `attempt`; what a failure means, in `verdict`.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from proxy import clock, tasks
from proxy.errors import ProxyError
from proxy.exchange import AttemptRecord, Exchange, Outcome
from proxy.headers import Header
from proxy.peek import with_model
from proxy.providers.pool import Pool
from proxy.providers.provider import Target
from proxy.relay.attempt import Attempt, Clocks
from proxy.relay.client import Client
from proxy.relay.cut import end_cut
from proxy.relay.endpoints import Operation
from proxy.relay.verdict import Cut, Failed, Reach, Refused, Verdict
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.wire import Call

LONGEST_WAIT = 60.0
"""Seconds; a client told to wait longer is told not to try again by itself (reliability.md R13)."""


@dataclass(slots=True)
class Upload:
    """A request body that is passed on as it arrives."""

    start: bytes
    """Its first bytes, read to find the model."""
    span: tuple[int, int] | None
    """Where the model's value stands in *start*."""
    length: int | None
    """Bytes in all; None when the client sends chunks without saying how many."""
    read: Callable[[], Awaitable[bytes]]
    """The next bytes; empty at the end."""
    begun: bool = False
    """More than *start* has been read: it cannot be sent again."""


@dataclass(slots=True)
class Question:
    """What a client asks, as far as the relay needs to know."""

    method: str
    path: str
    """Below `/v1`, with the query that may pass."""
    operation: Operation
    headers: bytes
    """The client's headers a provider may see, as header lines."""
    body: bytes | Upload | None
    model: str | None
    stream: bool
    repeatable: bool
    """Its only effect is the answer, so that a call that died unanswered may go to another target."""


class Relay:
    """Carries exchanges to the providers of a pool."""

    def __init__(
        self, pool: Pool, endpoints: Mapping[str, Endpoint], clocks: Mapping[str, Clocks], retries: int
    ) -> None:
        """*endpoints* and *clocks* by provider name; *retries* is how many more targets one call may try."""
        self._pool = pool
        self._endpoints = endpoints
        self._clocks = clocks
        self._retries = retries

    async def relay(self, exchange: Exchange, question: Question, client: Client) -> None:
        """
        Answer *question* towards *client*; on return the client has a whole answer, a refusal by the provider, or an
        answer that was visibly cut. Raises `ProxyError` when there was none, with the client untouched.
        """
        targets = self._pool.targets(question.model)
        if not targets:
            raise ProxyError("model_not_found" if question.model else "upstream_unavailable", param="model")
        deadline = exchange.started + self._clocks[targets[0].provider].total
        failures: list[Failed] = []
        for target in targets[: 1 + self._retries]:
            verdict = await self._try(exchange, question, target, client, deadline)
            if isinstance(verdict, Failed) and verdict.refusal is not None:
                verdict = verdict.refusal
            if isinstance(verdict, Failed):
                failures.append(verdict)
                if not _may_go_on(verdict, question) or clock.now() >= deadline:
                    break
                continue
            if isinstance(verdict, Cut):
                exchange.outcome = Outcome.CUT
                exchange.error_code = verdict.code
                end_cut(client, verdict, question.operation.dialect, exchange.id)
            elif isinstance(verdict, Refused):
                exchange.outcome = Outcome.REFUSED
                exchange.bytes_out += len(verdict.body)
                client.send(verdict.status, [*answer_headers(exchange), *verdict.headers], verdict.body)
            return
        raise _sum_up(failures, exchange)

    async def _try(
        self, exchange: Exchange, question: Question, target: Target, client: Client, deadline: float
    ) -> Verdict:
        record = AttemptRecord(target.provider, target.model or "", clock.now())
        exchange.attempts.append(record)
        clocks = self._clocks[target.provider]
        left = deadline - record.started
        if left < clocks.total:
            clocks = Clocks(clocks.first_token, clocks.idle, max(0.0, left))
        alone = Alone()
        attempt = Attempt(alone, exchange, record, question.operation, client, clocks, question.stream)
        endpoint = self._endpoints[target.provider]
        body = question.body
        try:
            if isinstance(body, Upload):
                return await self._upload(exchange, question, target, endpoint, body, attempt, alone)
            if body is not None and target.model is not None and target.model != question.model:
                body = with_model(body, target.model)
            attempt.call = endpoint.send(question.method, question.path, question.headers, exchange.id, body, attempt)
            return await alone.verdict
        except BaseException:
            attempt.cancel()
            raise

    async def _upload(
        self,
        exchange: Exchange,
        question: Question,
        target: Target,
        endpoint: Endpoint,
        body: Upload,
        attempt: Attempt,
        alone: "Alone",
    ) -> Verdict:
        start, length = body.start, body.length
        if body.span is not None and target.model is not None and target.model != question.model:
            name = target.model.encode()
            start = start[: body.span[0]] + name + start[body.span[1] :]
            if length is not None:
                length += len(start) - len(body.start)
        call = endpoint.send_streamed(question.method, question.path, question.headers, exchange.id, length, attempt)
        attempt.call = call
        pump = tasks.start(_pump(body, start, length is None, call), "upload")
        try:
            await asyncio.wait({pump, alone.verdict}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done() and (error := pump.exception()) is not None and not isinstance(error, ConnectionError):
                raise error
            return await alone.verdict
        finally:
            pump.cancel()


class Alone:
    """The owner of an attempt that runs by itself."""

    def __init__(self) -> None:
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    def claim(self, attempt: Attempt) -> bool:
        return True

    def ended(self, attempt: Attempt, verdict: Verdict) -> None:
        if not self.verdict.done():
            self.verdict.set_result(verdict)


async def _pump(body: Upload, start: bytes, chunked: bool, call: Call) -> None:
    chunk = start
    while True:
        if chunk:
            await call.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        chunk = await body.read()
        if not chunk:
            break
        body.begun = True
    if chunked:
        await call.write(b"0\r\n\r\n")
    call.finish()


def answer_headers(exchange: Exchange) -> list[Header]:
    """Which provider answers, and after how many attempts."""
    return [
        (b"X-Hapax-Provider", exchange.provider.encode("latin-1", "replace")),
        (b"X-Hapax-Attempts", b"%d" % len(exchange.attempts)),
    ]


def _may_go_on(failed: Failed, question: Question) -> bool:
    """Whether another target may have the call after this failure."""
    if isinstance(question.body, Upload) and question.body.begun:
        return False
    if failed.reach is Reach.UNANSWERED:
        return question.repeatable
    return True


def _sum_up(failures: list[Failed], exchange: Exchange) -> ProxyError:
    """The one error for the client: the first that is not a rate limit, or the rate limit if there is nothing else."""
    chosen = next((failed for failed in failures if failed.reach is not Reach.REFUSED), failures[0])
    headers = [(name.decode(), value.decode("latin-1")) for name, value in answer_headers(exchange)]
    waits = [failed.retry_after for failed in failures if failed.retry_after is not None]
    wait = min(waits) if waits and chosen.code in ("rate_limit_exceeded", "upstream_unavailable") else None
    if wait is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(wait)))))
        headers.append(("retry-after-ms", str(math.ceil(wait * 1000))))
    if wait is None or wait > LONGEST_WAIT:
        # Our own tries are spent: a client that repeats them at once only multiplies the load.
        headers.append(("x-should-retry", "false"))
    return ProxyError(chosen.code, headers=tuple(headers))
