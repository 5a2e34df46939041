"""
The tables of the store, as SQLAlchemy Core knows them, and how either dialect inserts into one.

A new database begins with them, and the migrations bring an older one there. Every moment is an integer, milliseconds
since the epoch in UTC, and every sum of money an integer, micro-USD, so that no value needs converting on its way in or
out.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),  # SHA-256 of the secret
    Column("previous_digest", LargeBinary),
    Column("previous_until", BigInteger),
    Column("prefix", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("models", Text, nullable=False),  # JSON, a list
    Column("routes", Text, nullable=False),  # JSON, a list
    Column("limits", Text, nullable=False),  # JSON, an object
    Column("budget", Text),  # JSON, an object
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("revoked", BigInteger),
    Column("seq", BigInteger, nullable=False),  # versions.value of the last change of this key
    Column("cache", Integer, nullable=False, server_default="1"),  # 0 or 1
    Index("keys_seq", "seq"),
)
"""The client keys; a revoked one keeps its row, so that its name is never another's in the ledger."""

versions = Table(
    "versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Counters of changes: what moved since a process last looked. The row `keys` counts the changes of keys."""

usage = Table(
    "usage",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("team", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("answered_model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("stream", Integer, nullable=False),  # 0 or 1
    Column("attempts", Integer, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("estimated", Integer, nullable=False),  # 0 or 1
    Column("cost", BigInteger),  # null: no price is known
    Column("ttft_ms", BigInteger),
    Column("duration_ms", BigInteger),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),  # `pending` while under way
    Column("error_code", Text, nullable=False),
    Column("ended", BigInteger),
    Column("cached", Integer, nullable=False, server_default="0"),  # 0 or 1: it got a stored answer
    Column("saved", BigInteger),  # what that answer had cost; null: there was none, or no price is known
    Index("usage_principal_started", "principal", "started"),
    Index("usage_started", "started"),
)
"""The ledger: one row for each call that was admitted."""

objects = Table(
    "objects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("account", Text, primary_key=True),  # of the provider's keys, a part of its SHA-256; empty: it has none
    Column("principal", Text, primary_key=True),  # whose key made it; empty where that is not known
    Column("team", Text, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Index("objects_used", "used"),
)
"""Where what accounts at providers keep lives: files, batches, responses and the like, by their ids."""


def insert_into(table: Table, dialect: Dialect) -> Any:
    """SQLAlchemy's `Insert` of *dialect*, which can say what to do where there is such a row already."""
    # One of them: PostgreSQL's dialect is two megabytes.
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]  # the same to us
    return insert(table)
