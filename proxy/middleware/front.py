"""
The one middleware: every request enters here, becomes an exchange, finds its route, and ends here exactly once.

The order is the contract of docs/http.md: request id, record, well-formedness, host and origin, CORS, route, key,
handler. It is made of one configuration: a request ends at the one where it began, whichever is in force by then. What
a route does stands in its own file; which there are, in `app`; how the server runs, in `server`.
"""

import logging

from aiohttp import web

from proxy.admission.admission import Admission
from proxy.admission.keyless import Keyless
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.core.headers import Header, request_id
from proxy.http.address import AddressOf
from proxy.http.answer import Answer
from proxy.http.buffered import Buffered
from proxy.http.compression import compress_where_asked
from proxy.http.connections import Served
from proxy.http.guard import check
from proxy.http.inbound import INBOUND, JSON_HEADERS, Handler, Inbound
from proxy.http.meant import unknown_url
from proxy.http.reader import Reader
from proxy.http.request import Request
from proxy.http.stream_answer import answer_by_version
from proxy.limits.limit import Reservation
from proxy.middleware.authenticator import Authenticator
from proxy.middleware.cors import Cors
from proxy.middleware.origin import Neighbourhood
from proxy.middleware.records import Records
from proxy.middleware.route import Access, ErrorBody
from proxy.middleware.table import Table
from proxy.middleware.trace import TraceContext
from proxy.middleware.under_way import UnderWay

_log = logging.getLogger("hapax")

_MESSAGES = "/v1/messages"
"""Where Anthropic's SDKs call, which show an error with the `request-id` beside it."""


