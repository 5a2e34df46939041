"""
Where heavy JSON bodies are read: in a process beside this one, so that no other call waits meanwhile.

It is started when first needed, reads one body at a time, and is ended once it has had nothing to read for a while. How
it reads stands in `gist`; here it is only asked.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.errors import ProxyError
from proxy.http import gist
from proxy.http.gist import Gist
from proxy.http.reading import OUT_OF_MEMORY

IDLE = 60.0
"""Seconds after which a process with nothing to read is ended: what memory it took is given back with it."""
LONGEST = 30.0
"""Seconds one body may take: a few times what the worst of 32 MiB does."""
FEW = 20_000
"""Values that are read on the loop in no time."""
AT_ONCE = 256 * 1024
"""Bytes that are handed over in one step of the loop."""
LONGEST_ANSWER = 1024 * 1024
"""Bytes of a gist: some tens of texts, each cut to the length of a name or an id."""

_NEEDED = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONHOME")
"""What it is told of our environment. The rest is none of its business: keys stand there."""
_TOO_MUCH = (OUT_OF_MEMORY, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGSEGV)
"""How it ends when a body takes more memory than there is: not every library can say so."""
_log = logging.getLogger("hapax")


class NoPipes(Exception):
    """A process was started without the pipes it was to have."""


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that reads, and the two pipes to it."""

    process: Process
    questions: asyncio.StreamWriter
    answers: asyncio.StreamReader


class Reader:
    """The process, if there is one, and those who wait for it."""

    def __init__(self, patience: float) -> None:
        """*patience*: seconds a body may wait for its turn."""
        self.patience = patience
        """Seconds a body may wait for its turn."""
        self._turn = asyncio.Lock()
        self._child: _Child | None = None
        self._killed = False
        """It has been, which the loop learns a moment later."""
        self._idle: asyncio.TimerHandle | None = None

    async def read(self, method: str, path: str, query: str, body: bytes) -> Gist:
        """
        The gist of *body*, sent to *path* below `/v1` with this *query*. `ProxyError` as `peek.read_json` raises it,
        413 for one that takes more memory than it may, 503 for one that is not read in time or whose reader was killed.
        """
        answer = await self._answer({"method": method, "path": path, "query": query}, body)
        return gist.read(answer["gist"])

    async def weigh(self, body: bytes) -> None:
        """`ProxyError` as `read` raises it, and 413 for a *body* of more than `FEW` values."""
        answer = await self._answer({"most": FEW}, body)
        if not answer["few"]:
            raise _too_rich()

    async def stop(self) -> None:
        """End it. Who waits for it has left before, or is told 503."""
        self._kill()
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            await self._end()

    async def _answer(self, head: dict[str, Any], body: bytes) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.patience):
                await self._turn.acquire()
        except TimeoutError:
            raise _unread() from None
        if self._idle is not None:
            self._idle.cancel()
        try:
            async with asyncio.timeout(LONGEST):
                line = await self._ask(orjson.dumps({**head, "size": len(body)}) + b"\n", body)
        except TimeoutError:
            _log.warning("a body was not read within %g s", LONGEST)
            raise _unread() from None
        finally:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._kill)
            self._turn.release()
        answer: dict[str, Any] = orjson.loads(line)
        if "error" in answer:
            raise ProxyError(**answer["error"])
        return answer

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """The line that it answers."""
        child = self._child
        if child is None or self._killed or child.process.returncode is not None:
            await self._end()
            child = await self._start()
        line = b""
        try:
            child.questions.write(head)
            rest = memoryview(body)
            while rest:
                child.questions.write(rest[:AT_ONCE])
                await child.questions.drain()
                rest = rest[AT_ONCE:]
            line = await child.answers.readline()
        except ConnectionError:
            pass
        except BaseException:
            # The caller no longer waits for the answer, and the next caller must not.
            self._kill()
            raise
        if line:
            return line
        ended = await child.process.wait()
        _log.warning("the process that reads large bodies ended with %d, another one takes its place", ended)
        raise _too_rich() if ended in _TOO_MUCH else _unread()

    async def _start(self) -> _Child:
        environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        # It finds what we have found, wherever that was.
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        command = (sys.executable, "-P", "-m", "proxy.http.reading")
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, limit=LONGEST_ANSWER
            )
        except OSError as error:
            _log.warning("the process that reads large bodies cannot be started: %s", error.strerror)
            raise _unread() from None
        if process.stdin is None or process.stdout is None:
            raise NoPipes
        self._child = child = _Child(process, process.stdin, process.stdout)
        return child

    def _kill(self) -> None:
        """It has nothing to keep, so there is no gentler way."""
        if self._child is not None and self._child.process.returncode is None:
            self._child.process.kill()
            self._killed = True

    async def _end(self) -> None:
        """Kill it and see it off."""
        child = self._child
        if child is not None:
            self._kill()
            child.questions.close()
            await child.process.communicate()
            self._child, self._killed = None, False


def _too_rich() -> ProxyError:
    return ProxyError("request_too_large", "The body has too many values in it.")


def _unread() -> ProxyError:
    return ProxyError("overloaded", "The body could not be read now; try again.", headers=(("Retry-After", "1"),))
