"""
The responses of a WebSocket session: each is a call, to limits, to the ledger and to all that read records.

A client asks for one by `response.create` (Realtime API and Responses API); a provider begins one by itself when it
hears that a speaker has paused. The first one is the call as which the handshake was admitted. One at a time runs in
the places that the session holds. No message is read or sent here.
"""

from collections import deque
from itertools import count
from typing import Any

from proxy.admission.admission import Admission
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from proxy.core.headers import correlation_in
from proxy.core.usage import Tokens, estimate, most_completion
from proxy.http.inbound import Inbound
from proxy.middleware.records import Records
from proxy.relay.endpoints import Operation
from proxy.relay.handshake import Opened


class Responses:
    """Those of one session."""

    def __init__(
        self, session: Inbound, asked: Operation, opened: Opened, admission: Admission, records: Records
    ) -> None:
        self._session = session
        self._asked = asked
        self._opened = opened
        self._admission = admission
        self._records = records
        self._numbers = count(1)
        self._first = True
        """None has begun yet."""
        self._under_way: deque[Exchange] = deque()
        """In the order they were asked for, in which a provider answers them."""

    async def begin(self, data: bytes, event: dict[str, Any]) -> None:
        """The client asks for one by *event*, which is *data*; `ProxyError` where its limits do not allow that."""
        whole, exchange = self._session.exchange, self._new()
        exchange.bytes_in = len(data)
        described = event.get("response")
        if type(described) is not dict:
            described = event
        if not whole.correlated:
            exchange.correlation_id = correlation_in(described) or exchange.correlation_id
        most = most_completion(described)
        if not self._handed_over(exchange):
            inbound = self._session.beside(exchange)
            try:
                await self._admission.admit(inbound, self._asked, estimate(len(data)), most, whole)
            except ProxyError as error:
                exchange.status, exchange.error_code = error.status, error.code
                exchange.outcome = Outcome.FAILED if error.status >= 500 else Outcome.REFUSED
                self._end(exchange)
                raise
            except BaseException:
                # The session has ended while it waited for its place.
                self._end_with_session(exchange)
                raise
        self._add_attempt(exchange)
        self._under_way.append(exchange)

    async def ended(self, used: Tokens | None, failed: bool) -> None:
        """A response has ended, whether the client has asked for it or the provider began it by itself."""
        if self._under_way:
            self._end_one(self._under_way.popleft(), used, failed)
            return
        exchange = self._new()
        handed_over = self._handed_over(exchange)
        self._add_attempt(exchange)
        try:
            if not handed_over:
                await self._admission.note(self._session.beside(exchange))
        finally:
            # It was, although the session may have ended meanwhile.
            self._end_one(exchange, used, failed)

    def close(self) -> None:
        """The session is over, and with it what it had not answered yet."""
        while self._under_way:
            self._end_with_session(self._under_way.popleft())

    def _end_one(self, exchange: Exchange, used: Tokens | None, failed: bool) -> None:
        (attempt,) = exchange.attempts
        attempt.tokens, attempt.first_content_at = used, clock.now()
        if failed:
            exchange.outcome, exchange.error_code = Outcome.FAILED, "upstream_error"
            attempt.failure = exchange.error_code
        self._end(exchange)

    def _handed_over(self, exchange: Exchange) -> bool:
        """Whether the response is the call as which the handshake was admitted: the first one is."""
        first, self._first = self._first, False
        if first:
            self._admission.hand_over(self._session.exchange, exchange)
        return first

    def _new(self) -> Exchange:
        whole = self._session.exchange
        exchange = Exchange(f"{whole.id}-{next(self._numbers)}", whole.method)
        exchange.route, exchange.principal, exchange.model = whole.route, whole.principal, whole.model
        exchange.client_ip, exchange.correlation_id = whole.client_ip, whole.correlation_id
        exchange.user_agent, exchange.stream, exchange.status = whole.user_agent, True, whole.status
        return exchange

    def _add_attempt(self, exchange: Exchange) -> None:
        target, whole = self._opened.target, self._session.exchange
        attempt = AttemptRecord(target.provider.name, target.model or whole.model, clock.now(), whole.status)
        attempt.account = self._opened.record.account
        exchange.attempts.append(attempt)

    def _end_with_session(self, exchange: Exchange) -> None:
        whole = self._session.exchange
        exchange.outcome = Outcome.CLIENT_GONE if whole.outcome is Outcome.OK else whole.outcome
        exchange.error_code = whole.error_code
        self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        exchange.ended = clock.now()
        for attempt in exchange.attempts:
            attempt.ended = exchange.ended
        self._admission.leave(exchange)
        self._records.add(exchange, alone=False)
