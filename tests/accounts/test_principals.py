"""Who a key belongs to, and what it opens."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.accounts.keys import KeyRecord
from proxy.accounts.principals import ANYONE, Principal, Principals
from proxy.accounts.secret import digest
from proxy.core import clock
from proxy.settings import Budget, ClientKey, KeyLimits

NO_LIMITS = KeyLimits.model_validate({})
LIMITS = KeyLimits.model_validate({"concurrent": 3})
BUDGET = Budget.model_validate({"tokens": 1000, "per": "month"})
START = datetime(2026, 1, 1, tzinfo=UTC)


def file_key(name: str, key: str, **more: object) -> ClientKey:
    return ClientKey.model_validate({"name": name, "key": key, **more})


def stored(name: str, secret: str, previous: str | None = None, **more: object) -> KeyRecord:
    record = KeyRecord(
        name=name,
        team="",
        prefix=secret[:10],
        models=("*",),
        routes=("*",),
        limits=NO_LIMITS,
        budget=None,
        created=START,
        expires=None,
        revoked=None,
        previous_expires=None,
        digest=digest(secret),
        previous_digest=None if previous is None else digest(previous),
        seq=1,
    )
    return replace(record, **more)  # type: ignore[arg-type]  # values of any field


class Wall:
    """The wall clock, moved by hand."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    hand = Wall()
    monkeypatch.setattr(clock, "wall", hand)
    return hand


def found(principals: Principals, *keys: str) -> list[str | None]:
    return [None if principal is None else principal.name for principal in map(principals.find, keys)]


def test_a_key_of_the_file_opens_what_it_says() -> None:
    key = file_key("web", "k1", team="shop", models=["gpt-*"], routes=["/v1/chat/*"], limits=LIMITS, budget=BUDGET)
    principals = Principals([key], None)
    assert principals.find("k1") == Principal("web", "shop", ("gpt-*",), ("/v1/chat/*",), LIMITS, BUDGET)
    assert found(principals, "k2", "", "K1", "k1 ", "\udcff") == [None] * 5


def test_a_key_of_the_store_opens_what_it_says() -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("web", "s", team="shop", models=("o1",), routes=("/v1/x",), limits=LIMITS, budget=BUDGET)])
    assert principals.find("s") == Principal("web", "shop", ("o1",), ("/v1/x",), LIMITS, BUDGET)
    assert len(principals) == 1


def test_models_and_routes_are_names_or_globs() -> None:
    narrow = Principal("web", models=("gpt-4o", "claude-*"), routes=("/v1/embeddings", "/v1/chat/*"))
    assert narrow.restricted
    assert [narrow.may_use(model) for model in ("gpt-4o", "claude-5", "gpt-4", "GPT-4o")] == [True, True, False, False]
    paths = ("/v1/embeddings", "/v1/chat/completions", "/v1/embeddings/x", "/v1/files")
    assert [narrow.may_call(path) for path in paths] == [True, True, False, False]
    assert not ANYONE.restricted
    assert ANYONE.may_use("anything")
    assert ANYONE.may_call("/anything")
    assert not Principal("none", models=(), routes=()).may_use("x")


def test_who_is_not_limited_shares_what_says_so() -> None:
    assert Principal("a").limits is Principal("b").limits
    assert not Principal("a").limits.any


@pytest.mark.as_python  # turns the clock
def test_an_expired_key_opens_nothing(wall: Wall) -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("web", "s", expires=START + timedelta(hours=1))])
    wall.time += timedelta(minutes=59)
    assert found(principals, "s") == ["web"]
    wall.time += timedelta(minutes=1)
    assert found(principals, "s") == [None]


@pytest.mark.as_python  # turns the clock
def test_the_secret_before_a_rotation_is_good_for_the_overlap(wall: Wall) -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("web", "old")])
    principals.put([stored("web", "new", "old", previous_expires=START + timedelta(hours=1))])
    assert found(principals, "old", "new") == ["web", "web"]
    assert len(principals) == 1
    wall.time += timedelta(hours=1)
    assert found(principals, "old", "new") == [None, "web"]


@pytest.mark.as_python  # turns the clock
def test_a_rotation_prolongs_no_expiry(wall: Wall) -> None:
    principals = Principals([], None, has_store=True)
    ends = START + timedelta(minutes=1)
    principals.put([stored("web", "new", "old", expires=ends, previous_expires=START + timedelta(hours=1))])
    assert found(principals, "old", "new") == ["web", "web"]
    wall.time = ends
    assert found(principals, "old", "new") == [None, None]


def test_a_rotation_without_overlap_ends_the_old_secret() -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("web", "old")])
    principals.put([stored("web", "new")])
    assert found(principals, "old", "new") == [None, "web"]


