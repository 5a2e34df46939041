"""
The keys of the store: made, listed, exchanged and revoked; and when a key was used last.

A secret is returned once, where it is made, and only its SHA-256 is kept. Nothing here decides who may do what.
"""

import asyncio
import builtins
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, TextClause, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.accounts import tables
from proxy.accounts.asked import NewKey
from proxy.accounts.secret import digest, mint, prefix
from proxy.accounts.store import Store
from proxy.core import clock
from proxy.settings import Budget, KeyLimits

_log = logging.getLogger("hapax")

ASKED_TOGETHER = 100
"""Names in one question for their last use; SQLite puts at most 500 together (SQLITE_MAX_COMPOUND_SELECT)."""
READ_TOGETHER = 500
"""Rows that are read between two turns of the event loop: some 5 ms."""

_COLUMNS = tuple(tables.keys.c)
_VERSION = select(tables.versions.c.value).where(tables.versions.c.name == "keys")
_COUNT_UP = (
    update(tables.versions)
    .where(tables.versions.c.name == "keys")
    .values(value=tables.versions.c.value + 1)
    .returning(tables.versions.c.value)
)


class KeyExists(Exception):
    """There is a key of that name, revoked or not."""


class KeyNotFound(Exception):
    """There is no key of that name."""


class KeyRevoked(KeyNotFound):
    """There was a key of that name."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key as the store holds it, without its secret. Moments are in UTC; None: never."""

    name: str
    team: str
    prefix: str
    """How its secret begins."""
    models: tuple[str, ...]
    """Names and globs."""
    routes: tuple[str, ...]
    """Paths and globs."""
    limits: KeyLimits
    budget: Budget | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    previous_expires: datetime | None
    """Until when the secret before the present one is good as well."""
    digest: bytes = field(repr=False)
    previous_digest: bytes | None = field(repr=False)
    seq: int
    """Greater than that of every key that was changed before."""
    cache: bool = True
    """Its calls may have stored answers, where there are any."""


class Keys:
    """The keys in one store. Every method raises `StoreError` when it cannot be used."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, new: NewKey) -> tuple[KeyRecord, str]:
        """A new key and its secret; `KeyExists` where the name is taken."""
        secret = mint()
        values = {
            "name": new.name,
            "digest": digest(secret),
            "prefix": prefix(secret),
            "team": new.team,
            "models": json.dumps(new.models),
            "routes": json.dumps(new.routes),
            "limits": new.limits.model_dump_json(),
            "budget": None if new.budget is None else new.budget.model_dump_json(),
            "created": _milliseconds(clock.wall()),
            "expires": None if new.expires is None else _milliseconds(new.expires),
            "cache": int(new.cache),
        }
        async with self._store.writing() as connection:
            values["seq"] = await _next_seq(connection)
            try:
                row = (await connection.execute(insert(tables.keys).values(values).returning(*_COLUMNS))).one()
            except IntegrityError:
                raise KeyExists(new.name) from None
        return _record(row), secret

    async def list(self) -> builtins.list[KeyRecord]:
        """Every key, by name."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(select(*_COLUMNS).order_by(tables.keys.c.name))).all()
        records: builtins.list[KeyRecord] = []
        for first in range(0, len(rows), READ_TOGETHER):
            records += map(_record, rows[first : first + READ_TOGETHER])
            await asyncio.sleep(0)
        return records

    async def get(self, name: str) -> KeyRecord:
        """The key called *name*; `KeyNotFound`."""
        async with self._store.reading() as connection:
            return _record(await _row(connection, name))

    async def rotate(self, name: str, overlap_seconds: float) -> tuple[KeyRecord, KeyRecord, str]:
        """
        The key called *name* as it was, the same with a new secret, and that; the present secret is good for
        *overlap_seconds* more, the one before it no longer. `KeyNotFound`; `KeyRevoked`.
        """
        secret = mint()
        async with self._store.writing() as connection:
            seq = await _next_seq(connection)
            row = await _row(connection, name)
            if row.revoked is not None:
                raise KeyRevoked(name)
            changes = {"digest": digest(secret), "prefix": prefix(secret), "previous_digest": None, "seq": seq}
            changes["previous_until"] = None
            if overlap_seconds > 0:
                until = clock.wall() + timedelta(seconds=overlap_seconds)
                changes |= {"previous_digest": row.digest, "previous_until": _milliseconds(until)}
            return _record(row), _record(await _changed(connection, name, changes)), secret

    async def revoke(self, name: str) -> tuple[KeyRecord, KeyRecord]:
        """End the key called *name* for good; as it was, and as it is. The same where that was done. `KeyNotFound`."""
        async with self._store.writing() as connection:
            seq = await _next_seq(connection)
            before = row = await _row(connection, name)
            if row.revoked is None:
                changes = {"revoked": _milliseconds(clock.wall()), "previous_digest": None, "previous_until": None}
                row = await _changed(connection, name, {**changes, "seq": seq})
            return _record(before), _record(row)

    async def last_used(self, names: Sequence[str]) -> dict[str, datetime]:
        """
        When the last call began that the ledger holds of each of *names*, be they keys of the store or of the file;
        nothing of one without any, or whose calls are older than rows are kept. One look into an index for each.
        """
        used = {}
        async with self._store.reading() as connection:
            for first in range(0, len(names), ASKED_TOGETHER):
                asked = names[first : first + ASKED_TOGETHER]
                parameters = {f"name{place}": name for place, name in enumerate(asked)}
                for place, at in await connection.execute(_last_used(len(asked)), parameters):
                    if at is not None:
                        used[asked[place]] = _moment(at)
        return used

    async def version(self) -> int:
        """How many changes of keys there have been; it moves with every one."""
        async with self._store.reading() as connection:
            return int((await connection.execute(_VERSION)).scalar_one())

    async def changed_since(self, seq: int, most: int | None = None) -> builtins.list[KeyRecord]:
        """
        The keys whose last change came after *seq*, in that order, at most *most*. One that cannot be read counts as
        revoked: it must not keep the changes of other keys from being seen, nor go on as it was.
        """
        query = select(*_COLUMNS).where(tables.keys.c.seq > seq).order_by(tables.keys.c.seq).limit(most)
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        records = []
        for row in rows:
            try:
                records.append(_record(row))
            except ValueError:
                _log.error("key %a in the store cannot be read and counts as revoked", row.name)
                emptied = {"models": "[]", "routes": "[]", "limits": "{}", "budget": None, "revoked": row.created}
                records.append(_record(_Emptied(row, emptied)))
        return records


