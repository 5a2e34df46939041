"""
The opening of a WebSocket session: the first target that takes the upgrade, by preference, of the model or of its
fallbacks.

What a provider answers instead is judged as any answer of it is. It relays no message; that is `session`.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping

import aiohttp

from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.core.exchange import AttemptRecord, Exchange
from proxy.providers.breaker import Judgement, Permit
from proxy.providers.last_error import LastError
from proxy.providers.pool import Pool
from proxy.providers.provider import Provider
from proxy.providers.target import Target
from proxy.relay import steps_told, transitions
from proxy.relay.blame import is_of_the_provider, judgement
from proxy.relay.lesson import learn
from proxy.relay.plan import OF_A_KEY
from proxy.relay.summary import UNREACHED, answer_headers, back_in, none_asked, sum_up
from proxy.relay.verdict import Failed, Reach, judge
from proxy.upstream.control_plane import ControlPlane, FetchError, NoUpgrade
from proxy.upstream.endpoint import Endpoint

_log = logging.getLogger("hapax")

OPENING = 20.0
"""Seconds a provider has to open a session; it is a handshake, no model is asked yet."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""A message longer than this ends the session; OpenAI takes 15 MiB of audio at once (Realtime API)."""
WITHOUT = (404, 405, 426, 501)
"""Statuses by which a server tells that it has no WebSocket at a path (RFC 9110 sections 15.5 and 15.6.2)."""
WITHOUT_FOR = 600.0
"""Seconds for which a provider that has no WebSocket at a path is not asked for one there again."""
MOST_WITHOUT = 1000
"""Of which so many are remembered: clients choose the paths."""
NO_SOCKET = "No provider of this model opens a WebSocket at this path; use HTTP."


class Opened:
    """A session that a provider has opened."""

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        target: Target,
        key: int,
        permit: Permit | None,
        record: AttemptRecord,
    ) -> None:
        self.socket = socket
        self.target = target
        self.key = key
        self.permit = permit
        self.record = record


