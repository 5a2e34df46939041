"""What other calls wait for while 32 MiB of JSON are read, of each kind that is slow to read."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.core import tasks
from tests.rigs.built import python_path
from tests.rigs.clock import at_most
from tests.rigs.hapax import hapax

pytestmark = pytest.mark.timeout(600)

SIZE = 32 * 1024 * 1024 - 200
MOST_WAIT = 0.05
"""Seconds that another call may wait for such a body, whatever is in it."""

KINDS = {
    "small objects": (b'{"a":0},', b"0"),
    "small lists": (b"[],", b"0"),
    "deep keys": (b'{"a":' * 100 + b"0" + b"}" * 100 + b",", b"0"),
    "escaped quotes in names": (b'{"\\u0022":0},', b"0"),
    "brackets": (b"[", b"0"),
    "numbers": (b"0,", b"0"),
    "texts": (b'"",', b"0"),
    "a key twice, at the end": (b'{"a":0},', b'{"b":1,"b":2}'),
    "a number that is none, at the end": (b"0,", b"NaN"),
    "one text": (b"AAAA", b""),
    "one text of escapes": (b"\\u0022", b""),
}


def body(kind: str) -> bytes:
    """32 MiB, with the model behind it and a target that knows it by another name."""
    unit, last = KINDS[kind]
    quote = b'"' if kind.startswith("one text") else b""
    many = unit * ((SIZE - len(last)) // len(unit)) + last
    start = b'{"messages":[{"role":"user","content":"x"}],"stream":true,"metadata":[' + quote
    return start + many + quote + b'],"model":"alias"}'


async def provider() -> tuple[asyncio.subprocess.Process, str]:
    """A simulator that reads elsewhere than in the loop of this test."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "simulate", "--port", "0"),
        env={"PYTHONPATH": python_path()},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = await process.stdout.readline()
    return process, "http" + said.decode().partition("http")[2].split()[0].rstrip(";")


async def sent(port: int, body: bytes) -> tuple[int, float]:
    """The status of its answer and the seconds it took; written by a thread, which this loop does not wait for."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.set_write_buffer_limits(1 << 20)
    writer.write(head)
    for at in range(0, len(body), 1 << 18):
        writer.write(body[at : at + (1 << 18)])
        await writer.drain()
    status = int((await reader.readline()).split()[1])
    await reader.read()
    writer.close()
    return status, time.perf_counter() - began


async def waits(url: str, until: "asyncio.Task[Any]") -> list[float]:
    """Seconds that short calls took until then, one behind the other."""
    waited = []
    async with aiohttp.ClientSession() as session:
        while not until.done():
            began = time.perf_counter()
            async with session.get(url) as answer:
                await answer.read()
            waited.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)
    return waited


async def test_no_call_waits_for_a_heavy_body(tmp_path: Path) -> None:
    simulating, url = await provider()
    settings = {
        "providers": {"sim": {"type": "compatible", "base_url": url, "models": ["sim-*"]}},
        "models": {"alias": {"targets": ["sim/sim-fast"]}},
        "store": {"url": ""},
    }
    late = {}
    try:
        async with hapax(tmp_path, settings) as gateway:
            for kind in KINDS:
                whole = body(kind)
                sending = tasks.start(sent(gateway.port, whole), "heavy body")
                waited = await waits(f"http://127.0.0.1:{gateway.port}/live", sending)
                status, took = await sending
                late[kind] = max(waited)
                print(f"{kind:36} {status} after {took:5.1f} s; others waited at most {1000 * max(waited):6.1f} ms")
    finally:
        simulating.kill()
        await simulating.wait()
    assert not {kind: wait for kind, wait in late.items() if wait > at_most(MOST_WAIT)}
