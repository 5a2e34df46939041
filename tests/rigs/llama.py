"""A real llama.cpp server on a tiny random model, in a process of its own.

llama.cpp brings its own threads and writes to stdout, so it does not live in the process of the tests. The child is
llama_serve.py; here it is started, waited for, and stopped.
"""

import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .process import stop
from .tiny_gguf import write_tiny_gguf

MODEL = "tiny"
KEY = "llama-key-of-the-tests"
SERVE = str(Path(__file__).with_name("llama_serve.py"))
START_DEADLINE = 60.0
LISTENING = b"listening: "


@dataclass(frozen=True, slots=True)
class Llama:
    url: str
    api_key: str
    model: str

    @property
    def base_url(self) -> str:
        return self.url + "/v1"


@contextmanager
def llama_server(folder: Path) -> Iterator[Llama]:
    model = write_tiny_gguf(folder / "tiny.gguf")
    log_path = folder / "llama.log"
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            [sys.executable, SERVE, str(model), MODEL, KEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + START_DEADLINE
            yield Llama(_wait_until_healthy(process, _address(process, log_path), deadline), KEY, MODEL)
        finally:
            stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The URL in the child's own line. A child that dies closes the pipe, so this cannot wait for a dead one."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip().decode()
    raise RuntimeError(f"llama.cpp did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, deadline: float) -> str:
    host = url.removeprefix("http://")
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, timeout=1)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return url
        except OSError:
            pass  # not listening yet
        finally:
            connection.close()
        try:  # the pause between two probes is a wait for its death: that one ends at once
            raise RuntimeError(f"llama.cpp ended with {process.wait(0.02)} before it was healthy")
        except subprocess.TimeoutExpired:
            continue
    raise RuntimeError("llama.cpp was not healthy in time")
