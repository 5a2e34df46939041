"""A private Redis on a loopback port, which can be frozen, ended and begun again without its data; bad ways to it."""

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import redis

from tests.rigs.process import free_port

from .process import stop

START_DEADLINE = 30.0


class RedisServer:
    """One process, reached at the same port whenever it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Begin, without any data; returns when it answers."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "no",
            "enable-debug-command": "yes",
        }
        command = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_DEADLINE
        while True:
            try:
                self.ask("PING")
                return
            except redis.ConnectionError:
                assert self._process.poll() is None, (self.folder / "redis.log").read_text()
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self.thaw()
            stop(self._process)
            self._process = None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str) -> object:
        """Send one command, over a connection of its own."""
        with redis.Redis(port=self.port, decode_responses=True, socket_timeout=30) as client:
            return client.execute_command(*command)


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class Way:
    """A port that leads to another one, and may be made a bad one."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.delay = 0.0
        """Seconds that every answer takes longer."""
        self.answer: bytes | None = None
        """What every command is answered with, instead of being passed on."""
        self._target = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._running: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """Close every connection."""
        for end in self._ends:
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, there_writer}
        self._ends |= ends
        back = asyncio.get_running_loop().create_task(self._bring_back(there_reader, writer))
        try:
            while chunk := await reader.read(65536):
                if self.answer is None:
                    there_writer.write(chunk)
                else:
                    writer.write(self.answer)
        except OSError:
            pass
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            for end in ends:
                end.transport.abort()
            self._ends -= ends
            self._running.discard(task)

    async def close(self) -> None:
        self.cut()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _bring_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                await asyncio.sleep(self.delay)
                writer.write(chunk)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    way = Way(port)
    server = await asyncio.start_server(way.serve, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()
        await way.close()
        await server.wait_closed()
