"""
One upstream call on its way for several identical ones: who reads along, and who it is charged to.

It runs apart from the calls it answers, so that any of them may leave. Which calls are identical is said in
`question_key`.
"""

import asyncio
from collections.abc import Awaitable, Callable

from proxy.cache.tee import Reader, Tee
from proxy.core import tasks
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.relay.client import Client

Ask = Callable[[Exchange, Client], Awaitable[None]]
"""Puts the question to the providers: answers towards the client, or raises, as `Relay.relay` does."""


class Flight:
    """The upstream call, from the first to ask for it until its answer is over or the last reader has left."""

    def __init__(self, first: Exchange, ask: Ask, landed: "Callable[[Flight], object]") -> None:
        """*first*: the call whose question is asked. *landed*: called when no other call can join any more."""
        self._first = first
        # What happens upstream is put down apart from every call, until it is known which of them it is charged to.
        self._record = record = Exchange(first.id, first.method, first.started)
        record.model, record.stream, record.route, record.queued = first.model, first.stream, first.route, first.queued
        record.trace_id, record.span_id = first.trace_id, first.span_id
        record.trace_flags, record.trace_state = first.trace_flags, first.trace_state
        self._tee = Tee(first.id)
        self._readers: dict[Reader, Exchange] = {}
        self._error: Exception | None = None
        self._task = tasks.start(self._fly(ask, landed), f"flight of {first.id}")

    @property
    def joinable(self) -> bool:
        """One more call can have the answer from its beginning."""
        return self._tee.joinable

    async def carry(self, exchange: Exchange, client: Client) -> None:
        """
        Answer *exchange* towards *client*. `ProxyError` when there was no answer, or when the client was too slow for
        the others.
        """
        reader = self._tee.join(client, exchange.id, follows=exchange is not self._first)
        self._readers[reader] = exchange
        try:
            await reader.over
        except BaseException:
            await self._leave(reader)
            raise
        if reader.dropped:
            await self._leave(reader)
            raise ProxyError("overloaded")
        if self._error is not None:
            raise _own(self._error)

    async def _fly(self, ask: Ask, landed: "Callable[[Flight], object]") -> None:
        try:
            await ask(self._record, self._tee)
        except Exception as error:
            self._error = _own(error)
        finally:
            landed(self)
            payer = next(iter(self._readers), None)
            for reader, exchange in self._readers.items():
                self._tell(exchange, pays=reader is payer)
            self._readers = {}
            self._tee.close()

    async def _leave(self, reader: Reader) -> None:
        """Its client is gone; the last one takes the upstream call along, and is charged what that came to."""
        if len(self._readers) > 1:
            self._part(reader)
        elif reader in self._readers:
            # It ends a turn of the loop from now, and no call may join it until then.
            self._tee.over = True
            self._task.cancel()
            await asyncio.wait({self._task})

    def _part(self, reader: Reader) -> None:
        exchange = self._readers.pop(reader, None)
        if exchange is not None:
            self._tee.leave(reader)
            self._tell(exchange, pays=False)

    def _tell(self, exchange: Exchange, pays: bool) -> None:
        """Put down in the *exchange* what is true of it; what was used, in that of the call that *pays*."""
        record = self._record
        if pays:
            exchange.attempts, exchange.skipped = record.attempts, record.skipped
            exchange.hedged, exchange.resumed = record.hedged, record.resumed
        else:
            exchange.shared = record.id
        exchange.outcome, exchange.error_code = record.outcome, record.error_code
        exchange.answered_model, exchange.upstream_request_id = record.answered_model, record.upstream_request_id
        exchange.bytes_out, exchange.emitted = record.bytes_out, record.emitted
        exchange.response_id = record.response_id


def _own(error: Exception) -> Exception:
    """The same error for one call: an exception that is raised in several keeps the frames of all of them."""
    if not isinstance(error, ProxyError):
        return error
    return ProxyError(
        error.code,
        error.message,
        status=error.status,
        param=error.param,
        details=error.details,
        headers=error.headers,
        close=error.close,
    )
