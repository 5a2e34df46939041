"""
A folder of dated backups, of which the newest few are kept, as a timer makes them.

Names and choices only; how a backup is made, and that it is whole or not there at all, is `backup`'s business.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxy.accounts.backup import WITHIN, BackupError, Progress, back_up
from proxy.accounts.store import Store
from proxy.core import clock

_NAME = re.compile(r"hapax-\d{8}T\d{6}\.\d{3}Z\.db")
_PARTIAL = re.compile(r"\.hapax-\d{8}T\d{6}\.\d{3}Z\.db\.\d+\.tmp(-journal)?")


@dataclass(frozen=True, slots=True)
class Dated:
    """What came of one run."""

    file: Path
    """The backup."""
    counts: dict[str, int]
    """How many rows each table in it has."""
    kept: int
    """Backups in the folder now, this one included, as far as the folder can be read."""
    removed: int
    """Older ones that had to go."""
    unremovable: str
    """A file that had to go and is still there, or the folder, and why; empty where there is none."""


def name_at(moment: datetime) -> str:
    """What a backup of *moment*, in UTC, is called; names come in the order of their moments."""
    return f"hapax-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.db"


def surplus(names: Iterable[str], made: str, keep: int) -> list[str]:
    """
    Which of the files in a folder have to go so that *keep* backups are left: the oldest by their names. *made*, the
    one that was just made, stays whatever the names of the others say, and what is no dated backup is never named.
    """
    others = sorted(name for name in names if name != made and _NAME.fullmatch(name))
    return others[: max(0, len(others) - (keep - 1))]


async def back_up_dated(store: Store, folder: Path, keep: int, progress: Progress | None = None) -> Dated:
    """
    Write the state the store has now to a new file in *folder*, then remove all but the newest *keep* of such files. No
    backup is removed for one that could not be made, and one that cannot be removed is no failure of the new one.
    `BackupError`, `StoreError`.
    """
    _refuse_what_is_no_folder(folder)
    made = name_at(clock.wall())
    counts = await back_up(store, folder / made, progress=progress)
    kept, removed, unremovable = _thinned(folder, made, keep)
    return Dated(folder / made, counts, kept, removed, unremovable)


def _refuse_what_is_no_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise BackupError(f"{folder} is no folder that is there; make it (mkdir -p {folder}), or correct the path")


def _thinned(folder: Path, made: str, keep: int) -> tuple[int, int, str]:
    """
    Remove what is too many beside *made*; how many backups are left, how many are gone, and why not all are that had
    to go.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        # A disk that fails now has taken the backup before.
        return 1, 0, f"{folder}: {error.strerror}"
    old = surplus(names, made, keep)
    removed, unremovable = 0, ""
    for name in names:
        try:
            if name in old or _is_abandoned(folder / name):
                (folder / name).unlink(missing_ok=True)
                removed += name in old
        except OSError as error:
            unremovable = f"{name}: {error.strerror}"
    return sum(_NAME.fullmatch(name) is not None for name in names) - removed, removed, unremovable


def _is_abandoned(path: Path) -> bool:
    """Whether it is what a backup that was killed has left: half of a file, written to by no process any more."""
    try:
        return _PARTIAL.fullmatch(path.name) is not None and path.stat().st_mtime < clock.wall().timestamp() - WITHIN
    except FileNotFoundError:
        return False
