"""Which folders are watched, and that a change shows however a file is replaced."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from proxy.core import tasks
from proxy.process import watch as watching
from proxy.process.watch import names, paths, watch
from proxy.settings.files import digests
from tests.spec.loop import until


def config_map(folder: Path, number: int, content: str) -> None:
    """What the kubelet does (its AtomicWriter): a folder of its own for each version, and one link that is turned."""
    version = folder / f"..version_{number}"
    version.mkdir()
    (version / "hapax.yaml").write_text(content)
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / "hapax.yaml").is_symlink():
        (folder / "hapax.yaml").symlink_to("..data/hapax.yaml")


def test_the_folder_of_a_file_is_watched_and_that_of_every_link_on_the_way(tmp_path: Path) -> None:
    plain, mounted, elsewhere = (tmp_path / name for name in ("plain", "mounted", "elsewhere"))
    for each in (plain, mounted, elsewhere):
        each.mkdir()
    config_map(mounted, 1, "a")
    (elsewhere / "real").write_text("a")
    (plain / "linked").symlink_to(elsewhere / "real")
    assert names([str(plain / "hapax.yaml")]) == {str(plain): {"hapax.yaml"}}
    assert names([str(plain / "linked")]) == {str(elsewhere): {"real"}, str(plain): {"linked"}}
    version_1 = {str(mounted): {"hapax.yaml", "..data"}, str(mounted / "..version_1"): {"hapax.yaml"}}
    assert names([str(mounted / "hapax.yaml")]) == version_1
    config_map(mounted, 2, "b")
    version_2 = {str(mounted): {"hapax.yaml", "..data"}, str(mounted / "..version_2"): {"hapax.yaml"}}
    assert names([str(mounted / "hapax.yaml")]) == version_2


def test_of_a_folder_that_is_missing_the_one_above_is_watched(tmp_path: Path) -> None:
    assert names([str(tmp_path / "not" / "there" / "hapax.yaml")]) == {str(tmp_path): {"not"}}


def test_links_that_lead_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert names([str(tmp_path / "a")]) == {str(tmp_path): {"a", "b"}}


def test_in_a_busy_folder_the_files_are_watched_themselves(tmp_path: Path) -> None:
    (tmp_path / "hapax.yaml").write_text("a")
    watched = {str(tmp_path): {"hapax.yaml", "missing.yaml"}}
    assert paths(watched, ()) == [str(tmp_path)]
    assert paths(watched, {str(tmp_path)}) == [str(tmp_path / "hapax.yaml")]


@asynccontextmanager
async def seen(file: Path) -> AsyncIterator[Callable[[], int]]:
    """How many contents of *file* the watch has led to, the first one not counted."""
    contents: list[dict[str, str]] = []

    async def look() -> None:
        found = digests([str(file)])
        if not contents or contents[-1] != found:
            contents.append(found)

    task = tasks.start(watch(lambda: [str(file)], look), "watch")
    try:
        await until(lambda: contents)
        yield lambda: len(contents) - 1
    finally:
        task.cancel()
        await asyncio.wait((task,))


def in_place(file: Path, content: str) -> None:
    file.write_text(content)


def renamed_over(file: Path, content: str) -> None:
    beside = file.with_name("beside")
    beside.write_text(content)
    beside.replace(file)


def removed_and_written(file: Path, content: str) -> None:
    file.unlink()
    file.write_text(content)


def touched_as_before(file: Path, content: str) -> None:
    """With the size and the time it had: what looks at no more than these sees nothing."""
    before = file.stat()
    file.write_text(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("replaced", [in_place, renamed_over, removed_and_written, touched_as_before])
async def test_a_file_is_seen_to_change(replaced: Callable[[Path, str], None], tmp_path: Path) -> None:
    file = tmp_path / "hapax.yaml"
    file.write_text("a")
    async with seen(file) as changes:
        for number in range(3):
            replaced(file, f"{number}")
            await until(lambda number=number: changes() > number)


async def test_a_config_maps_turned_link_is_seen_again_and_again(tmp_path: Path) -> None:
    config_map(tmp_path, 0, "a")
    async with seen(tmp_path / "hapax.yaml") as changes:
        for number in range(1, 4):
            config_map(tmp_path, number, f"{number}")
            await until(lambda number=number: changes() >= number)


async def test_a_folder_that_comes_and_goes_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK", 0.05)
    file = tmp_path / "mounted" / "hapax.yaml"
    async with seen(file) as changes:
        file.parent.mkdir()
        file.write_text("a")
        await until(lambda: changes() == 1)
        file.unlink()
        file.parent.rmdir()
        await until(lambda: changes() == 2)
        file.parent.mkdir()
        file.write_text("b")
        await until(lambda: changes() == 3)


async def test_where_the_system_tells_nothing_a_look_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(*paths: str, **options: object) -> object:
        raise OSError("no space left on device: inotify watches")

    monkeypatch.setattr("watchfiles.watch", deaf)
    monkeypatch.setattr(watching, "LOOK", 0.01)
    file = tmp_path / "hapax.yaml"
    file.write_text("a")
    async with seen(file) as changes:
        file.write_text("b")
        await until(lambda: changes() == 1)


@pytest.mark.parametrize("replaced", [in_place, renamed_over, removed_and_written, touched_as_before])
async def test_beside_a_file_that_is_written_all_the_time_a_change_is_seen_and_the_writes_do_not_wake_the_process(
    replaced: Callable[[Path, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    real = watchfiles.watch

    def noted(*paths: str, **options: Any) -> Any:
        asked.append(paths)
        return real(*paths, **options)

    monkeypatch.setattr(watchfiles, "watch", noted)
    monkeypatch.setattr(watching, "LATEST", 0.1)
    monkeypatch.setattr(watching, "LOOK", 0.5)
    file, ledger = tmp_path / "hapax.yaml", tmp_path / "hapax.db-wal"
    file.write_text("a")

    async def write() -> None:
        while True:
            ledger.write_text("x")
            await asyncio.sleep(0.01)

    async with seen(file) as changes:
        writing = tasks.start(write(), "ledger")
        await until(lambda: asked[-1] == (str(file),))
        assert changes() == 0
        for number in range(3):
            replaced(file, f"{number}")
            await until(lambda number=number: changes() > number)
        writing.cancel()
