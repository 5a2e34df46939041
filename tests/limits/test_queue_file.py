"""The size of the queue, kept in a real file."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.limits.queue import Queue
from proxy.limits.queue_file import QueueFile
from tests.spec.wire import becomes

NEVER = 3600.0
"""An interval no test lives to see the end of."""
ALWAYS = 0.001


def saved_size(path: Path) -> int | None:
    """What the file says; None while there is none."""
    try:
        size: int = json.loads(path.read_bytes())["max_size"]
    except FileNotFoundError:
        return None
    return size


def text_of(path: Path) -> bytes:
    return path.read_bytes()


def exists(path: Path) -> bool:
    return os.path.lexists(path)


def inode(path: Path) -> int:
    return path.stat().st_ino


def remove(path: Path) -> None:
    path.unlink()


def replace_with_a_directory(path: Path) -> None:
    """Whatever saves happen meanwhile."""
    path.unlink()
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            path.unlink()
        else:
            return


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.state"


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
async def kept() -> AsyncIterator[Callable[[Path, float, Queue], QueueFile]]:
    """A factory of files that are being kept, and stopped in the end."""
    files: list[QueueFile] = []

    def start(path: Path, interval: float, queue: Queue) -> QueueFile:
        file = QueueFile(str(path), interval)
        file.start(queue)
        files.append(file)
        return file

    yield start
    for file in files:
        await file.stop()


Kept = Callable[[Path, float, Queue], QueueFile]


def queue_of(size: int) -> Queue:
    return Queue(1, size, 30.0)


def test_the_size_that_was_saved_is_restored(path: Path) -> None:
    path.write_text('{"max_size":250,"queue_length":3,"last_saved":"2026-11-25T12:00:00.000Z"}')
    file = QueueFile(str(path), NEVER)
    assert (file.restore(), file.load_failures) == (250, 0)


def test_before_the_first_save_there_is_nothing_to_restore(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = QueueFile(str(path), NEVER)
    assert (file.restore(), file.load_failures, caplog.records) == (None, 0, [])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"250",
        b"[250]",
        b'"max_size"',
        b"{}",
        b'{"queue_length":3}',
        b'{"max_size":0}',
        b'{"max_size":-1}',
        b'{"max_size":true}',
        b'{"max_size":2.5}',
        b'{"max_size":"250"}',
        b'{"max_size":null}',
        b'{"max_size":1e3}',
        b'{"max_size":1000000000000000000000000}',
        b'{"max_size":250',
        b"\x00" * 1000,
        b"\xff\xfe{}",
        b"[" * 60_000,
        # Valid, but no file of ours is so long.
        b'{"max_size":250,"more":"%b"}' % (b"x" * 10_000_000),
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_file_that_makes_no_sense_is_reported_and_changes_nothing(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    file = QueueFile(str(path), NEVER)
    assert (file.restore(), file.load_failures) == (None, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.fields == {"path": str(path), "reason": "it is not the JSON object that was saved"}  # type: ignore[attr-defined]
    assert path.read_bytes() == content


def test_a_directory_in_its_place_is_reported(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir()
    file = QueueFile(str(path), NEVER)
    assert (file.restore(), file.load_failures) == (None, 1)
    assert caplog.records[0].fields["reason"] == "Is a directory"  # type: ignore[attr-defined]


async def test_the_size_is_saved_when_it_has_changed(path: Path, kept: Kept) -> None:
    queue = queue_of(100)
    file = kept(path, NEVER, queue)
    file.save_soon()
    await becomes(lambda: saved_size(path) == 100)
    queue.resize(250)
    file.save_soon()
    await becomes(lambda: saved_size(path) == 250)
    assert QueueFile(str(path), NEVER).restore() == 250
    assert file.save_failures == 0


async def test_a_saved_file_says_how_many_wait_and_when_it_was_written(path: Path, kept: Kept) -> None:
    queue = queue_of(100)
    assert queue.enter_now()
    tickets = [queue.join("alice"), queue.join("bob")]
    await kept(path, NEVER, queue).stop()
    state = json.loads(text_of(path))
    assert (list(state), state["max_size"], state["queue_length"]) == (
        ["max_size", "queue_length", "last_saved"],
        100,
        2,
    )
    age = datetime.now(UTC) - datetime.fromisoformat(state["last_saved"])
    assert timedelta(seconds=-0.001) <= age < timedelta(seconds=60)
    for ticket in tickets:
        queue.abandon(ticket)


async def test_the_size_is_saved_every_interval_without_being_asked(path: Path, kept: Kept) -> None:
    kept(path, ALWAYS, queue_of(100))
    for _ in range(3):
        await becomes(lambda: exists(path))
        remove(path)
    await becomes(lambda: exists(path))


async def test_nothing_is_saved_before_the_interval_is_over(path: Path, kept: Kept) -> None:
    kept(path, NEVER, queue_of(100))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not exists(path)


async def test_stopping_saves_what_is_true_at_the_end(path: Path, kept: Kept) -> None:
    queue = queue_of(100)
    file = kept(path, NEVER, queue)
    queue.resize(777)
    await file.stop()
    assert saved_size(path) == 777


async def test_a_size_changed_during_a_save_is_saved_by_the_stop(path: Path, kept: Kept) -> None:
    queue = queue_of(100)
    file = kept(path, NEVER, queue)
    file.save_soon()
    # The save has begun in its thread, or is about to.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    queue.resize(777)
    await file.stop()
    assert saved_size(path) == 777


async def test_a_file_that_was_never_started_can_be_stopped(path: Path) -> None:
    await QueueFile(str(path), NEVER).stop()
    assert not exists(path)


async def test_a_reader_never_finds_half_a_file(path: Path, kept: Kept) -> None:
    queue = queue_of(10)
    kept(path, ALWAYS, queue)
    await becomes(lambda: exists(path))
    inodes = set()
    async with asyncio.timeout(30):
        while len(inodes) < 3:
            # Sizes of different lengths, so that one written over the other would leave something behind.
            queue.resize(10**9 if queue.size == 10 else 10)
            assert saved_size(path) in (10, 10**9)
            inodes.add(inode(path))
            await asyncio.sleep(0)
    assert [name for name in os.listdir(path.parent) if not name.endswith(".tmp")] == ["queue.state"]


async def test_a_save_leaves_nothing_else_behind(path: Path, kept: Kept) -> None:
    await kept(path, NEVER, queue_of(10)).stop()
    assert os.listdir(path.parent) == ["queue.state"]


async def test_what_a_crash_left_behind_is_written_over(path: Path, kept: Kept) -> None:
    (path.parent / f".queue.state.{os.getpid()}.tmp").write_bytes(b"x" * 100_000)
    await kept(path, NEVER, queue_of(10)).stop()
    assert (saved_size(path), os.listdir(path.parent)) == (10, ["queue.state"])


@pytest.mark.usefixtures("usual_umask")
async def test_every_user_may_read_the_file_and_its_directories(tmp_path: Path, kept: Kept) -> None:
    path = tmp_path / "var" / "lib" / "queue.state"
    await kept(path, NEVER, queue_of(10)).stop()
    modes = [each.stat().st_mode & 0o7777 for each in (path, path.parent, path.parent.parent)]
    assert [oct(mode) for mode in modes] == ["0o644", "0o755", "0o755"]


@pytest.mark.usefixtures("usual_umask")
async def test_directories_are_no_wider_than_the_umask_allows(tmp_path: Path, kept: Kept) -> None:
    os.umask(0o027)
    path = tmp_path / "var" / "queue.state"
    await kept(path, NEVER, queue_of(10)).stop()
    assert [oct(each.stat().st_mode & 0o7777) for each in (path, path.parent)] == ["0o644", "0o750"]


async def test_a_link_put_in_the_way_is_not_followed(path: Path, kept: Kept) -> None:
    victim = path.parent / "victim"
    victim.write_bytes(b"precious")
    (path.parent / f".queue.state.{os.getpid()}.tmp").symlink_to(victim)
    file = kept(path, NEVER, queue_of(10))
    file.save_soon()
    await becomes(lambda: file.save_failures == 1)
    # The link is gone now, and the next save finds its way.
    await file.stop()
    assert (text_of(victim), saved_size(path)) == (b"precious", 10)
    assert sorted(os.listdir(path.parent)) == ["queue.state", "victim"]


async def test_a_disk_that_cannot_be_written_is_reported_once_and_used_again_when_it_can(
    tmp_path: Path, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    in_the_way = tmp_path / "var"
    in_the_way.write_bytes(b"a file where the directory should be")
    path = in_the_way / "queue.state"
    file = kept(path, ALWAYS, queue_of(10))
    await becomes(lambda: file.save_failures >= 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].fields["path"] == str(path)  # type: ignore[attr-defined]
    in_the_way.unlink()
    await becomes(lambda: exists(path))
    await becomes(lambda: len(caplog.records) == 2)
    assert caplog.records[1].getMessage() == "queue.state_path: the size of the queue is saved again"
    failures = file.save_failures
    await file.stop()
    assert (file.save_failures, len(caplog.records), saved_size(path)) == (failures, 2, 10)


async def test_a_second_failure_is_reported_as_the_first_was(
    tmp_path: Path, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    path = tmp_path / "queue.state"
    path.mkdir()
    file = kept(path, ALWAYS, queue_of(10))
    await becomes(lambda: file.save_failures)
    path.rmdir()
    await becomes(lambda: len(caplog.records) == 2)
    replace_with_a_directory(path)
    await becomes(lambda: len(caplog.records) == 3)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "ERROR"]
