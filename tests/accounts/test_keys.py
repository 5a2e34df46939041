"""Keys in the store: made once, shown once, exchanged and ended."""

import asyncio
import itertools
import logging
import os
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from proxy.accounts.asked import NewKey
from proxy.accounts.keys import KeyExists, KeyNotFound, KeyRecord, KeyRevoked, Keys
from proxy.accounts.secret import digest, looks_minted, mint
from proxy.accounts.store import Store, StoreError
from proxy.core import clock
from proxy.settings import Budget, KeyLimits
from proxy.settings.secrets import weakness

LIMITS = KeyLimits.model_validate({"requests_per_minute": 600, "concurrent": 0})
BUDGET = Budget.model_validate({"usd": 12.5, "per": "week"})


def close_to_now(moment: datetime | None, ahead: float = 0) -> bool:
    return moment is not None and abs(moment - clock.wall() - timedelta(seconds=ahead)) < timedelta(seconds=10)


async def test_a_key_is_kept_as_it_was_made(keys: Keys) -> None:
    expires = datetime(2031, 2, 3, 4, 5, 6, 789000, UTC)
    new = NewKey(
        name="web-app", team="shop", models=("gpt-*", "o1"), routes=("/v1/chat/*",), limits=LIMITS, budget=BUDGET
    )
    record, secret = await keys.create(new.model_copy(update={"expires": expires}))
    assert record == KeyRecord(
        name="web-app",
        team="shop",
        prefix=secret[:10],
        models=("gpt-*", "o1"),
        routes=("/v1/chat/*",),
        limits=LIMITS,
        budget=BUDGET,
        created=record.created,
        expires=expires,
        revoked=None,
        previous_expires=None,
        digest=digest(secret),
        previous_digest=None,
        seq=1,
    )
    assert close_to_now(record.created)
    assert await keys.get("web-app") == record
    assert await keys.list() == [record]


async def test_a_key_may_be_made_of_its_name_alone(keys: Keys) -> None:
    record, _ = await keys.create(NewKey(name="plain"))
    assert (record.team, record.models, record.routes, record.budget, record.expires) == (
        "",
        ("*",),
        ("*",),
        None,
        None,
    )
    assert not record.limits.any


async def test_keys_are_listed_by_name(keys: Keys) -> None:
    for name in ("b", "c", "a"):
        await keys.create(NewKey(name=name))
    assert [record.name for record in await keys.list()] == ["a", "b", "c"]


async def test_a_name_is_taken_for_good(keys: Keys) -> None:
    first, _ = await keys.create(NewKey(name="one"))
    with pytest.raises(KeyExists):
        await keys.create(NewKey(name="one", team="other"))
    assert await keys.get("one") == first
    await keys.revoke("one")
    with pytest.raises(KeyExists):
        await keys.create(NewKey(name="one"))


async def test_of_many_who_want_a_name_at_once_one_gets_it(store_url: str) -> None:
    stores = [Store(store_url) for _ in range(4)]
    tried = await asyncio.gather(
        *(Keys(stores[number % 4]).create(NewKey(name=f"name-{number % 3}")) for number in range(24)),
        return_exceptions=True,
    )
    made = [result for result in tried if not isinstance(result, BaseException)]
    assert sorted(record.name for record, _ in made) == ["name-0", "name-1", "name-2"]
    assert {type(result) for result in tried if isinstance(result, BaseException)} == {KeyExists}
    assert sorted(record.seq for record, _ in made) == [1, 2, 3]
    await asyncio.gather(*(store.close() for store in stores))


async def test_two_keys_never_have_one_secret(keys: Keys, store: Store) -> None:
    await keys.create(NewKey(name="a"))
    await keys.create(NewKey(name="b"))
    with pytest.raises(StoreError, match=r"UNIQUE|unique"):
        async with store.writing() as connection:
            await connection.execute(text("UPDATE keys SET digest = (SELECT digest FROM keys WHERE name = 'a')"))


async def test_rotating_gives_a_new_secret_and_keeps_the_old_one_for_a_while(keys: Keys) -> None:
    made, old = await keys.create(NewKey(name="web", budget=BUDGET))
    _, rotated, new = await keys.rotate("web", 3600)
    assert new != old
    assert (rotated.digest, rotated.previous_digest) == (digest(new), digest(old))
    assert rotated.prefix == new[:10]
    assert close_to_now(rotated.previous_expires, 3600)
    assert (rotated.created, rotated.budget, rotated.seq) == (made.created, BUDGET, 2)
    assert await keys.get("web") == rotated


async def test_rotating_twice_ends_the_first_secret(keys: Keys) -> None:
    await keys.create(NewKey(name="web"))
    *_, second = await keys.rotate("web", 3600)
    _, rotated, _ = await keys.rotate("web", 3600)
    assert rotated.previous_digest == digest(second)


async def test_rotating_without_overlap_ends_the_old_secret_at_once(keys: Keys) -> None:
    await keys.create(NewKey(name="web"))
    await keys.rotate("web", 3600)
    _, rotated, _ = await keys.rotate("web", 0)
    assert (rotated.previous_digest, rotated.previous_expires) == (None, None)


