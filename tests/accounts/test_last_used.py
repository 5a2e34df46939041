"""When a key was used last, by what the ledger holds, in SQLite and PostgreSQL."""

from datetime import UTC, timedelta

import pytest
from sqlalchemy import text

from proxy.accounts import keys as of_keys
from proxy.accounts.keys import Keys
from proxy.accounts.store import Store
from tests.accounts.test_usage import NOON, row, written


async def test_it_is_the_beginning_of_the_last_call_whatever_became_of_it(store: Store, keys: Keys) -> None:
    await written(
        store,
        row(1, NOON, principal="web"),
        row(2, NOON + timedelta(milliseconds=1), principal="web", outcome="pending"),
        row(3, NOON - timedelta(days=30), principal="cron", outcome="failed"),
        row(4, NOON + timedelta(days=1), principal="webs"),
    )
    assert await keys.last_used(["web", "cron", "never"]) == {
        "web": NOON + timedelta(milliseconds=1),
        "cron": NOON - timedelta(days=30),
    }
    assert await keys.last_used([]) == {}


@pytest.mark.parametrize("together", [1, 7, 100])
async def test_of_many_keys_each_has_its_own(
    store: Store, keys: Keys, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(of_keys, "ASKED_TOGETHER", together)
    names = [f"key-{number}" for number in range(150)]
    await written(
        store, *(row(n, NOON + timedelta(seconds=n), principal=name) for n, name in enumerate(names) if n % 3)
    )
    used = await keys.last_used(names)
    assert used == {name: NOON + timedelta(seconds=n) for n, name in enumerate(names) if n % 3}
    assert all(moment.tzinfo is UTC for moment in used.values())


async def test_an_index_is_looked_into_and_no_row_is_read(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    await store.open()
    try:
        async with store.reading() as connection:
            asked = "EXPLAIN QUERY PLAN SELECT max(started) FROM usage WHERE principal = 'web'"
            (plan,) = (await connection.execute(text(asked))).all()
        assert "USING COVERING INDEX usage_principal_started" in plan.detail
        assert await Keys(store).last_used(["web"]) == {}
    finally:
        await store.close()
