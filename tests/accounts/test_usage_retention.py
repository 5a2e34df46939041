"""Retention: old rows go, young ones stay, and no call waits for it."""

import logging
from datetime import timedelta

import pytest

from proxy.accounts import retention as module
from proxy.accounts.retention import Retention
from proxy.accounts.store import Store
from proxy.core import clock
from tests.accounts.calls import rows
from tests.accounts.test_usage import row, written
from tests.spec.wire import becomes

DAY = timedelta(days=1)


async def test_rows_older_than_kept_are_deleted_pending_ones_as_well(store: Store) -> None:
    now = clock.wall()
    await written(
        store, row(1, now - 31 * DAY), row(2, now - 31 * DAY, outcome="pending"), row(3, now - 29 * DAY), row(4, now)
    )
    retention = Retention(store, 30 * DAY.total_seconds())
    assert await retention.delete() == 2
    assert [found["id"] for found in await rows(store)] == ["00000003", "00000004"]
    assert await retention.delete() == 0


async def test_many_rows_are_deleted_a_little_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    monkeypatch.setattr(module, "BREATH", 0.0)
    now = clock.wall()
    await written(store, *(row(n, now - 40 * DAY) for n in range(30)), row(99, now))
    assert await Retention(store, 30 * DAY.total_seconds()).delete() == 30
    assert len(await rows(store)) == 1


async def test_it_looks_by_itself_and_goes_on_after_a_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_WITHIN", 0.0)
    monkeypatch.setattr(module, "EVERY", 0.01)
    await written(store, row(1, clock.wall() - 40 * DAY))
    away = Store("postgresql://nobody:x@127.0.0.1:1/none", timeout=1)
    retentions = [Retention(each, 30 * DAY.total_seconds()) for each in (store, away)]
    with caplog.at_level(logging.INFO, "hapax"):
        for retention in retentions:
            await retention.start()
        done = "usage ledger: 1 rows deleted that were older than store.retention"
        await becomes(lambda: done in caplog.messages)
        await becomes(lambda: sum("cannot be deleted" in message for message in caplog.messages) > 1)
        for retention in retentions:
            await retention.stop()
    assert await rows(store) == []
    await away.close()


async def test_with_0_nothing_is_ever_deleted(store: Store) -> None:
    await written(store, row(1, clock.wall() - 4000 * DAY))
    retention = Retention(store, 0.0)
    await retention.start()
    await retention.stop()
    assert len(await rows(store)) == 1


async def test_another_age_holds_from_the_next_look_on_which_comes_soon(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_WITHIN", 0.0)
    now = clock.wall()
    await written(store, row(1, now - 40 * DAY), row(2, now - 20 * DAY), row(3, now))
    retention = Retention(store, 0.0)
    await retention.start()
    with caplog.at_level(logging.INFO, "hapax"):
        for days in (30, 10):
            retention.keep_for(days * DAY.total_seconds(), 0.0)
            await becomes(lambda: len(caplog.messages) == 1)
            caplog.clear()
    retention.keep_for(0.0, 0.0)
    await retention.stop()
    assert [found["id"] for found in await rows(store)] == ["00000003"]