async def test_rotations_at_once_are_made_one_after_the_other(keys: Keys) -> None:
    await keys.create(NewKey(name="web"))
    rotated = await asyncio.gather(*(keys.rotate("web", 60) for _ in range(10)))
    in_order = sorted((record for _, record, _ in rotated), key=lambda record: record.seq)
    assert [record.seq for record in in_order] == list(range(2, 12))
    for earlier, later in itertools.pairwise(in_order):
        assert later.previous_digest == earlier.digest


async def test_revoking_ends_a_key_for_good(keys: Keys) -> None:
    await keys.create(NewKey(name="web"))
    await keys.rotate("web", 3600)
    _, revoked = await keys.revoke("web")
    assert close_to_now(revoked.revoked)
    assert (revoked.previous_digest, revoked.previous_expires) == (None, None)
    _, again = await keys.revoke("web")
    assert (again.revoked, again.seq) == (revoked.revoked, revoked.seq)
    with pytest.raises(KeyRevoked):
        await keys.rotate("web", 0)
    assert [record.name for record in await keys.list()] == ["web"]


async def test_a_name_no_key_has_is_not_found_and_counts_as_no_change(keys: Keys) -> None:
    await keys.create(NewKey(name="web"))
    for work in (keys.get("nobody"), keys.rotate("nobody", 0), keys.revoke("nobody")):
        with pytest.raises(KeyNotFound):
            await work
    assert await keys.version() == 1


async def test_every_change_is_seen_by_who_asks_since_when(keys: Keys) -> None:
    assert await keys.version() == 0
    assert await keys.changed_since(0) == []
    for name in "abc":
        await keys.create(NewKey(name=name))
    seen = await keys.version()
    await keys.rotate("b", 0)
    await keys.revoke("a")
    await keys.create(NewKey(name="d"))
    assert await keys.version() == 6
    assert [(record.name, record.seq) for record in await keys.changed_since(seen)] == [("b", 4), ("a", 5), ("d", 6)]
    assert [record.name for record in await keys.changed_since(0, 2)] == ["c", "b"]
    assert await keys.changed_since(6) == []


async def test_a_change_that_failed_is_none(keys: Keys) -> None:
    await keys.create(NewKey(name="a"))
    with pytest.raises(KeyExists):
        await keys.create(NewKey(name="a"))
    assert await keys.version() == 1


async def test_an_unreadable_key_counts_as_revoked_and_hides_no_other(
    keys: Keys, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abcd":
        await keys.create(NewKey(name=name))
    async with store.writing() as connection:
        await connection.execute(text("UPDATE keys SET limits = 'nonsense' WHERE name = 'a'"))
        await connection.execute(text("UPDATE keys SET models = '{}' WHERE name = 'b'"))
        await connection.execute(text("""UPDATE keys SET budget = '{"usd": -1}' WHERE name = 'c'"""))
    with caplog.at_level(logging.ERROR, "hapax"):
        changed = await keys.changed_since(0)
    assert [(record.name, record.revoked is not None) for record in changed] == [
        ("a", True),
        ("b", True),
        ("c", True),
        ("d", False),
    ]
    assert len(caplog.records) == 3


async def test_what_a_newer_release_wrote_beside_is_left_out(keys: Keys, store: Store) -> None:
    await keys.create(NewKey(name="a"))
    async with store.writing() as connection:
        statement = text("UPDATE keys SET limits = :limits, budget = :budget")
        await connection.execute(
            statement,
            {
                "limits": '{"requests_per_minute": 5, "images_per_minute": 2}',
                "budget": '{"tokens": 7, "per": "day", "hard": true}',
            },
        )
    record = await keys.get("a")
    assert record.limits.requests_per_minute == 5
    assert record.budget == Budget.model_validate({"tokens": 7, "per": "day"})


async def test_a_secret_is_in_no_row_no_file_no_log_and_no_text(
    keys: Keys, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        record, first = await keys.create(NewKey(name="web"))
        _, rotated, second = await keys.rotate("web", 60)
        with pytest.raises(KeyExists):
            await keys.create(NewKey(name="web"))
    async with store.reading() as connection:
        rows = repr((await connection.execute(text("SELECT * FROM keys"))).all())
    shown = rows + caplog.text + repr((record, rotated, await keys.list(), keys, store))
    for name in os.listdir(tmp_path):
        shown += (tmp_path / name).read_bytes().decode("latin-1")
    for secret in (first, second):
        assert secret not in shown
        assert secret[10:30] not in shown


def test_a_secret_is_long_and_starts_as_every_secret_does() -> None:
    minted = {mint() for _ in range(1000)}
    assert len(minted) == 1000
    letters = set(string.ascii_letters + string.digits)
    for secret in minted:
        assert len(secret) == 50
        assert secret.startswith("hpx_")
        assert set(secret[4:]) <= letters
        assert weakness(secret) is None


def test_a_minted_secret_looks_minted() -> None:
    assert all(looks_minted(mint()) for _ in range(1000))


@given(st.text(max_size=60))
def test_made_up_secrets_do_not_look_minted(secret: str) -> None:
    assert not looks_minted(secret)


@given(st.integers(0, 49), st.sampled_from(string.ascii_letters + string.digits + "_\u00e9\udc80"))
def test_a_secret_with_a_slip_does_not_look_minted(place: int, letter: str) -> None:
    secret = mint()
    slipped = secret[:place] + letter + secret[place + 1 :]
    assert looks_minted(slipped) == (slipped == secret)
    assert not looks_minted(secret + letter)
    assert not looks_minted(secret[:-1])
