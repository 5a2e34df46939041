"""
The process that reads heavy bodies, one after the other: `python -m proxy.http.reading`.

It is told of each by a line of JSON and its bytes, and answers with a line. It ends with the process that asks. What a
body holds it tells only that process: there is no log, and its standard error leads nowhere.
"""

import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, BinaryIO

import orjson

from proxy.core.errors import ProxyError
from proxy.http import gist

MOST_MEMORY = 5 * 1024**3
"""
Bytes of address space. The worst of 32 MiB reserves 4.2 GiB, of which 1.3 GiB are used; what does not fit is refused.
"""
OUT_OF_MEMORY = 3
"""The exit code of one that could not have as much as a body takes."""
NICENESS = 5
"""The event loop that serves the clients comes first where there are fewer cores than work."""


def main() -> None:
    """Answer until there is nothing more to read."""
    # It ends with its parent, which may have bodies to be read until its last call has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or most > MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    os.nice(NICENESS)
    # Where the machine has less memory than that, this process is the one to go. Not every system has a say in it.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    # What JSON becomes has no cycles, and to look for some takes longer than reading.
    gc.disable()
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        while line := asked.readline():
            answers.write(orjson.dumps(_answer(orjson.loads(line), asked)) + b"\n")
            answers.flush()
            gc.collect()
    except MemoryError:
        raise SystemExit(OUT_OF_MEMORY) from None


def _answer(head: dict[str, Any], asked: BinaryIO) -> dict[str, Any]:
    body = asked.read(head["size"])
    if len(body) < head["size"]:
        raise SystemExit
    try:
        if "most" in head:
            return {"few": gist.has_few(body, head["most"])}
        return {"gist": gist.written(head["method"], head["path"], head["query"], body)}
    except ProxyError as error:
        return {"error": {"code": error.code, "message": error.message, "param": error.param, "details": error.details}}


if __name__ == "__main__":
    main()
