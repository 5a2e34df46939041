"""
Stored answers in Redis, shared by workers and machines; compressed, and gone by themselves when their time is over.

No call waits for Redis longer than `PATIENCE`: what does not come in time is not there. While Redis does not answer it
is asked once in `RETRY` seconds, and no call waits for it in between. How much room there is for answers is Redis's to
say (`maxmemory`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from proxy.cache.lookup import CacheQuestion, Unreachable
from proxy.cache.packed import LABEL, label, labelled, pack, unpack
from proxy.cache.stored_answer import StoredAnswer
from proxy.cache.written import Written
from proxy.core import clock, tasks
from proxy.limits.redis_link import pool_of

PATIENCE = 0.08
"""Seconds a call waits for Redis, as for limits."""
LAG = 0.02
"""Seconds by which this process's own lateness shows, rather than Redis's."""
WRITE_WITHIN = 2.0
"""Seconds in which an answer must have been taken."""
CLEAR_WITHIN = 60.0
"""Seconds in which all answers must have been looked at."""
RETRY = 1.0
"""Seconds between two tries while Redis does not answer."""
CONNECTIONS = 16
"""To Redis, of one process, at most."""
LARGE = 32 * 1024
"""Bytes from which on an answer is compressed and restored by a thread of its own, beside the calls."""
RESTORE_WITHIN = 1.0
"""Seconds that thread gets to restore one, where others keep it busy."""
AT_ONCE = 500
"""Answers looked at together when they are cleared."""

_PREFIX = b"hapax:answer:"
_log = logging.getLogger("hapax")


class RedisAnswers:
    """Answers by question."""

    def __init__(self, url: str, ttl: float, max_size: int, patience: float = PATIENCE) -> None:
        """
        *url* as redis-py reads it, else `ValueError`. *ttl*: seconds an answer is kept. *max_size*: bytes of answers
        that may wait to be written; what comes on top is not stored.
        """
        self._pool = pool_of(BlockingConnectionPool, url, max_connections=CONNECTIONS, timeout=None)
        self._redis = Redis.from_pool(self._pool)
        self._patience = patience
        self._taken = 0
        """Bytes of answers that wait to be written."""
        self.obey(ttl, max_size)
        self._writing: set[asyncio.Task[None]] = set()
        self._away = False
        self._refused = False
        """The last answer was not taken."""
        self._ask_again_at = 0.0
        self.failures_total = 0
        """Times Redis did not take or give an answer."""

    def obey(self, ttl: float, max_size: int) -> None:
        """Keep what is written from now on for *ttl* seconds; how much room there is for all says Redis."""
        self._room = max_size
        self._ttl = max(1, round(ttl * 1000))
        self._written = Written(ttl)

    def __repr__(self) -> str:
        return f"<RedisAnswers {'away' if self._away else 'there'}, {len(self._writing)} being written>"

    @property
    def size(self) -> int:
        """Bytes of the answers this process has put there within their time; some may have been replaced since."""
        return self._written.size(clock.now())

    async def find(self, question: CacheQuestion) -> StoredAnswer | None:
        if not self._may_ask():
            return None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        try:
            async with asyncio.timeout_at(deadline):
                packed = await self._redis.get(_name(question.key))
        except Exception as error:
            # Whatever it is, the call goes on. Where this process was late itself, Redis may have been in time.
            if not isinstance(error, TimeoutError) or loop.time() < deadline + LAG:
                self._failed(error)
            return None
        self._answered()
        if not isinstance(packed, bytes):
            return None
        if len(packed) < LARGE:
            return unpack(packed)
        try:
            async with asyncio.timeout(RESTORE_WITHIN):
                return await asyncio.to_thread(unpack, packed)
        except TimeoutError:
            return None

    def keep(self, question: CacheQuestion, answer: StoredAnswer) -> None:
        size = answer.size
        if self._taken + size <= self._room and self._may_ask():
            self._taken += size
            task = tasks.start(self._write(question.key, answer, size), "stored answer")
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    def forget(self, model: str | None, principal: str | None) -> int:
        """Nothing is held by this process alone."""
        return 0

    async def clear(self, model: str | None, principal: str | None) -> int:
        cleared = 0
        try:
            async with asyncio.timeout(CLEAR_WITHIN):
                async for names in self._names():
                    if model is not None or principal is not None:
                        names = [name async for name in self._of(names, model, principal)]
                    if names:
                        cleared += int(await self._redis.unlink(*names))
        except Exception as error:
            self._failed(error)
            raise Unreachable(type(error).__name__) from None
        self._answered()
        if model is None and principal is None:
            self._written.clear()
        return cleared

    async def stop(self) -> None:
        """Let what is being written arrive, and close the connections."""
        if self._writing:
            await asyncio.wait(set(self._writing))
        await self._redis.aclose()

    async def _write(self, key: bytes, answer: StoredAnswer, size: int) -> None:
        try:
            packed = pack(answer) if size < LARGE else await asyncio.to_thread(pack, answer)
            async with asyncio.timeout(WRITE_WITHIN):
                await self._redis.set(_name(key), packed, px=self._ttl)
            self._written.note(len(packed), clock.now())
            self._answered()
            self._refused = False
        except ResponseError as error:
            # It answers, so what it has can still be had: there is no room, or no right to write.
            self.failures_total += 1
            if not self._refused:
                self._refused = True
                _log.warning("stored answers: Redis takes no more (%s), see maxmemory", type(error).__name__)
        except Exception as error:
            self._failed(error)
        finally:
            self._taken -= size

    async def _names(self) -> AsyncIterator[list[bytes]]:
        """The names of all answers, some at a time."""
        cursor = 0
        while True:
            names: Any
            cursor, names = await self._redis.scan(cursor, match=_PREFIX + b"*", count=AT_ONCE)
            if names:
                yield list(names)
            if not cursor:
                return

    async def _of(self, names: Iterable[bytes], model: str | None, principal: str | None) -> AsyncIterator[bytes]:
        """Those of *names* whose answers are of *model* and *principal*."""
        names = list(names)
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.getrange(name, 0, LABEL - 1)
        for name, begin in zip(names, await pipe.execute(), strict=True):
            if labelled(
                begin, None if model is None else label(model), None if principal is None else label(principal)
            ):
                yield name

    def _may_ask(self) -> bool:
        """Whether a call may ask now: while Redis does not answer, one in a while may."""
        if self._away:
            now = clock.now()
            if now < self._ask_again_at:
                return False
            self._ask_again_at = now + RETRY
        return True

    def _answered(self) -> None:
        if self._away:
            self._away = False
            _log.info("stored answers: Redis answers again")

    def _failed(self, error: Exception) -> None:
        self.failures_total += 1
        self._ask_again_at = clock.now() + RETRY
        if not self._away:
            self._away = True
            # Its text may tell the address, or worse.
            _log.warning("stored answers: Redis does not answer (%s), providers are asked", type(error).__name__)


def _name(key: bytes) -> bytes:
    return _PREFIX + key.hex().encode("ascii")
