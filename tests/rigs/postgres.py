"""A PostgreSQL server of Debian's, in a folder of its own and on a loopback port, to stop, freeze and start again."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg

from tests.rigs.process import free_port

START_DEADLINE = 30.0
PASSWORD = "only-for-tests"


class Postgres:
    """One server. Its superuser is `hapax`, with `PASSWORD`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._server: subprocess.Popen[bytes] | None = None
        self._count = 0

    @property
    def runs(self) -> bool:
        return self._server is not None

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://hapax:{password}@127.0.0.1:{self.port}/{database}"

    async def database(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"d{self._count}"
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        finally:
            await connection.close()
        return self.url(name)

    async def drop(self, url: str) -> None:
        """Remove the database at *url*, whatever is still connected."""
        connection = await asyncpg.connect(self.url())
        try:
            await connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        finally:
            await connection.close()

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self._start()
        async with asyncio.timeout(START_DEADLINE):
            while True:
                with suppress(OSError, asyncpg.PostgresError):
                    await (await asyncpg.connect(self.url())).close()
                    return
                await asyncio.sleep(0.02)  # nothing tells when a server is up

    def stop(self) -> None:
        """Stop it at once; every client is cut off."""
        if self._server is not None:
            self.thaw()
            self._server.send_signal(signal.SIGINT)
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                self._server.send_signal(signal.SIGQUIT)
                self._server.wait(10)
            self._server = None

    def freeze(self) -> None:
        """Let it hang: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is None:
            return
        parent = self._server.pid
        # Each of its processes leads a group of its own.
        for process in (parent, *_children(parent)):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def _start(self) -> None:
        options = ["-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-c", "fsync=off", "-c", "full_page_writes=off"]
        options += ["-c", "synchronous_commit=off", "-c", "max_connections=200", "-c", "shared_buffers=16MB"]
        with (self.folder / "log").open("ab") as log:
            self._server = _run("postgres", "-D", str(self.folder / "data"), *options, output=log.fileno())


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that is being started; stopped and removed in the end. `start` waits for it."""
    folder = Path(tempfile.mkdtemp(prefix="hapax-postgres-"))
    server = Postgres(folder, free_port())
    try:
        if os.geteuid() == 0:
            # It refuses to run as root.
            shutil.chown(folder, "postgres", "postgres")
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = ["-D", str(folder / "data"), "-U", "hapax", "--pwfile", str(password), "-A", "scram-sha-256"]
        made = _run("initdb", *options, "-E", "UTF8", "--locale=C", "--no-sync", output=subprocess.DEVNULL)
        assert made.wait(60) == 0, "initdb failed"
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def binaries() -> Path:
    """Where Debian keeps the programs of its newest server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, "no PostgreSQL server is installed; install Debian's package postgresql"
    return found[-1].parent


def _run(program: str, *arguments: str, output: int) -> subprocess.Popen[bytes]:
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    return subprocess.Popen(
        [binaries() / program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
    )


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything, come the state and the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
