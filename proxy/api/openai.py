"""
OpenAI's endpoints: what a client asks becomes a question for the relay, and nothing of it is rewritten.

Reads `model` and `stream` and no more.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from proxy.accounts.principals import ANYONE
from proxy.admission.admission import Admission
from proxy.api import deployments, query
from proxy.api.native import Native
from proxy.api.shared import Shared
from proxy.api.stored import StoredAnswers
from proxy.api.websocket import WebSockets
from proxy.cache.answer_cache import AnswerCache
from proxy.cache.lookup import CacheQuestion
from proxy.core import peek
from proxy.core.errors import ProxyError
from proxy.core.exchange import Exchange
from proxy.core.headers import TO_PROVIDER, TO_PROVIDER_TRACED, for_provider
from proxy.core.places import Places
from proxy.core.usage import expected_prompt, most_completion
from proxy.http.gist import Gist
from proxy.http.guard import asks_for_websocket
from proxy.http.inbound import INBOUND, Inbound
from proxy.http.meant import check_relayed
from proxy.http.request import Request
from proxy.http.upload import receive
from proxy.relay.client import Client
from proxy.relay.endpoints import Operation, operation
from proxy.relay.ids import Named, named_by
from proxy.relay.learner import Learner
from proxy.relay.made import Tells, tells, updates
from proxy.relay.owners import Owners, Pin
from proxy.relay.question import Question, Upload
from proxy.relay.relay import Relay
from proxy.settings.server import Server

Learning = Callable[[Exchange, Client], Learner]
"""What stands before a client to learn from the answer to an exchange."""

RELAYED = "/v1/*"
"""The route of every path that has none of its own."""


class OpenAI:
    """The handlers below `/v1`."""

    def __init__(
        self,
        relay: Relay,
        admission: Admission,
        native: Native,
        websockets: WebSockets,
        server: Server,
        owners: Owners,
        shared: Shared,
        cache: AnswerCache,
    ) -> None:
        self._relay = relay
        self._stored = StoredAnswers(cache, admission)
        self._shared = shared
        self._owners = owners
        self._admission = admission
        self._native = native
        self._websockets = websockets
        self._server = server

    async def relay(self, called: web.Request) -> web.StreamResponse:
        """Any call that is relayed as it is."""
        inbound = called[INBOUND]
        request, exchange = inbound.request, inbound.exchange
        path = inbound.location.path[3:].rstrip("/")
        check_relayed(path)
        asked = operation(path)
        if exchange.route == RELAYED:
            # One that the settings name is counted and limited by itself.
            exchange.route = asked.route
        opens_session = "upgrade" in request.headers and asks_for_websocket(request)
        if inbound.location.query:
            query.check(inbound.location.query)
            if inbound.principal.restricted and (opens_session or request.method == "POST"):
                _judge(inbound, query.models(inbound.location.query))
        if opens_session:
            return await self._websockets.relay(inbound, path, asked)
        if request.method not in asked.methods:
            raise ProxyError(
                "method_not_allowed",
                details={"allowed_methods": sorted(asked.methods)},
                headers=(("Allow", ", ".join(sorted(asked.methods))),),
            )
        found = peek.Peek(None, False)
        deployment = inbound.location.deployment
        value: dict[str, Any] = {}
        gist: Gist | None = None
        body: bytes | None = None
        if not request.has_body and not (request.method == "POST" and asked.json_only):
            # SDKs cancel and delete with a POST that has nothing to say.
            body = None if request.method in ("GET", "DELETE") else b""
        elif inbound.content_type == "application/json":
            body, value, gist = await inbound.read_call(path)
            if deployment:
                body = deployments.in_json(body, value, gist, deployment)
            if path == "/completions" and "prompt" not in value and ("messages" in value or "input" in value):
                if gist is not None:
                    value = await inbound.read_here(body)
                await self._native.answer(inbound, value)
                return inbound.answer
            # A key that is held to some models has no other object in the model's place either.
            found = peek.peek_json(value, asked.generates or asked.needs_model or inbound.principal.restricted)
        elif asked.json_only:
            raise ProxyError("unsupported_media_type")
        else:
            upload, found = await receive(inbound, asked, self._server)
            try:
                if deployment:
                    found = deployments.in_form(upload, found, request.headers.get("content-type", ""), deployment)
                await self._ask(inbound, asked, path, upload, value, None, found)
            finally:
                upload.close()
            return inbound.answer
        await self._ask(inbound, asked, path, body, value, gist, found)
        return inbound.answer

    async def _ask(
        self,
        inbound: Inbound,
        asked: Operation,
        path: str,
        body: bytes | Upload | None,
        value: dict[str, Any],
        gist: Gist | None,
        found: peek.Peek,
    ) -> None:
        """Relay a call that has been read: whether its caller may make it is settled here."""
        request, exchange = inbound.request, inbound.exchange
        if request.method == "POST":
            if found.model is None and (asked.needs_model or (asked.generates and inbound.principal.restricted)):
                raise ProxyError("missing_required_parameter", "You must provide a model.", param="model")
            if found.model is not None and not inbound.principal.may_use(found.model):
                raise ProxyError("model_not_allowed", param="model")
        exchange.model = found.model or ""
        exchange.stream = found.stream
        places: Places | None = None
        target = path + inbound.location.query
        headers = for_provider(request.passing, TO_PROVIDER_TRACED if exchange.span_id else TO_PROVIDER)
        patience = _patience(request)
        key: bytes | None = None
        if gist is None:
            prompt = expected_prompt(body, value) if type(body) is bytes else 0
            most = most_completion(value)
            named = named_by(request.method, path, inbound.location.query, value)
            told = tells(request.method, path, value)
            if named is None and type(body) is bytes:
                key = self._shared.key(inbound, asked, target, headers, patience, body, value)
        else:
            prompt, most, named, told, places = gist.prompt, gist.most, gist.named, gist.told, gist.places
        sought: CacheQuestion | None = None
        if self._stored.cache.enabled and asked.generates and request.method == "POST":
            lone = gist is None and named is None and told is Tells.NOTHING
            sought = self._stored.question(
                inbound, target, headers, body if lone and type(body) is bytes else None, value
            )
            if sought is not None and await self._stored.answer(inbound, asked, sought):
                return
        if gist is None and type(body) is bytes and len(body) >= peek.LONG:
            value = peek.outline(value)
            if sought is not None:
                sought.value = value
        await self._shared.admit(inbound, asked, prompt, most, key)
        who = "" if inbound.principal is ANYONE else inbound.principal.name
        team = inbound.principal.team
        pin = await self._owners.pin(named, who, team) if named is not None else None
        question = Question(
            request.method,
            target,
            asked,
            headers,
            body,
            value,
            found.model,
            found.stream,
            _repeatable(asked, request, value),
            patience,
            inbound.principal.may_use,
            inbound.timeout,
            prompt,
            pin,
            named is not None and named.lists,
            places,
            not updates(request.method, path),
        )

        learning: Learning | None = None
        if told is not Tells.NOTHING:
            learning = partial(self._learner, told, named, pin, who, team, not asked.generates)
        if key is not None or sought is not None:
            ask = partial(self._put, question, sought, learning)
            if key is None:
                await ask(exchange, inbound.answer)
            else:
                await self._shared.flights.answer(key, exchange, inbound.answer, ask)
            return
        learner = None if learning is None else learning(exchange, inbound.answer)
        await self._relay.relay(exchange, question, inbound.answer if learner is None else learner)
        if named is not None and (exchange.status < 300 or (learner is not None and learner.holds)):
            self._owners.answered(exchange, named, pin)
        if learner is not None and learner.holds:
            # Its reader may name what it tells at once, and to another process.
            await self._owners.settled()
            learner.hand_over()

    # No functions within `_ask`: compiled, they would hold what it knows and be held by it, and each call would leave a
    # circle with its body in it to the garbage collector.

    def _learner(
        self,
        told: Tells,
        named: Named | None,
        pin: Pin | None,
        who: str,
        team: str,
        holds: bool,
        asking: Exchange,
        client: Client,
    ) -> Learner:
        """What stands before *client* where the answer to *asking* may tell of an object."""
        return Learner(client, told, partial(self._owners.made, asking, named, pin, who, team), holds=holds)

    async def _put(
        self,
        question: Question,
        sought: CacheQuestion | None,
        learning: Learning | None,
        asking: Exchange,
        client: Client,
    ) -> None:
        """Have *question* answered for all who share the answer, or that it may be stored."""
        if sought is None:
            await self._relay.relay(asking, question, client if learning is None else learning(asking, client))
        else:
            await self._stored.cache.ask(sought, asking, client, partial(self._relay.relay, asking, question))


def _judge(inbound: Inbound, models: list[str]) -> None:
    """A query may name a model beside the body's, and the same key twice: each must be one the caller may use."""
    if not all(inbound.principal.may_use(model) for model in models):
        raise ProxyError("model_not_allowed", param="model")


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