def test_a_revoked_key_opens_nothing_with_any_of_its_secrets() -> None:
    principals = Principals([], None, has_store=True)
    overlap = clock.wall() + timedelta(days=1)
    principals.put([stored("web", "new", "old", previous_expires=overlap), stored("other", "s")])
    principals.put([stored("web", "new", revoked=START)])
    assert found(principals, "new", "old", "s") == [None, None, "other"]
    assert len(principals) == 1


def test_keys_that_open_nothing_are_not_remembered() -> None:
    principals = Principals([file_key("web", "hpx_web_0123456789abcdef")], None)
    assert principals.find("hpx_web_0123456789abcdef") is not None
    for number in range(100):
        assert principals.find(f"hpx_bogus_{number}") is None
    assert list(principals._hashed) == ["hpx_web_0123456789abcdef"]
    principals.replace_file_keys([], None)
    assert principals.find("hpx_web_0123456789abcdef") is None


def test_a_key_of_the_file_hides_the_one_of_the_store_with_its_name_or_secret() -> None:
    principals = Principals([file_key("web", "f")], None, has_store=True)
    principals.put([stored("web", "s"), stored("other", "f")])
    assert found(principals, "f", "s") == ["web", None]
    principals.replace_file_keys([], None)
    assert found(principals, "f", "s") == ["other", "web"]


def test_a_reload_exchanges_the_keys_of_the_file_and_leaves_those_of_the_store() -> None:
    principals = Principals([file_key("a", "1")], "admin-1", has_store=True)
    principals.put([stored("s", "s")])
    principals.replace_file_keys([file_key("b", "2")], "admin-2")
    assert found(principals, "1", "2", "s") == [None, "b", "s"]
    assert (principals.is_admin("admin-1"), principals.is_admin("admin-2")) == (False, True)
    principals.replace_file_keys([], None)
    assert (found(principals, "2"), principals.has_admin, principals.is_admin("admin-2")) == ([None], False, False)
    assert not principals.open


def test_keys_of_another_store_take_the_place_of_all_there_were() -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("a", "1"), stored("b", "2")])
    principals.replace_store_keys([stored("c", "3")])
    assert found(principals, "1", "2", "3") == [None, None, "c"]
    principals.replace_store_keys([])
    assert not principals.open


def test_every_principal_is_told_of_once() -> None:
    principals = Principals([file_key("a", "1")], None, has_store=True)
    overlap = START + timedelta(days=1)
    principals.put([stored("a", "2"), stored("b", "3", "4", previous_expires=overlap), stored("c", "5", revoked=START)])
    assert sorted(principal.name for principal in principals.all()) == ["a", "b"]


def test_no_caller_needs_a_key_where_there_is_none() -> None:
    assert Principals([], None).open
    assert not Principals([], None, may_be_open=False).open
    assert not Principals([file_key("a", "1")], None).open
    principals = Principals([file_key("a", "1")], "admin")
    principals.replace_file_keys([], "admin")
    assert principals.open


def test_it_is_not_open_until_the_store_was_read_and_had_no_key() -> None:
    principals = Principals([], None, has_store=True)
    assert not principals.open
    principals.put([])
    assert principals.open
    assert not Principals([], None, may_be_open=False, has_store=True).open


def test_it_never_opens_again_once_the_store_had_a_key() -> None:
    principals = Principals([], None, has_store=True)
    principals.put([stored("web", "s", revoked=START)])
    assert not principals.open
    principals.put([])
    assert not principals.open


def test_the_admin_key_is_no_client_key() -> None:
    principals = Principals([], "root", has_store=True)
    assert principals.has_admin
    assert [principals.is_admin(key) for key in ("root", "roo", "", "\udcff")] == [True, False, False, False]
    assert principals.find("root") is None


def test_no_secret_is_in_its_text() -> None:
    principals = Principals([file_key("web", "hunter2")], "hunter3")
    assert repr(principals) == "<Principals [1 in the file, 0 in the store]>"
    assert "hunter" not in repr(principals.find("hunter2"))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_hundred_thousand_keys_take_less_than_120_megabytes() -> None:
    def records() -> Iterator[KeyRecord]:
        for number in range(100_000):
            yield stored(f"key-{number}", f"secret-{number}", f"old-{number}", previous_expires=clock.wall() + day)

    day = timedelta(days=1)
    principals = Principals([], None, has_store=True)
    gc.collect()
    before = resident()
    principals.put(records())
    gc.collect()
    assert resident() - before < 120e6
    assert found(principals, "secret-99999", "old-5", "secret-100000") == ["key-99999", "key-5", None]