@lru_cache(ASKED_TOGETHER)
def _last_used(number: int) -> TextClause:
    """
    The question for the last use of `:name0`, `:name1` and so on, *number* names in all; rows of place and moment.
    Written out, and once: to put it together of objects takes 5 ms each time. Grouped by name it would read every row.
    """
    asked = (f"SELECT {place}, max(started) FROM usage WHERE principal = :name{place}" for place in range(number))
    return text(" UNION ALL ".join(asked))


async def _next_seq(connection: AsyncConnection) -> int:
    """The number of a change. Asked for first, so that changes are made one after the other and in this order."""
    return int((await connection.execute(_COUNT_UP)).scalar_one())


async def _row(connection: AsyncConnection, name: str) -> Row[Any]:
    row = (await connection.execute(select(*_COLUMNS).where(tables.keys.c.name == name))).one_or_none()
    if row is None:
        raise KeyNotFound(name)
    return row


async def _changed(connection: AsyncConnection, name: str, changes: dict[str, Any]) -> Row[Any]:
    changing = update(tables.keys).where(tables.keys.c.name == name).values(changes).returning(*_COLUMNS)
    return (await connection.execute(changing)).one()


def _record(row: Any) -> KeyRecord:
    """The record of a row; `ValueError` for what this program did not write."""
    return KeyRecord(
        name=row.name,
        team=sys.intern(row.team),
        prefix=row.prefix,
        models=_texts(row.models),
        routes=_texts(row.routes),
        limits=_limits(row.limits),
        budget=None if row.budget is None else _budget(row.budget),
        created=_moment(row.created),
        expires=None if row.expires is None else _moment(row.expires),
        revoked=None if row.revoked is None else _moment(row.revoked),
        previous_expires=None if row.previous_until is None else _moment(row.previous_until),
        digest=row.digest,
        previous_digest=row.previous_digest,
        seq=row.seq,
        cache=bool(row.cache),
    )


class _Emptied:
    """A row with other values in some columns."""

    def __init__(self, row: Row[Any], values: dict[str, Any]) -> None:
        self.__dict__.update(row._mapping, **values)


# Many keys have the same of these. Each is read once and shared: most of the memory and time of a big store.


@lru_cache(4096)
def _texts(written: str) -> tuple[str, ...]:
    texts = json.loads(written)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("not a list of texts")
    return tuple(sys.intern(text) for text in texts)


@lru_cache(4096)
def _limits(written: str) -> KeyLimits:
    return KeyLimits.model_validate(_known(KeyLimits.model_fields, written))


@lru_cache(4096)
def _budget(written: str) -> Budget:
    return Budget.model_validate(_known(Budget.model_fields, written))


def _known(fields: dict[str, Any], written: str) -> dict[str, Any]:
    """What a newer release may have added beside these fields is left out."""
    values = json.loads(written)
    if not isinstance(values, dict):
        raise ValueError("not an object")
    return {name: value for name, value in values.items() if name in fields}


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
