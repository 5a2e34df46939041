"""
Where stored answers are found: the question as a cache sees it, and what can be asked for its answer.

`Lookup` is the seam for other ways to find one, such as by meaning: it takes the question and returns an answer. Here
an answer is found only for exactly the same question, in `memory_answers` or `redis_answers`.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.cache.question_key import key_of
from proxy.cache.stored_answer import StoredAnswer


@dataclass(slots=True)
class CacheQuestion:
    """A call that may be answered by a stored answer."""

    holder: str
    """Who shares it: all calls with the same one."""
    path: str
    """Below `/v1`, with the query that may pass."""
    headers: bytes
    """The client's headers a provider may see, as header lines."""
    body: bytes
    value: dict[str, Any]
    """The JSON object in *body*."""
    model: str
    """The public model asked for; empty where none is named."""
    principal: str
    """The name of the key that asks."""
    max_age: float
    """Seconds the answer may be old; 0: it is not looked up."""
    key: bytes = field(init=False)
    """Stands for exactly this question."""

    def __post_init__(self) -> None:
        # How long the client waits says nothing of the answer.
        self.key = key_of(self.holder, self.path, self.headers, (), self.body, self.value)


class Lookup(Protocol):
    """Finds an answer to a question."""

    async def find(self, question: CacheQuestion) -> StoredAnswer | None:
        """The stored answer; None where there is none, or where it cannot be had in time. Never an error."""


class Answers(Lookup, Protocol):
    """A place where answers are kept as well."""

    @property
    def size(self) -> int:
        """Bytes of the answers in it, as far as this process knows."""

    @property
    def failures_total(self) -> int:
        """How often it could not be used."""

    def keep(self, question: CacheQuestion, answer: StoredAnswer) -> None:
        """Have *answer* found for *question* from now on; nothing where that is not possible. Never an error."""

    def obey(self, ttl: float, max_size: int) -> None:
        """Keep answers for *ttl* seconds from now on, in *max_size* bytes of memory."""

    def forget(self, model: str | None, principal: str | None) -> int:
        """Let go what this process alone holds, of *model* and *principal* (None: of any); returns how many."""

    async def clear(self, model: str | None, principal: str | None) -> int:
        """The same with what is held elsewhere for all processes. `Unreachable` where that cannot be done."""

    async def stop(self) -> None:
        """Finish what is being written, and close what was opened."""


class Unreachable(Exception):
    """What keeps the answers does not answer."""