class Handshakes:
    """Asks providers to open sessions."""

    def __init__(
        self, pool: Pool, endpoints: Mapping[Provider, Endpoint], rng: random.Random, control: ControlPlane
    ) -> None:
        self._pool = pool
        self._endpoints = endpoints
        self._rng = rng
        self._control = control
        self._without: dict[tuple[Provider, str], float] = {}
        """Who has no WebSocket at which path, and until when that is believed, by the monotonic clock."""

    def hopeless(self, path: str) -> bool:
        """Whether every provider is known to have no WebSocket at *path*, which has no query."""
        providers, now = self._pool.providers, clock.now()
        return bool(providers) and all(self._is_without(provider, path, now) for provider in providers)

    def _is_without(self, provider: Provider, path: str, now: float) -> bool:
        return self._without.get((provider, path), now) > now

    def _learn(self, provider: Provider, path: str, refused: NoUpgrade) -> None:
        """
        Remember that *provider* has no WebSocket at *path*, where its answer tells of the path alone and so of every
        caller's session: the upgrade was not heeded (RFC 9110 section 7.8), or there is nothing. A query may name what
        is not there, such as a model or a call, and an error object may speak of an account or a project.
        """
        told = refused.status < 300 or refused.status in WITHOUT
        if not told or "?" in path or (refused.status == 404 and refused.body.lstrip().startswith(b"{")):
            return
        now = clock.now()
        self._without = {each: until for each, until in self._without.items() if until > now}
        if len(self._without) < MOST_WITHOUT:
            self._without[provider, path] = now + WITHOUT_FOR

    async def open(
        self,
        exchange: Exchange,
        model: str | None,
        may_use: Callable[[str], bool],
        path: Callable[[str | None], str],
        lines: bytes,
        offered: list[str],
    ) -> Opened:
        """
        Open a session for *model*, or for one of its fallbacks that the caller *may_use*. *path* makes the path for a
        target's name of the model, *offered* are subprotocols. `ProxyError` when no target does.
        """
        if not self._pool.targets(model):
            raise ProxyError("model_not_found" if model else "upstream_unavailable", param="model")
        models = [model, *filter(may_use, self._pool.entry(model).fallbacks)]
        failures: list[Failed] = []
        without, despite = False, False
        for place, name in enumerate(models):
            after = [each for each in models[place + 1 :] if each is not None]
            choice = self._pool.choose(name, clock.now(), not exchange.attempts, after)
            if _log.isEnabledFor(logging.DEBUG):
                steps_told.planned(exchange, name, choice, None)
            despite = despite or (choice.despite and not exchange.attempts)
            exchange.skipped.update((str(target), reason) for target, reason in choice.skipped)
            for target in choice.available:
                for _ in range(target.provider.key_count):
                    opened = await self._try(exchange, target, path, lines, offered)
                    if isinstance(opened, Opened):
                        exchange.answered_model = name or ""
                        return opened
                    if opened is None:
                        without = True
                        break
                    failures.append(opened)
                    if opened.code not in OF_A_KEY or not target.available(clock.now()):
                        break
        now = clock.now()
        if not failures and without:
            # It is there and speaks HTTP: clients that know both go on with that when they are told so.
            raise no_socket([(header.decode(), value.decode("latin-1")) for header, value in answer_headers(exchange)])
        if not failures:
            failures = [none_asked(self._pool, model, now)]
        elif despite and all(failed.code in UNREACHED for failed in failures):
            failures = [Failed("upstream_unavailable", Reach.NEVER_SENT, "every target is down")]
        raise sum_up(failures, exchange, back_in(self._pool, models, now), repeatable=True)

    def name_at(self, opened: Opened, asked: str | None, model: str) -> str:
        """What the provider of a session calls the public name *model*; *asked*: for which one it was opened."""
        if model == asked:
            return opened.target.model or model
        there = [target for target in self._pool.targets(model) if target.provider is opened.target.provider]
        return next((target.model for target in there if target.model), model)

    async def _try(
        self,
        exchange: Exchange,
        target: Target,
        path: Callable[[str | None], str],
        lines: bytes,
        offered: list[str],
    ) -> Opened | Failed | None:
        """Ask *target*; None where it has no WebSocket there."""
        now = clock.now()
        if self._is_without(target.provider, path(target.model), now):
            return None
        permit, key = target.begin(now)
        record = AttemptRecord(target.provider.name, target.model or "", now)
        exchange.attempts.append(record)
        if _log.isEnabledFor(logging.DEBUG):
            steps_told.begun(exchange, record, target)
        told = Judgement.EXCLUDED
        try:
            found = await self._ask(target, path(target.model), lines, offered, key, exchange.id, record)
            if found is None:
                record.failure = "upgrade_not_supported"
                return None
            if isinstance(found, Failed):
                record.failure, record.reach, record.reason = found.code, found.reach.value, found.reason
                told = judgement(found)
                if is_of_the_provider(found):
                    target.provider.last_error = LastError.of(record, clock.iso(clock.wall()))
                learn(target, key, found, clock.now())
                return found
            record.head_at = clock.now()
        finally:
            if not record.head_at:
                record.ended = clock.now()
                target.end(permit, told, clock.now(), self._rng)
                transitions.tell(target)
                if _log.isEnabledFor(logging.DEBUG):
                    steps_told.ended(exchange, record, target)
        if permit is not None and permit.probe:
            target.breaker.record(permit, clock.now(), Judgement.SUCCESS, self._rng)
            permit = target.breaker.allow(clock.now())
            transitions.tell(target)
        return Opened(found, target, key, permit, record)

    async def _ask(
        self,
        target: Target,
        path: str,
        passing: bytes,
        offered: list[str],
        key: int,
        request_id: str,
        record: AttemptRecord,
    ) -> aiohttp.ClientWebSocketResponse | Failed | None:
        endpoint = self._endpoints[target.provider]
        url, headers = endpoint.described("GET", path, passing, request_id, key)
        record.sent_at = clock.now()
        try:
            async with asyncio.timeout(OPENING):
                return await self._control.websocket(url, headers, offered, MAX_MESSAGE_BYTES, endpoint.forward_proxy)
        except TimeoutError:
            return Failed("upstream_timeout", Reach.UNANSWERED, "the session was not opened in time")
        except NoUpgrade as refused:
            record.status = refused.status
            self._learn(target.provider, path, refused)
            pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in refused.headers]
            return _meaning(refused.status, pairs, refused.body, endpoint)
        except FetchError:
            return Failed("upstream_connect_error", Reach.NEVER_SENT, "no connection for a session")


def no_socket(headers: Iterable[tuple[str, str]] = ()) -> ProxyError:
    """426, by which a client that knows both goes on over HTTP at once; with *headers*."""
    return ProxyError("upgrade_not_supported", NO_SOCKET, headers=(("Upgrade", "HTTP/1.1"), *headers))


def _meaning(status: int, headers: list[tuple[bytes, bytes]], body: bytes, endpoint: Endpoint) -> Failed | None:
    """What an answer that is no upgrade means for its target; None: it is there, and has no WebSocket there."""
    if status < 400 or status in WITHOUT:
        return None
    verdict = judge(status, headers, body, endpoint.source)
    # What is refused for what it asks may be answered over HTTP, or told there.
    return verdict if isinstance(verdict, Failed) and verdict.reach in (Reach.REFUSED, Reach.UNANSWERED) else None
