"""What is kept of a body until it is known where it goes: in memory, in a file, and nowhere once it is not needed."""

import asyncio
import threading
from pathlib import Path

import pytest

from proxy.core import tasks
from proxy.core.errors import ProxyError
from proxy.http import spool as module
from proxy.http.spool import IN_MEMORY, Spool
from tests.rigs.nameless import nameless, until_nameless


async def test_what_is_small_stays_in_memory(tmp_path: Path) -> None:
    spool = Spool(IN_MEMORY, str(tmp_path))
    await spool.add(b"a" * (IN_MEMORY - 1))
    await spool.add(b"b")
    assert await spool.whole() == b"a" * (IN_MEMORY - 1) + b"b"
    assert spool.size == IN_MEMORY


async def test_what_is_larger_is_read_from_its_file_at_any_place(tmp_path: Path) -> None:
    spool = Spool(2 * IN_MEMORY, str(tmp_path))
    body = bytes(range(256)) * (IN_MEMORY // 256) + b"the rest"
    await spool.add(body[:1000])
    await spool.add(body[1000:-4])
    await spool.add(body[-4:])
    assert await spool.whole() is None
    assert spool.size == len(body)
    assert await spool.read(0, len(body)) == body
    assert await spool.read(len(body) - 8, 100) == b"the rest"
    spool.close()


async def test_more_than_there_may_be_is_refused() -> None:
    spool = Spool(10, "")
    await spool.add(b"0123456789")
    with pytest.raises(ProxyError) as caught:
        await spool.add(b"0")
    assert (caught.value.status, caught.value.param) == (413, "model")


async def test_a_folder_that_is_gone_is_a_503_in_words(tmp_path: Path) -> None:
    spool = Spool(2 * IN_MEMORY, str(tmp_path / "gone"))
    with pytest.raises(ProxyError, match="overloaded") as caught:
        await spool.add(bytes(IN_MEMORY + 1))
    assert caught.value.status == 503
    assert str(tmp_path) not in caught.value.message


async def test_a_call_that_ends_while_its_file_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(nameless())
    made, go_on = threading.Event(), threading.Event()
    real = module.tempfile.TemporaryFile

    def slowly(*args: object, **kwargs: object) -> object:
        made.set()
        go_on.wait(10)
        return real(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(module.tempfile, "TemporaryFile", slowly)
    spool = Spool(2 * IN_MEMORY, str(tmp_path))
    adding = tasks.start(spool.add(bytes(IN_MEMORY + 1)), "adding")
    assert await asyncio.to_thread(made.wait, 10)
    adding.cancel()
    await asyncio.wait([adding])
    spool.close()
    go_on.set()
    with pytest.raises(ConnectionError):
        await spool.read(0, 1)
    await until_nameless(before)
