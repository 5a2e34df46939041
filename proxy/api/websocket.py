"""
WebSockets below `/v1`: `GET /v1/realtime`, `GET /v1/responses`, and any other path that a provider upgrades.

A handshake is judged like any call: key, restrictions, limits. The session is one exchange. How it is opened at a
provider stands in `relay.handshake`, how it is relayed in `relay.session`.
"""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any
from urllib.parse import parse_qsl, quote

from aiohttp import WSMsgType, web

from proxy.admission.admission import Admission
from proxy.api.responses import Responses
from proxy.core import tasks
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange, Outcome
from proxy.core.headers import TO_PROVIDER, TO_PROVIDER_TRACED, for_provider
from proxy.core.lenient import object_in
from proxy.core.peek import LIGHT, is_heavy, read_json, with_model
from proxy.core.sse import Dialect
from proxy.http.inbound import Inbound
from proxy.middleware.authenticator import IN_PROTOCOL
from proxy.middleware.records import Records
from proxy.relay.endpoints import Operation
from proxy.relay.handshake import MAX_MESSAGE_BYTES, Opened, no_socket
from proxy.relay.session import Sessions, Socket

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_CREATE = b"response.create"
_ENDED_BY_US = 1011
"""The close code of a session that no provider would open (RFC 6455 section 7.4.1)."""


class WebSockets:
    """The handler of handshakes."""

    def __init__(self, sessions: Sessions, admission: Admission, records: Records) -> None:
        """*records*: where those of single responses go."""
        self._sessions = sessions
        self._admission = admission
        self._records = records

    async def relay(self, inbound: Inbound, path: str, asked: Operation) -> web.StreamResponse:
        """Answer a handshake for *path* (below `/v1`), and carry the session to its end."""
        headers, exchange = inbound.request.headers, inbound.exchange
        # What comes behind a handshake is no HTTP, whether it is taken or not.
        inbound.answer.force_close()
        if asked.named and asked.dialect is not Dialect.RESPONSES:
            raise ProxyError("upgrade_not_supported", headers=(("Upgrade", "HTTP/1.1"),))
        if headers.get("sec-websocket-version") != "13" or not _KEY.fullmatch(headers["sec-websocket-key"]):
            refused = (("Sec-WebSocket-Version", "13"),)
            raise ProxyError("bad_request", "The WebSocket handshake is not one of RFC 6455.", headers=refused)
        exchange.stream = True
        model = _model_in(inbound.location.query)
        if model is not None:
            self._judge(inbound, model)
        elif inbound.principal.restricted and path.startswith("/realtime"):
            raise ProxyError("missing_required_parameter", "You must provide a model.", param="model")
        await self._admission.admit_session(inbound, asked)
        offered = _offered(inbound)
        if model is None and (asked.dialect is Dialect.RESPONSES or inbound.principal.restricted):
            if self._sessions.handshakes.hopeless(path):
                # Before the socket is open there is a status to say it by, which clients know.
                raise no_socket()
            return await self._relay_from_first(inbound, path, asked, offered)
        # Elsewhere the provider may be the one who speaks first.
        opened = await self._open(inbound, path, model, offered)
        client = await _upgraded(inbound, opened.socket.protocol)
        await _to_its_end(self._relay(inbound, asked, client, opened))
        return client

    async def _relay_from_first(
        self, inbound: Inbound, path: str, asked: Operation, offered: list[str]
    ) -> web.StreamResponse:
        """The model stands in the first message, which comes only once the socket is open."""
        # A browser that offers subprotocols takes no socket without one of them.
        protocols = offered[:1]
        client = await _upgraded(inbound, protocols[0] if protocols else None)
        await _to_its_end(self._carry_from_first(inbound, path, asked, protocols, client))
        return client

    async def _carry_from_first(
        self, inbound: Inbound, path: str, asked: Operation, protocols: list[str], client: web.WebSocketResponse
    ) -> None:
        exchange = inbound.exchange
        first = await self._sessions.first(exchange, client)
        if first is None:
            return
        if first.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            exchange.outcome = Outcome.CLIENT_GONE
            await client.close()
            return
        try:
            if first.type is WSMsgType.BINARY:
                raise ProxyError("invalid_json", "The first message must be a text that names a model.")
            data = first.data.encode()
            await _weigh(inbound, data)
            names = self._allowed(inbound, True, data)
            if not names:
                raise ProxyError("missing_required_parameter", "You must provide a model.", param="model")
            exchange.model = names[0]
            opened = await self._open(inbound, path, names[0], protocols)
        except ProxyError as error:
            exchange.error_code = error.code
            exchange.outcome = Outcome.FAILED if error.status >= 500 else Outcome.REFUSED
            await client.send_str(_error_event(error, exchange))
            await client.close(code=_ENDED_BY_US)
            return
        await self._relay(inbound, asked, client, opened, data)

    async def _open(self, inbound: Inbound, path: str, model: str | None, offered: list[str]) -> Opened:
        request, exchange, principal = inbound.request, inbound.exchange, inbound.principal
        lines = for_provider(request.passing, TO_PROVIDER_TRACED if exchange.span_id else TO_PROVIDER)

        def path_for(name: str | None) -> str:
            query = inbound.location.query
            if name is not None and name != model:
                query = re.sub(r"([?&]model=)[^&]*", lambda found: found[1] + quote(name, safe=""), query)
            return path + query

        return await self._sessions.handshakes.open(exchange, model, principal.may_use, path_for, lines, offered)

    async def _relay(
        self, inbound: Inbound, asked: Operation, client: Socket, opened: Opened, first: bytes | None = None
    ) -> None:
        """*first*: the client's first message, where it has been read."""
        exchange = inbound.exchange
        responses = Responses(inbound, asked, opened, self._admission, self._records)

        def tell(error: ProxyError) -> str:
            return _error_event(error, exchange)

        async def admit(text: bool, data: bytes) -> bytes | None:
            try:
                await _weigh(inbound, data)
                names = self._allowed(inbound, text, data)
                if text and _CREATE in data:
                    event = object_in(data)
                    if event is not None and event.get("type") == "response.create":
                        await responses.begin(data, event)
            except ProxyError as error:
                await client.send_str(tell(error))
                return None
            return self._as_asked(inbound, data, names, opened) if names else data

        try:
            await self._sessions.relay(exchange, client, opened, admit, tell, responses.ended, first)
        finally:
            responses.close()

    @staticmethod
    def _judge(inbound: Inbound, model: str) -> None:
        if not inbound.principal.may_use(model):
            raise ProxyError("model_not_allowed", param="model")
        inbound.exchange.model = model

    @staticmethod
    def _allowed(inbound: Inbound, text: bool, data: bytes) -> list[str]:
        """
        The models that a client's message names; `ProxyError` where the key may not use one of them, or where two
        readers could find different ones in it.
        """
        if b"model" not in data and b"\\u" not in data:
            return []
        restricted = inbound.principal.restricted
        if not text and not (restricted and data.lstrip().startswith(b"{")):
            return []
        names = _models_of(read_json(data) if restricted else object_in(data))
        if not all(map(inbound.principal.may_use, names)):
            raise ProxyError("model_not_allowed", param="model")
        return names

    def _as_asked(self, inbound: Inbound, data: bytes, names: list[str], opened: Opened) -> bytes:
        """*data*, in which the first of *names* stands at the top, as the session's provider knows that model."""
        name = self._sessions.handshakes.name_at(opened, inbound.exchange.model, names[0])
        if name == names[0]:
            return data
        try:
            return with_model(data, name)
        except ValueError:
            # It stands deeper, where the provider's own session has it already.
            return data


