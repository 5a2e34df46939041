"""
Stored answers in this process's memory: the least recently used give way when there is no more room.

Other workers do not see them, and they end with the process; `redis_answers` shares them.
"""

from collections.abc import Callable

from cachetools import TTLCache

from proxy.cache.lookup import CacheQuestion
from proxy.cache.stored_answer import StoredAnswer
from proxy.core import clock


class MemoryAnswers:
    """Answers by question."""

    failures_total = 0
    """Memory never fails."""

    def __init__(self, max_size: int, ttl: float, now: Callable[[], float] = clock.now) -> None:
        """*max_size*: bytes for all of them together. *ttl*: seconds each is kept."""
        self._now = now
        self.obey(ttl, max_size)

    def obey(self, ttl: float, max_size: int) -> None:
        """Begin anew, with so much room and time."""
        self._answers: TTLCache[bytes, StoredAnswer] = TTLCache(max_size, ttl, self._now, lambda answer: answer.size)

    @property
    def size(self) -> int:
        """Bytes of the answers."""
        return int(self._answers.currsize)

    async def find(self, question: CacheQuestion) -> StoredAnswer | None:
        return self._answers.get(question.key)

    def keep(self, question: CacheQuestion, answer: StoredAnswer) -> None:
        if answer.size <= self._answers.maxsize:
            self._answers[question.key] = answer

    def forget(self, model: str | None, principal: str | None) -> int:
        self._answers.expire()
        gone = [
            key
            for key, answer in list(self._answers.items())
            if (model is None or answer.model == model) and (principal is None or answer.principal == principal)
        ]
        for key in gone:
            self._answers.pop(key, None)
        return len(gone)

    async def clear(self, model: str | None, principal: str | None) -> int:
        return self.forget(model, principal)

    async def stop(self) -> None:
        """Nothing was opened."""
