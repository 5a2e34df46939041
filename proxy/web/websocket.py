"""
WebSockets below `/v1`: `GET /v1/realtime`, `GET /v1/responses`, and any other path that a provider upgrades.

A handshake is judged like any call: key, restrictions, limits. The session is one exchange. How it is opened at a
provider and relayed stands in `relay.session`.
"""

import re
from urllib.parse import parse_qsl, quote

import orjson

from proxy.errors import ProxyError
from proxy.exchange import Exchange, Outcome
from proxy.headers import TO_PROVIDER, TO_PROVIDER_TRACED, for_provider
from proxy.peek import with_model
from proxy.relay.endpoints import Operation
from proxy.relay.session import MAX_MESSAGE_BYTES, Opened, Sessions
from proxy.relay.side import Socket
from proxy.sse import Dialect
from proxy.web.admission import Admission
from proxy.web.auth import IN_PROTOCOL
from proxy.web.inbound import Inbound
from proxy.web.upgrade import upgraded

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_ENDED_BY_US = 1011
"""The close code of a session that no provider would open (RFC 6455 section 7.4.1)."""


class WebSockets:
    """The handler of handshakes."""

    def __init__(self, sessions: Sessions, admission: Admission) -> None:
        self._sessions = sessions
        self._admission = admission

    async def relay(self, inbound: Inbound, path: str, asked: Operation) -> None:
        """Answer a handshake for *path* (below `/v1`), and carry the session to its end."""
        headers, exchange = inbound.request.headers, inbound.exchange
        # What comes behind a handshake is no HTTP, whether it is taken or not.
        inbound.answer.close_after()
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
        await self._admission.admit(inbound, asked, 0, None)
        if model is not None or path.startswith("/realtime"):
            opened = await self._open(inbound, path, model)
            async with upgraded(inbound.request, inbound.answer, opened.socket.protocol, MAX_MESSAGE_BYTES) as client:
                await self._relay(inbound, client, opened)
            return
        # The model stands in the first message, which comes only once the socket is open.
        async with upgraded(inbound.request, inbound.answer, None, MAX_MESSAGE_BYTES) as client:
            first = await client.receive()
            if type(first.data) is not str:
                exchange.outcome = Outcome.CLIENT_GONE
                return
            try:
                if (model := _model_of(first.data)) is None:
                    raise ProxyError("missing_required_parameter", "You must provide a model.", param="model")
                self._judge(inbound, model)
                opened = await self._open(inbound, path, model)
            except ProxyError as error:
                exchange.error_code = error.code
                exchange.outcome = Outcome.FAILED if error.status >= 500 else Outcome.REFUSED
                await client.send_str(_error_event(error, exchange))
                await client.close(code=_ENDED_BY_US)
                return
            await opened.socket.send_str(self._as_asked(first.data, model, opened))
            await self._relay(inbound, client, opened)

    async def _open(self, inbound: Inbound, path: str, model: str | None) -> Opened:
        request, exchange = inbound.request, inbound.exchange
        lines = for_provider(request.passing, TO_PROVIDER_TRACED if exchange.span_id else TO_PROVIDER)
        offered = [name.strip() for name in request.headers.get("sec-websocket-protocol", "").split(",")]

        def path_for(name: str | None) -> str:
            query = inbound.location.query
            if name is not None and name != model:
                query = re.sub(r"([?&]model=)[^&]*", lambda found: found[1] + quote(name, safe=""), query)
            return path + query

        return await self._sessions.open(
            exchange, model, path_for, lines, [name for name in offered if name and not name.startswith(IN_PROTOCOL)]
        )

    async def _relay(self, inbound: Inbound, client: Socket, opened: Opened) -> None:
        exchange = inbound.exchange
        asked = exchange.model

        async def admit(text: str) -> str | None:
            model = _model_of(text)
            if model is None:
                return text
            if not inbound.principal.may_use(model):
                await client.send_str(_error_event(ProxyError("model_not_allowed", param="model"), exchange))
                return None
            return self._as_asked(text, model, opened) if model == asked else text

        await self._sessions.relay(exchange, client, opened, admit)

    @staticmethod
    def _judge(inbound: Inbound, model: str) -> None:
        if not inbound.principal.may_use(model):
            raise ProxyError("model_not_allowed", param="model")
        inbound.exchange.model = model

    @staticmethod
    def _as_asked(text: str, model: str, opened: Opened) -> str:
        """*text*, which names *model*, as its target knows it."""
        name = opened.target.model
        if name is None or name == model or '"model"' not in text:
            return text
        try:
            return with_model(text.encode(), name).decode()
        except ValueError:
            # It stands deeper, where the provider's own session has it already.
            return text


def _model_in(query: str) -> str | None:
    return next((value for name, value in parse_qsl(query[1:]) if name == "model" and value), None)


def _model_of(text: str) -> str | None:
    """The model that a client's message names, at its top or in its `session` or `response`."""
    if '"model"' not in text:
        return None
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if type(event) is not dict:
        return None
    for place in (event, event.get("response"), event.get("session")):
        if type(place) is dict and type(name := place.get("model")) is str and name:
            return name
    return None


def _error_event(error: ProxyError, exchange: Exchange) -> str:
    """The event that tells a client of an error (Realtime API: error)."""
    return f'{{"type":"error","status":{error.status},{error.body(exchange.id).decode()[1:]}'
