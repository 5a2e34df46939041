"""
The processes of a run: started on a core of their own, asked what they used, ended by their own pid.

A subject is a process and all it forks: they are counted and ended together. Linux only. It measures nothing by itself
and never touches a process it did not start. Other people's gateways are in `peers`.
"""

import contextlib
import gc
import os
import re
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent
SITE = ROOT / ".compiled" / "site"
"""Where `make compiled` installs the gateway as its image has it."""
COMPILED = ("-P", "-m", "proxy")
"""What follows `python` for that one: `-P` keeps the sources that lie here out of its way."""
AS_PYTHON = ("-m", "proxy")
"""What follows for those sources."""
START_TIMEOUT = 60.0
"""The slowest peer imports for half of that."""
STOP_TIMEOUT = 5.0
DESCRIPTORS = 20000
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


def allow_descriptors() -> int:
    """Raise our limit on open files, which children inherit, as far as the system lets us; what it then is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


def machine_time() -> str:
    """What the kernel says of what the machine has done so far, for `stolen`."""
    return Path("/proc/stat").read_text()


def stolen(before: str, after: str) -> float:
    """
    How much of the time in which this machine had something to run went to others on its host, of `machine_time` as it
    was and as it is now. A guest sees it as moments in which everything stands still.
    """
    spent = [int(b) - int(a) for a, b in zip(before.split()[1:9], after.split()[1:9], strict=True)]
    user, nice, system, _, _, interrupts, soft, gone = spent
    return gone / max(1, user + nice + system + interrupts + soft + gone)


def tree(root: int, proc: Path = Path("/proc")) -> list[int]:
    """*root* and all that descends from it, parents first. A process that ends meanwhile is left out."""
    found = [root]
    for pid in found:
        for told in (proc / str(pid)).glob("task/*/children"):
            with contextlib.suppress(OSError):
                found += map(int, told.read_text().split())
    return found


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this process, which is the load, on *core*, and its garbage collector from pausing it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        os.sched_setaffinity(0, before)


class Subject:
    """A process that listens on loopback, with all it forks; a context manager that ends them."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        cores: set[int],
        log: Path,
        port: int = 0,
        headers: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """
        Start *command* on *cores*. What it says goes to *log*.

        *port* is where it will listen; 0: it prints where. *headers* are lines, each with its line end, that a request
        has to carry for it. *env* comes on top of the little it is given of ours.
        """
        self.name = name
        self.headers = headers
        self.port = port
        self._log = log
        # Settings and proxy variables from outside must not change what is measured.
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
        with log.open("wb") as said:
            # Threads started before an affinity is set keep the old one; a child is born with its parent's.
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, cores)
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env={**kept, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=said if port else subprocess.PIPE,
                    stderr=said,
                )
            except OSError as error:
                raise StartError(f"{name} did not start: {error}") from None
            finally:
                os.sched_setaffinity(0, before)
        self.pid = self._process.pid
        try:
            if port:
                self._wait_until_open()
            else:
                self.port = self._wait_for_port()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu(self) -> float:
        """Seconds of user and system time so far, of all threads of all its processes that are there."""
        seconds = 0.0
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                # What clock_getcpuclockid(3) makes of a pid: /proc counts in hundredths of a second, this in
                # nanoseconds.
                seconds += time.clock_gettime((~pid << 3) | 2)
        return seconds

    def rss(self) -> int:
        """Resident bytes. Of several processes, a page they share is shared out between them."""
        pids = tree(self.pid)
        if len(pids) == 1:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        return sum(_told(pid, "smaps_rollup", "Pss") for pid in pids)

    def peak_rss(self) -> int:
        """The most resident bytes its processes have ever had, added up."""
        return sum(_told(pid, "status", "VmHWM") for pid in tree(self.pid))

    def stop(self) -> None:
        """Ask it to end, wait a moment, then insist, and end what it forked and left behind."""
        if self._process.stdout is not None:
            self._process.stdout.close()
        with ExitStack() as handles:
            children = []
            for pid in tree(self.pid)[1:]:
                # A handle stays with the process it was opened for; a number may be given to another.
                with contextlib.suppress(ProcessLookupError):
                    children.append(os.pidfd_open(pid))
                    handles.callback(os.close, children[-1])
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait(STOP_TIMEOUT)
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(child, signal.SIGKILL)

    def _wait_until_open(self) -> None:
        """Until it listens where it was told to."""
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise StartError(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

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


def told_bytes(text: str, name: str) -> int:
    """What the kernel says under *name* in one of its listings, in bytes; 0 where it says nothing."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def _told(pid: int, file: str, name: str) -> int:
    """The same of a process, which may end meanwhile."""
    try:
        return told_bytes(Path(f"/proc/{pid}/{file}").read_text(), name)
    except OSError:
        return 0


def free_port() -> int:
    """A port of loopback that no process listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def provider(core: int, scratch: Path) -> Subject:
    """The simulator all subjects forward to."""
    return Subject("provider", [sys.executable, "-m", "bench.provider"], {core}, scratch / "provider.log")


def gateway(upstream: str, core: int, scratch: Path) -> Subject:
    """This gateway as it is deployed: keys, limits, a ledger, metrics, trace headers, its access log in a file."""
    return hapax("gateway", GATEWAY, upstream, {core}, scratch)


def interpreted(upstream: str, core: int, scratch: Path) -> Subject:
    """The same as Python, nothing of it compiled."""
    return hapax("interpreted", GATEWAY, upstream, {core}, scratch, module=AS_PYTHON)


def plain(upstream: str, core: int, scratch: Path) -> Subject:
    """The same without keys, limits and ledger."""
    return hapax("plain", PLAIN, upstream, {core}, scratch)


def dark(upstream: str, core: int, scratch: Path) -> Subject:
    """The same without metrics, access log and trace headers as well."""
    return hapax("dark", DARK, upstream, {core}, scratch)


def shared(upstream: str, core: int, scratch: Path, redis: int) -> Subject:
    """The same with its limits in the Redis on port *redis*."""
    return hapax("shared", SHARED, upstream, {core}, scratch, redis)


def profiled(upstream: str, core: int, scratch: Path, written: Path) -> Subject:
    """The gateway as Python under a profiler, which has *written* its figures when it has been asked to."""
    settings = GATEWAY.format(key=KEY, upstream=upstream, scratch=scratch, name="profiled")
    return configured("profiled", settings, {core}, scratch, ("-m", "bench.profiled", str(written)))


def hapax(
    name: str,
    settings: str,
    upstream: str,
    cores: set[int],
    scratch: Path,
    redis: int = 0,
    module: Sequence[str] = COMPILED,
) -> Subject:
    """A gateway with these *settings*; a store of its name that another has left is gone."""
    for old in scratch.glob(f"{name}.db*"):
        old.unlink()
    settings = settings.format(key=KEY, upstream=upstream, scratch=scratch, name=name, redis=redis)
    return configured(name, settings, cores, scratch, module)


def configured(name: str, settings: str, cores: set[int], scratch: Path, module: Sequence[str] = COMPILED) -> Subject:
    """A gateway with *settings* as they are, and whatever store they name as it is."""
    if module == COMPILED and not SITE.exists():
        raise StartError("the gateway is not compiled: run `make compiled`")
    config = scratch / f"{name}.yaml"
    config.write_text(settings)
    command = [sys.executable, *module, "serve", "--config", str(config)]
    return Subject(name, command, cores, scratch / f"{name}.log", env={"PYTHONPATH": str(SITE)})


@contextmanager
def redis(core: int, scratch: Path) -> Iterator[int]:
    """A Redis of our own, beside provider and load; its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(scratch)]
    if shutil.which(command[0]) is None:
        raise StartError("redis-server is not installed; scripts/setup-tests.sh installs it")
    with Subject("redis", command, {core}, scratch / "redis.log", port):
        yield port


def control(upstream: str, core: int, scratch: Path) -> Subject:
    """What it is compared with."""
    command = [sys.executable, "-m", "bench.control", upstream]
    return Subject("control", command, {core}, scratch / "control.log")
