"""
The processes of a run: started on a core of their own, asked what they used, ended by their own pid.

Linux only. It measures nothing by itself and never touches a process it did not start.
"""

import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0
DESCRIPTORS = 8192
"""Enough for the most streams, with two sockets each."""

KEY = "bench-key-that-opens-nothing"
BARE = """\
server: {{host: 127.0.0.1, port: 0, drain_delay: 0s}}
providers:
  sim: {{type: compatible, base_url: "{upstream}/v1", models: ["sim-*"]}}
"""
SEEN = (
    BARE
    + """\
logging: {{level: info, format: json, output: stderr}}
metrics: {{enabled: true}}
tracing: {{otlp_endpoint: "http://127.0.0.1:9", sample_ratio: 0.0}}
"""
)
"""Metrics, access log and trace headers; no trace is sampled, so that nothing but the headers is paid for."""
DARK = (
    BARE
    + """\
logging: {{output: stderr, streams: [application]}}
metrics: {{enabled: false}}
store: {{url: ""}}
"""
)
"""Without them: what they cost is the difference to `PLAIN`."""
PLAIN = (
    SEEN
    + """\
store: {{url: ""}}
"""
)
"""Without keys, limits and ledger: what those cost is the difference to the others."""
GATEWAY = (
    SEEN
    + """\
auth:
  keys:
    - name: bench
      key: {key}
      limits: {{requests_per_minute: 60000000, tokens_per_minute: 60000000000, concurrent: 100000}}
      budget: {{usd: 1000000, per: month}}
store: {{url: "sqlite:///{scratch}/{name}.db"}}
"""
)
"""As it is deployed. The limits are real and never reached."""
SHARED = (
    GATEWAY
    + """\
state: {{url: "redis://127.0.0.1:{redis}/0"}}
"""
)


class StartError(Exception):
    """A process did not come up; the text says what it wrote."""


def cores() -> tuple[int, int]:
    """A core for the subjects, and one for provider and load; the same one twice where there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def allow_descriptors() -> None:
    """Raise our limit on open files, which children inherit, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Subject:
    """One process that listens on loopback; a context manager that ends it."""

    def __init__(self, name: str, arguments: list[str], core: int, log: Path) -> None:
        """*arguments* follow `python -m`; what the process writes to standard error goes to *log*."""
        self.name = name
        self._log = log
        # Settings and proxy variables from outside must not change what is measured.
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
        with log.open("wb") as stderr:
            # Threads started before an affinity is set keep the old one; a child is born with its parent's.
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {core})
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    cwd=ROOT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                )
            finally:
                os.sched_setaffinity(0, before)
        self.pid = self._process.pid
        # What clock_getcpuclockid(3) makes of a pid: /proc counts in hundredths of a second, this in nanoseconds.
        self._cpu_clock = (~self.pid << 3) | 2
        try:
            self.port = self._wait_for_port()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of user and system time so far, all threads."""
        return time.clock_gettime(self._cpu_clock)

    def rss(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    def stop(self) -> None:
        """Ask it to end, wait a moment, then insist."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT)

    def _wait_for_port(self) -> int:
        """The port it says it listens on, in the first lines it prints."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        said = b""
        deadline = time.monotonic() + START_TIMEOUT
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and selector.select(left):
                part = os.read(output, 4096)
                if not part:
                    break
                said += part
                found = re.search(rb"listens on http://127\.0\.0\.1:(\d+)\b[^\d]", said)
                if found is not None:
                    return int(found.group(1))
        wrote = self._log.read_text(errors="replace")[-2000:] or said.decode(errors="replace")
        raise StartError(f"{self.name} did not start:\n{wrote}")

    def __enter__(self) -> "Subject":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def provider(core: int, scratch: Path) -> Subject:
    """The simulator all subjects forward to."""
    return Subject("provider", ["bench.provider"], core, scratch / "provider.log")


def gateway(upstream: str, core: int, scratch: Path) -> Subject:
    """This gateway as it is deployed: keys, limits, a ledger, metrics, trace headers, its access log in a file."""
    return _hapax("gateway", GATEWAY, upstream, core, scratch)


def plain(upstream: str, core: int, scratch: Path) -> Subject:
    """The same without keys, limits and ledger."""
    return _hapax("plain", PLAIN, upstream, core, scratch)


def dark(upstream: str, core: int, scratch: Path) -> Subject:
    """The same without metrics, access log and trace headers as well."""
    return _hapax("dark", DARK, upstream, core, scratch)


def shared(upstream: str, core: int, scratch: Path, redis: int) -> Subject:
    """The same with its limits in the Redis on port *redis*."""
    return _hapax("shared", SHARED, upstream, core, scratch, redis)


def _hapax(name: str, settings: str, upstream: str, core: int, scratch: Path, redis: int = 0) -> Subject:
    config = scratch / f"{name}.yaml"
    for old in scratch.glob(f"{name}.db*"):
        old.unlink()
    config.write_text(settings.format(key=KEY, upstream=upstream, scratch=scratch, name=name, redis=redis))
    return Subject(name, ["proxy", "serve", "--config", str(config)], core, scratch / f"{name}.log")


@contextmanager
def redis(core: int, scratch: Path) -> Iterator[int]:
    """A Redis of our own, beside provider and load; its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(scratch)]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        raise StartError("redis-server is not installed; scripts/setup-tests.sh installs it") from None
    try:
        os.sched_setaffinity(process.pid, {core})
        _wait_until_open(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise StartError("redis-server did not start")


def control(upstream: str, core: int, scratch: Path) -> Subject:
    """What it is compared with."""
    return Subject("control", ["bench.control", upstream], core, scratch / "control.log")
