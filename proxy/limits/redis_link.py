"""
One connection to Redis that runs one script, with a deadline on everything.

Only one caller at a time may use it, and that caller is never a request's own task: a client that leaves cannot leave
an answer behind for another call. It does not decide when to try again, except where a connection turns out closed.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

import hiredis
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError

from proxy.limits.redis_script import SCRIPT, SHA

HELD_UP = 0.02
"""Seconds by which this process may be late to see that a deadline has come; beyond, Redis has so many more."""
TURNS = 3
"""Turns of the event loop in which an answer that has arrived is read, and the task that waits for it goes on."""


Pool = TypeVar("Pool", bound=ConnectionPool)


class Unavailable(Exception):
    """Redis did not answer in time, or not as it should; the text names the kind of failure and nothing else."""


def pool_of(kind: type[Pool], url: str, **more: Any) -> Pool:
    """
    Connections to *url*, as redis-py reads it, else `ValueError`; *more* is for that *kind*. The client's own timeouts
    and retries are off: who uses them keeps one deadline over all of it.
    """
    try:
        return kind.from_url(
            url,
            protocol=2,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=None,
            health_check_interval=0,
            retry=Retry(NoBackoff(), 0),
            **more,
        )
    except ValueError:
        # Its text quotes parts of the address, where a password may be.
        raise ValueError("not an address of Redis: redis://host:port/number, rediss://... or unix://...") from None


class RedisLink:
    """A connection that is made when it is needed."""

    def __init__(self, url: str) -> None:
        """*url* as redis-py reads it. Raises `ValueError` when it cannot."""
        self._pool = pool_of(ConnectionPool, url)
        self._connection: AbstractConnection | None = None
        self._timer: asyncio.Handle | None = None
        self.round_trips_total = 0
        """Messages sent, answered or not."""

    async def run(self, arguments: Iterable[Any], deadline: float) -> bytes:
        """
        What the script answers to *arguments* (the number of keys, keys and values), which is safe to be asked twice.
        Raises `Unavailable`, at *deadline* (in the loop's time) if not before; later where this process was held up.
        """
        try:
            async with asyncio.timeout(None) as scope:
                self._timer = asyncio.get_running_loop().call_at(deadline, self._expire, scope, deadline)
                try:
                    answer = await self._ask(arguments)
                except Disconnected:
                    # It may have been closed while it was idle.
                    await self.close(wait=False)
                    answer = await self._ask(arguments)
                finally:
                    self._timer.cancel()
        except BaseException as error:
            await self.close(wait=False)
            if isinstance(error, Exception):
                # Whatever it is, no call may be kept waiting for it; its text may tell the address, or worse.
                raise Unavailable(type(error).__name__) from None
            raise
        if not isinstance(answer, bytes):
            await self.close(wait=False)
            raise Unavailable("unexpected answer")
        return answer

    async def close(self, wait: bool = True) -> None:
        """End the connection, and where it matters *wait* until it is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=not wait)

    def _expire(self, scope: asyncio.Timeout, deadline: float, turns: int = TURNS) -> None:
        """The *deadline* has come. What is here by now is read before it counts: this process itself may be late."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - deadline > HELD_UP:
            # What held it up may have held up Redis as well.
            self._timer = loop.call_at(now + HELD_UP, self._expire, scope, now + HELD_UP)
        elif turns:
            self._timer = loop.call_soon(self._expire, scope, deadline, turns - 1)
        else:
            scope.reschedule(now)

    async def _ask(self, arguments: Iterable[Any]) -> object:
        connection = self._connection
        if connection is None:
            self._connection = connection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # it is untyped
            await connection.connect()
        self.round_trips_total += 1
        await connection.send_packed_command(hiredis.pack_command(("EVALSHA", SHA, *arguments)), check_health=False)
        try:
            answer: object = await connection.read_response()
        except NoScriptError:
            await connection.send_packed_command(hiredis.pack_command(("EVAL", SCRIPT, *arguments)), check_health=False)
            answer = await connection.read_response()
        return answer
