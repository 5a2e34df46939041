"""
OpenAI's endpoints: what a client asks becomes a question for the relay, and nothing of it is rewritten.

Reads `model` and `stream` and no more.
"""

import math
from typing import Any

from proxy import peek
from proxy.errors import ProxyError
from proxy.headers import TO_PROVIDER, TO_PROVIDER_TRACED, for_provider
from proxy.relay.endpoints import Operation, operation
from proxy.relay.question import Question, Upload
from proxy.relay.relay import Relay
from proxy.usage import expected_prompt, most_completion
from proxy.web.admission import Admission
from proxy.web.guard import asks_for_websocket
from proxy.web.inbound import Inbound
from proxy.web.native import Native
from proxy.web.request import Request
from proxy.web.websocket import WebSockets

RELAYED = "/v1/*"
"""The route of every path that has none of its own."""
PEEKED_UPLOAD = 64 * 1024
"""Bytes of an upload that are read to find its model; SDKs send the form fields before the file."""


class OpenAI:
    """The handlers below `/v1`."""

    def __init__(self, relay: Relay, admission: Admission, native: Native, websockets: WebSockets) -> None:
        self._relay = relay
        self._admission = admission
        self._native = native
        self._websockets = websockets

    async def relay(self, inbound: Inbound) -> None:
        """Any call that is relayed as it is."""
        request, exchange = inbound.request, inbound.exchange
        path = inbound.location.path[3:].rstrip("/")
        asked = operation(path)
        if exchange.route == RELAYED:
            # One that the settings name is counted and limited by itself.
            exchange.route = asked.route
        if "upgrade" in request.headers and asks_for_websocket(request):
            await self._websockets.relay(inbound, path, asked)
            return
        if request.method not in asked.methods:
            raise ProxyError(
                "method_not_allowed",
                details={"allowed_methods": sorted(asked.methods)},
                headers=(("Allow", ", ".join(sorted(asked.methods))),),
            )
        found = peek.Peek(None, False)
        value: dict[str, Any] = {}
        body: bytes | Upload | None = None
        if not request.has_body and not (request.method == "POST" and asked.json_only):
            # SDKs cancel and delete with a POST that has nothing to say.
            body = None if request.method in ("GET", "DELETE") else b""
        elif inbound.content_type == "application/json":
            body, value = await inbound.read_json()
            if path == "/completions" and "prompt" not in value and ("messages" in value or "input" in value):
                await self._native.answer(inbound, value)
                return
            found = peek.peek_json(value)
        elif asked.json_only:
            raise ProxyError("unsupported_media_type")
        else:
            body, found = await self._upload(inbound)
        if request.method == "POST":
            if found.model is None and (asked.needs_model or (asked.generates and inbound.principal.restricted)):
                raise ProxyError("missing_required_parameter", "You must provide a model.", param="model")
            if found.model is not None and not inbound.principal.may_use(found.model):
                raise ProxyError("model_not_allowed", param="model")
        exchange.model = found.model or ""
        exchange.stream = found.stream
        prompt = expected_prompt(body, value) if type(body) is bytes else 0
        most = most_completion(value)
        if type(body) is bytes and len(body) >= peek.LONG:
            value = peek.outline(value)
        await self._admission.admit(inbound, asked, prompt, most)
        await self._relay.relay(
            exchange,
            Question(
                request.method,
                path + inbound.location.query,
                asked,
                for_provider(request.passing, TO_PROVIDER_TRACED if exchange.span_id else TO_PROVIDER),
                body,
                value,
                found.model,
                found.stream,
                _repeatable(asked, request, value),
                _patience(request),
                inbound.principal.may_use,
                inbound.timeout,
                prompt,
            ),
            inbound.answer,
        )

    async def _upload(self, inbound: Inbound) -> tuple[Upload, peek.Peek]:
        restricted = inbound.principal.restricted and inbound.request.method == "POST"
        form = inbound.content_type == "multipart/form-data"
        if restricted and not form:
            # A body nobody here can read may name any model.
            raise ProxyError("unsupported_media_type")
        inbound.welcome_body()
        start = b""
        found = peek.Peek(None, False)
        if form:
            boundary = peek.boundary_of(inbound.request.headers.get("content-type", ""))
            if boundary is None:
                raise ProxyError("invalid_multipart", "The multipart boundary is missing.")
            while len(start) < PEEKED_UPLOAD and found.model is None:
                part = await inbound.read_part()
                if not part:
                    break
                start += part
                found = peek.peek_multipart(start, boundary)
        else:
            start = await inbound.read_part()
        read = inbound.read_part
        if restricted:
            if peek.names_model(start[found.span[1] :] if found.span else start):
                # Another model, or one whose value has not come far enough to be judged.
                raise ProxyError("invalid_multipart", "Send 'model' once, before the file.", param="model", close=True)
            read = peek.ModelGuard(start, inbound.read_part).read
        return Upload(start, found.span, inbound.request.content_length, read), found


def _patience(request: Request) -> float | None:
    """Seconds the client's SDK says it will wait, where it says so."""
    for name in ("x-stainless-read-timeout", "x-stainless-timeout"):
        said = request.headers.get(name)
        if said is not None:
            try:
                seconds = float(said)
            except ValueError:
                continue
            if math.isfinite(seconds) and seconds > 0:
                return seconds
    return None


def _repeatable(asked: Operation, request: Request, value: dict[str, Any]) -> bool:
    """Reading is safe to repeat; generating is too, unless the provider was asked to keep something."""
    if request.method in ("GET", "HEAD"):
        return True
    return asked.generates and value.get("store") is not True and value.get("background") is not True
