"""
SQLAlchemy's engine for PostgreSQL, and what its driver raises.

Imported where a store is in PostgreSQL: the driver and the dialect are four megabytes.
"""

from contextlib import suppress
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it brings no types
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

CONNECTIONS = 5
"""Connections of one process."""

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError)


class _ServerConnection(asyncpg.Connection):  # type: ignore[misc]  # Any to mypy
    """A connection to PostgreSQL whose giving up takes no time."""

    async def close(self, *, timeout: float | None = None) -> None:
        # SQLAlchemy gives a timeout where it throws away a connection in an unknown state. Taking leave of a server
        # that hangs would only hang as well.
        if timeout is not None:
            self.terminate()
            return
        with suppress(TimeoutError):
            await super().close(timeout=0.5)


def engine(url: str, timeout: float) -> AsyncEngine:
    """
    A small pool. *url* goes to the driver as it is, so that everything libpq understands (sslmode, passfile, several
    hosts, a socket's folder) works. A connection is tried before it is used: a server that came back heals the pool.
    """

    async def connect() -> Any:
        milliseconds = str(max(1, round(timeout * 1000)))
        try:
            return await asyncpg.connect(
                url,
                timeout=timeout,
                connection_class=_ServerConnection,
                server_settings={"application_name": "hapax", "statement_timeout": milliseconds},
            )
        except ValueError:
            # Its words may repeat a part of the URL.
            raise asyncpg.InterfaceError("the URL cannot be understood") from None

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=timeout,
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
    )
