"""
Stored answers: which calls may have one, what is kept and for whom, and how a call gets it.

How a question is told from another is said in `question_key`, where answers lie in `memory_answers` and
`redis_answers`. It reads no request and counts no tokens.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from proxy.cache.lookup import Answers, CacheQuestion
from proxy.cache.memory_answers import MemoryAnswers
from proxy.cache.question_key import keeps_something, uses_tools
from proxy.cache.recording import Recording, Room, stopped_short
from proxy.cache.replay import Replays
from proxy.cache.stored_answer import StoredAnswer
from proxy.core import clock
from proxy.core.exchange import Exchange, Outcome
from proxy.providers.pool import Pool
from proxy.relay.client import Client
from proxy.settings import Settings
from proxy.settings.traffic import Cache

LARGEST = 16
"""An answer may take this part of the room there is: one must not push out all others."""

Relay = Callable[[Client], Awaitable[None]]
"""Puts a call to the providers and answers towards a client, or raises."""


class AnswerCache:
    """The stored answers of this gateway."""

    def __init__(
        self,
        rules: Cache,
        answers: Answers,
        serves: Callable[[str], bool],
        cost: Callable[[Exchange], int | None],
    ) -> None:
        """
        *serves*: whether answers of a public model may be stored, by the settings of that model. *cost*: what a call
        has cost by now, in micro-USD, None where that is not known.
        """
        self._rules = rules
        self.answers = answers
        self.serves = serves
        self.replays = Replays()
        self._cost = cost
        self._room = Room(rules.max_size)
        self.hits_total = 0
        """Questions for which an answer was found."""
        self.misses_total = 0
        """Questions for which none was."""

    def obey(self, rules: Cache) -> None:
        """
        Other rules for the calls that come from now on. Where answers are kept for another time, in other room, or not
        any more, those in memory are let go.
        """
        before, self._rules = self._rules, rules
        if (rules.ttl, rules.max_size) != (before.ttl, before.max_size) or not rules.enabled:
            self.answers.obey(rules.ttl, rules.max_size)
            self._room = Room(rules.max_size)

    @property
    def enabled(self) -> bool:
        """Answers are stored, and looked up."""
        return self._rules.enabled

    @property
    def size(self) -> int:
        """Bytes of the answers, as far as this process knows."""
        return self.answers.size

    @property
    def failures_total(self) -> int:
        """How often what keeps the answers could not be used."""
        return self.answers.failures_total

    def holder(self, principal: str, team: str) -> str:
        """Who shares the answers to the calls of *principal*, who is in *team* (empty: in none)."""
        scope = self._rules.scope
        if scope == "all":
            return ""
        return f"team|{team}" if scope == "team" and team else f"principal|{principal}"

    def allows(self, value: dict[str, Any]) -> bool:
        """Whether the answer to a generating call with the JSON object *value* is its words alone."""
        return not keeps_something(value) and (self._rules.tools or not uses_tools(value))

    async def find(self, question: CacheQuestion) -> StoredAnswer | None:
        """The answer to *question*, where there is one that is young enough."""
        if not question.max_age:
            return None
        answer = await self.answers.find(question)
        if answer is not None and self.age_of(answer) > question.max_age:
            answer = None
        if answer is None:
            self.misses_total += 1
        else:
            self.hits_total += 1
        return answer

    def age_of(self, answer: StoredAnswer) -> int:
        """Its age now, in whole seconds."""
        return answer.age(_epoch())

    async def send(self, answer: StoredAnswer, exchange: Exchange, client: Client) -> None:
        """Answer *exchange* towards *client*."""
        exchange.cached, exchange.saved = True, answer.cost
        exchange.answered_model = answer.model
        await self.replays.send(answer, exchange, client, self._rules.pace)

    async def ask(self, question: CacheQuestion, exchange: Exchange, client: Client, relay: Relay) -> None:
        """
        Have *question* answered by *relay*, towards *client* and for the record of *exchange*, and keep the answer
        where it may be kept. Raises what *relay* raises.
        """
        most = largest(self._rules)
        recording = Recording(client, self._room, most)
        try:
            await relay(recording)
            if recording.whole and _is_its_own(exchange) and not stopped_short(body := recording.body):
                answer = StoredAnswer(
                    recording.headers,
                    body,
                    recording.steps.packed(),
                    recording.streamed,
                    exchange.emitted,
                    _epoch(),
                    question.model,
                    question.principal,
                    self._cost(exchange),
                )
                if answer.size <= most and self.enabled:
                    self.answers.keep(question, answer)
        finally:
            recording.close()


def answer_cache(settings: Settings, pool: Pool, cost: Callable[[Exchange], int | None]) -> AnswerCache:
    """
    The cache these settings ask for, with nothing opened yet; *cost* as `AnswerCache` has it. `ValueError` for an
    address of Redis that cannot be used.
    """
    rules, url = settings.cache, settings.state.url.get_secret_value()
    answers: Answers
    if url.startswith("memory:"):
        answers = MemoryAnswers(rules.max_size, rules.ttl)
    else:
        # Only who shares answers loads the client.
        from proxy.cache.redis_answers import RedisAnswers

        try:
            answers = RedisAnswers(url, rules.ttl, rules.max_size)
        except ValueError as error:
            raise ValueError(f"state.url: {error}") from None
    return AnswerCache(rules, answers, lambda model: pool.entry(model or None).cache, cost)


def largest(rules: Cache) -> int:
    """Bytes one answer may take."""
    return min(rules.max_size // LARGEST, 2**31)


def _is_its_own(exchange: Exchange) -> bool:
    """
    Whether the answer is that of the model that was asked for, and of one piece. A fallback's answer may be another's
    to see: who asks next may be kept from that model.
    """
    return exchange.outcome is Outcome.OK and exchange.answered_model == exchange.model and not exchange.resumed


def _epoch() -> float:
    return clock.wall().timestamp()