async def _upgraded(inbound: Inbound, protocol: str | None) -> web.WebSocketResponse:
    """The client's socket, open; *protocol*: the subprotocol agreed on. `ConnectionError` when the client has left."""
    # Pings are answered by either side of the gateway for itself; a close is the relay's to pass on. No extension is
    # agreed on: frames pass as they are, and compressed ones could not be read.
    socket = web.WebSocketResponse(
        protocols=() if protocol is None else (protocol,),
        autoclose=False,
        compress=False,
        max_msg_size=MAX_MESSAGE_BYTES,
    )
    socket.headers.extend(inbound.answer.taken_over())
    await socket.prepare(inbound.request.inner)
    return socket


async def _to_its_end(session: Coroutine[Any, Any, None]) -> None:
    """aiohttp cancels the handler of a client that has left. A session hears of that by itself, and ends in order."""
    carried = tasks.start(session, "session")
    try:
        await asyncio.shield(carried)
    except asyncio.CancelledError:
        await asyncio.wait({carried})
        carried.result()


def _offered(inbound: Inbound) -> list[str]:
    """The subprotocols that are none of a key."""
    names = [name.strip() for name in inbound.request.headers.get("sec-websocket-protocol", "").split(",")]
    return [name for name in names if name and not name.startswith(IN_PROTOCOL)]


def _model_in(query: str) -> str | None:
    return next((value for name, value in parse_qsl(query[1:]) if name == "model" and value), None)


async def _weigh(inbound: Inbound, data: bytes) -> None:
    """`ProxyError` for a message that would be read, and would hold up all other calls: see `Reader.weigh`."""
    if len(data) > LIGHT and (b"model" in data or b"\\u" in data or _CREATE in data) and is_heavy(data):
        await inbound.reader.weigh(data)


def _models_of(event: Any) -> list[str]:
    """The models that a client's message names: at its top, in its `response` and in its `session`."""
    if type(event) is not dict:
        return []
    named = [
        place.get("model") for place in (event, event.get("response"), event.get("session")) if type(place) is dict
    ]
    return [name for name in named if type(name) is str and name]


def _error_event(error: ProxyError, exchange: Exchange) -> str:
    """The event that tells a client of an error (Realtime API: error)."""
    return f'{{"type":"error","status":{error.status},{error.body(exchange.id).decode()[1:]}'
