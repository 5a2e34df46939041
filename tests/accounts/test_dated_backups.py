"""A folder of dated backups: which are kept, and what never counts as one."""

import errno
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.accounts.backup import WITHIN, BackupError
from proxy.accounts.dated_backups import back_up_dated, name_at, surplus
from proxy.accounts.store import Store

NOON = datetime(2026, 11, 30, 12, 0, 0, 7_000, UTC)
PARTIAL = f".{name_at(NOON)}.4711.tmp"


def names(count: int) -> list[str]:
    """So many backups of one hour after the other, the oldest first."""
    return [name_at(NOON.replace(hour=hour)) for hour in range(count)]


def test_names_come_in_the_order_of_their_moments() -> None:
    assert name_at(NOON) == "hapax-20261130T120000.007Z.db"
    assert names(24) == sorted(names(24))


def test_the_oldest_go_and_the_newest_stay() -> None:
    old = names(5)
    assert surplus(reversed(old), old[-1], 3) == old[:2]
    assert surplus(old, old[-1], 5) == []
    assert surplus(old, old[-1], 24) == []
    assert surplus(old, old[-1], 1) == old[:4]


def test_the_one_just_made_stays_though_a_clock_that_was_wrong_dated_others_later() -> None:
    old = names(3)
    made = name_at(NOON.replace(year=2020))
    assert surplus([*old, made], made, 2) == old[:2]


def test_what_is_no_dated_backup_is_not_counted_and_not_removed() -> None:
    foreign = ["hapax.db", "hapax-20261130T000000.db", "hapax-copy.db", f"{names(1)[0]}.old", PARTIAL]
    assert surplus([*foreign, *names(2)], names(2)[1], 2) == []
    assert surplus([*foreign, *names(2)], names(2)[1], 1) == names(1)


async def test_each_run_adds_one_and_removes_what_is_too_many(sqlite_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    store = Store(sqlite_url)
    for name in names(3):
        (folder / name).write_bytes(b"older")
    (folder / "notes.txt").write_text("by hand")
    made = await back_up_dated(store, folder, 3)
    assert (made.kept, made.removed) == (3, 1)
    assert made.file.read_bytes().startswith(b"SQLite format 3")
    assert sorted(os.listdir(folder)) == sorted([*names(3)[1:], made.file.name, "notes.txt"])
    await store.close()


async def test_half_of_a_file_is_removed_once_no_process_can_be_writing_it(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    young, old = tmp_path / PARTIAL, tmp_path / PARTIAL.replace("4711", "4712")
    for half in (young, old):
        half.write_bytes(b"half")
    os.utime(old, (0, time.time() - WITHIN - 60))
    made = await back_up_dated(store, tmp_path, 1)
    assert (made.kept, made.removed) == (1, 0)
    assert young.exists()
    assert not old.exists()
    await store.close()


async def test_a_folder_that_cannot_be_listed_afterwards_is_told_with_the_backup_that_was_made(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> list[str]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = Store(sqlite_url)
    monkeypatch.setattr(os, "listdir", broken)
    made = await back_up_dated(store, tmp_path, 1)
    assert (made.kept, made.removed, made.unremovable) == (1, 0, f"{tmp_path}: Input/output error")
    assert made.file.read_bytes().startswith(b"SQLite format 3")
    await store.close()


async def test_no_backup_goes_for_one_that_could_not_be_made(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    with pytest.raises(BackupError, match=r"away is no folder that is there; make it \(mkdir -p "):
        await back_up_dated(store, tmp_path / "away", 24)
    folder = tmp_path / "backups"
    folder.mkdir()
    for name in names(3):
        (folder / name).write_bytes(b"older")
    (tmp_path / "hapax.db").write_bytes(b"no database at all" * 100)
    broken = Store(sqlite_url)
    with pytest.raises(Exception, match="not a database"):
        await back_up_dated(broken, folder, 1)
    assert sorted(os.listdir(folder)) == names(3)
    await broken.close()
    await store.close()