class Front:
    """Receives requests and hands them to their routes."""

    def __init__(
        self,
        routes: Table,
        authenticator: Authenticator,
        keyless: Keyless,
        address_of: AddressOf,
        cors: Cors,
        neighbourhood: Neighbourhood,
        admission: Admission,
        records: Records,
        traces: TraceContext,
        under_way: UnderWay,
        served: Served,
        *,
        max_header_bytes: int,
        max_body_bytes: int,
        buffered: Buffered,
        reader: Reader,
        read_timeout: float,
        max_requests: int,
        keep_content: bool = False,
    ) -> None:
        """
        *max_requests*: exchanges that may be under way when a client's call is admitted. *keep_content*: request and
        answer stay on the record, for the log.
        """
        self.routes = routes
        """Every route there is."""
        self._authenticator = authenticator
        self._keyless = keyless
        self._address_of = address_of
        self._cors = cors
        self._neighbourhood = neighbourhood
        self._admission = admission
        self._records = records
        self._traces = traces
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes
        self._buffered = buffered
        self._reader = reader
        self._read_timeout = read_timeout
        self._max_requests = max_requests
        self._keep_content = keep_content
        self._served = served
        self._under_way = under_way

    async def handle(self, request: web.Request, handler: Handler, prefix: str) -> web.StreamResponse:
        """Answer one request, with *handler* where it may be. *prefix*: what stands before our paths."""
        asked = Request(request, prefix)
        exchange, answer = self._admit(asked)
        error_body: ErrorBody = ProxyError.body
        path = ""
        entered: Reservation | None = None
        known: Inbound | None = None
        try:
            answer.extra_lines = self._cors.lines(asked.headers.get("origin")) + self._served.alternative
            location = check(asked, self._max_header_bytes)
            path = location.path
            route = self.routes.find(path)
            if route is not None:
                # What is refused from here on may be a probe's, and no call.
                exchange.call = route.calls(asked.method)
            self._neighbourhood.check(asked, path, location.host)
            if route is not None and not route.cors:
                answer.extra_lines = self._served.alternative
            elif self._cors.enabled and self._cors.is_preflight(asked):
                exchange.route, exchange.call = "preflight", False
                answer.send(204, self._cors.preflight(asked), b"")
                return answer
            if route is None:
                raise unknown_url(path)
            exchange.route, exchange.logged = route.template, route.logged
            error_body = route.error_body
            request[INBOUND] = inbound = Inbound(
                asked,
                exchange,
                answer,
                location,
                self._max_body_bytes,
                self._read_timeout,
                self._admission.look,
                self._buffered,
                self._reader,
            )
            inbound.handler, inbound.limited = route.handler, route.limited
            if route.access is Access.CLIENT:
                if self._under_way.count > self._max_requests:
                    # Before the key is looked up or a byte of the body is read; what operators and probes ask goes on.
                    raise ProxyError("overloaded", headers=(("Retry-After", "1"),), close=True)
                inbound.principal = principal = await self._authenticator.client(asked, exchange.client_ip)
                exchange.principal = principal.name
                known = inbound
                if not principal.may_call(path):
                    raise ProxyError("route_not_allowed")
            elif route.access is Access.OPERATOR:
                inbound.principal = await self._authenticator.operator(asked, exchange.client_ip)
            elif route.access is Access.ADMIN:
                inbound.principal = await self._authenticator.admin(asked, exchange.client_ip)
            elif route.access is Access.OPEN and route.limited:
                entered = self._keyless.enter(exchange.client_ip)
            exchange.principal = inbound.principal.name
            if asked.method not in route.methods:
                raise ProxyError(
                    "method_not_allowed",
                    details={"allowed_methods": sorted(route.methods)},
                    headers=(("Allow", ", ".join(sorted(route.methods))),),
                )
            if route.page and known is not None and asked.method != "DELETE":
                await self._admission.page(known)
            if request.match_info.http_exception is not None:
                # A whole URL without a path, for which aiohttp has no route.
                handler = route.handler
            response = await handler(request)
            if response is not answer:
                self._complete(exchange, answer, response)
                if route.own:
                    compress_where_asked(response, asked.every("accept-encoding"))
            return response
        except ProxyError as error:
            if known is None:
                self._refuse(exchange, answer, error, error_body, path)
            else:
                # The client may leave before that is decided.
                exchange.outcome = Outcome.CLIENT_GONE
                # A name of its own would lead from the error back to itself, by its traceback.
                self._refuse(exchange, answer, await self._admission.charge(known, error), error_body, path)
        except web.HTTPException as theirs:
            # A middleware within ours has answered, in aiohttp's way.
            self._complete(exchange, answer, theirs)
            if theirs.status >= 400:
                exchange.outcome = Outcome.FAILED if theirs.status >= 500 else Outcome.REFUSED
            raise
        except Exception as fault:
            if answer.gone:
                exchange.outcome = Outcome.CLIENT_GONE
            else:
                # The type and place only: an exception's text may quote the request.
                told = {
                    "event": "internal_error",
                    "stage": "finalize",
                    "error_code": "internal_error",
                    "request_id": exchange.id,
                    "correlation_id": exchange.correlation_id,
                    "operation": exchange.route,
                    "provider": exchange.provider,
                    "model": exchange.model,
                }
                message = "internal error in request %s: %s"
                _log.error(message, exchange.id, type(fault).__name__, exc_info=fault, extra={"fields": told})
                self._refuse(exchange, answer, ProxyError("internal_error", close=True), error_body, path)
        except BaseException:
            if self._under_way.closing and not answer.gone:
                # It was not the client that left.
                self._refuse(exchange, answer, ProxyError("shutting_down", close=True), error_body, path)
            else:
                exchange.outcome = Outcome.CLIENT_GONE
            raise
        finally:
            # What leads in circles stays in memory until the garbage collector walks all of it.
            made: Inbound | None = request.pop(INBOUND, None)
            if made is not None:
                made.let_go()
            if self._under_way.closing:
                answer.force_close()
            self._keyless.leave(entered)
            self._end(exchange)
        return answer

    def refuse(self, request: web.BaseRequest, error: ProxyError) -> Answer:
        """Answer bytes that never became a request; counted and logged like any other exchange."""
        exchange, answer = self._admit(Request(request))
        self._refuse(exchange, answer, error, ProxyError.body, "")
        self._end(exchange)
        return answer

    def _admit(self, asked: Request) -> tuple[Exchange, Answer]:
        headers = asked.headers
        exchange = Exchange(request_id(headers.get("x-request-id")), asked.method)
        correlation = headers.get("x-correlation-id")
        exchange.correlation_id = exchange.id
        if correlation is not None:
            exchange.correlation_id, exchange.correlated = request_id(correlation), True
        exchange.client_ip = self._address_of(asked.inner.remote or "", asked.every("x-forwarded-for"))
        exchange.user_agent = headers.get("user-agent", "")
        exchange.referer = headers.get("referer", "")
        self._traces.join(exchange, asked)
        if self._keep_content:
            exchange.content = (bytearray(), bytearray())
        answer = Answer(exchange, asked) if asked.version == "1.1" else answer_by_version(exchange, asked)
        if self._under_way.draining:
            answer.force_close()
        self._under_way.begin(exchange)
        return exchange, answer

    def _complete(self, exchange: Exchange, answer: Answer, response: web.StreamResponse) -> None:
        """Put what every answer carries on the *response* of a page, which aiohttp writes."""
        if response.prepared:
            # A WebSocket, which has come to its end.
            return
        exchange.status, exchange.answered_at = response.status, clock.now()
        headers = response.headers
        headers["X-Request-ID"] = exchange.id
        headers["X-Response-Time"] = answer.response_time()
        headers.setdefault("Cache-Control", "no-store")
        for name, value in answer.extra_headers():
            headers[name] = value
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            exchange.keep_answer(response.body)
        if self._under_way.draining:
            response.force_close()

    def _refuse(self, exchange: Exchange, answer: Answer, error: ProxyError, error_body: ErrorBody, path: str) -> None:
        exchange.error_code = error.code
        if answer.begun:
            answer.cut()
            exchange.outcome = Outcome.CUT
            return
        # A limit of ours is the caller's affair; a 429 for want of a provider is not.
        server_side = error.status >= 500 or (error.status == 429 and "limit" not in error.details)
        exchange.outcome = Outcome.FAILED if server_side else Outcome.REFUSED
        if error.close:
            answer.force_close()
        headers: list[Header] = [(name.encode("ascii"), value.encode("latin-1")) for name, value in error.headers]
        if path.startswith(_MESSAGES):
            headers.append((b"request-id", exchange.id.encode("ascii")))
        body = error_body(error, exchange.id)
        exchange.bytes_out += len(body)
        answer.send(error.status, JSON_HEADERS + headers, body)

    def _end(self, exchange: Exchange) -> None:
        self._under_way.end(exchange)
        exchange.ended = clock.now()
        try:
            self._admission.leave(exchange)
        except Exception as error:
            # A fault in the limits must not keep the record from those that read it.
            _log.error("request %s could not give back: %s", exchange.id, type(error).__name__, exc_info=error)
        self._records.add(exchange, alone=not self._under_way.count)


async def serve(request: web.Request) -> web.StreamResponse:
    """
    Every path's handler as aiohttp knows it: it goes on to that of the route that was found. Middlewares that stand
    within ours come before it.
    """
    return await request[INBOUND].handler(request)


async def ask_for_nothing(request: web.Request) -> None:
    """A body is asked for by the handler that wants it, once its head has been judged."""
