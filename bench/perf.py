"""
`python -m bench.perf`: where the time of a request goes in the compiled gateway: the kernel, the threads beside the
event loop, what is still interpreted, and the rooms of the house. `profile` sees the gateway as Python alone.

It asks Linux's perf, which must be installed (Debian: linux-perf) and may want privileges.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from bench import subjects
from bench.profile import SECONDS, ask

SAMPLES = 700
"""A second; each keeps 16 kB of stack."""

_FRAME = re.compile(r"\s*([0-9a-f]+) (\S+)")
_OURS = re.compile(r"CPy(?:Def|Py)_([a-z_]+?)___")
_KERNEL = {"write": "kernel: writing", "send": "kernel: writing", "read": "kernel: reading", "recv": "kernel: reading"}
_LIBRARIES = re.compile(r"_pyx_|__Pyx|^uv_|llhttp")
_COMPILED = ("admin", "api", "accounts", "limits", "observe", "providers", "relay", "http", "upstream", "admission")
_COMPILED += ("middleware", "core")
"""Rooms with compiled modules; of two modules of one name the later room's is the compiled one."""
_ROOMS = {file.stem: f"proxy/{room}" for room in _COMPILED for file in Path(subjects.ROOT, "proxy", room).glob("*.py")}


def parts(script: str) -> Counter[str]:
    """How often each part of the whole was at work, by what `perf script -F tid,ip,sym` printed."""
    samples = [lines for block in script.split("\n\n") if len(lines := block.strip("\n").splitlines()) > 1]
    threads = Counter(lines[0].split()[0] for lines in samples)
    # The event loop's thread does most of the work.
    loop = threads.most_common(1)[0][0]
    return Counter(
        _part([match.groups() for line in lines[1:] if (match := _FRAME.match(line))])
        if lines[0].split()[0] == loop
        else "threads of ledger and log"
        for lines in samples
    )


def _part(frames: list[tuple[str, ...]]) -> str:
    """Whose the innermost frame is that can be told; the innermost comes first."""
    if frames and frames[0][0].startswith("ffff"):
        system = [name for address, name in frames if address.startswith("ffff")]
        called = (part for name in system if "sys_" in name for word, part in _KERNEL.items() if word in name)
        return next(called, "kernel: all else")
    for _, name in frames:
        if ours := _OURS.match(name):
            return _ROOMS.get(ours[1], f"proxy/{ours[1]}")
        if name.startswith("_PyEval_EvalFrame"):
            return "interpreted"
        if _LIBRARIES.search(name):
            return "event loop and parser"
    return "all else"


async def record(scratch: Path, into: Path) -> float:
    """Have perf write *into* a file what a busy gateway does; returns microseconds of CPU a request needs without."""
    subject_core, load_core = subjects.cores()
    how = ["-F", str(SAMPLES), "-e", "cpu-clock", "--call-graph", "dwarf,16384", "-o", str(into)]
    with (
        subjects.on_core(load_core),
        subjects.provider(load_core, scratch) as provider,
        subjects.gateway(provider.url, subject_core, scratch) as gateway,
    ):
        answers, cpu = await ask(gateway, SECONDS)
        whom = ["-p", str(gateway.pid), "--", "sleep", str(SECONDS)]
        perf = await asyncio.create_subprocess_exec("perf", "record", *how, *whom, stderr=asyncio.subprocess.DEVNULL)
        await ask(gateway, SECONDS)
        await perf.wait()
    return cpu / answers * 1e6


def main() -> int:
    """The command."""
    out = Console()
    if shutil.which("perf") is None:
        out.print("perf is not installed; on Debian: apt install linux-perf")
        return 2
    with tempfile.TemporaryDirectory(prefix="hapax-perf-") as scratch:
        recorded = Path(scratch, "perf.data")
        cost = uvloop.run(record(Path(scratch), recorded))
        if not recorded.exists():
            out.print("perf recorded nothing; it may want privileges (kernel.perf_event_paranoid)")
            return 1
        printing = ["perf", "script", "-i", str(recorded), "--no-inline", "-F", "tid,ip,sym"]
        found = parts(subprocess.run(printing, capture_output=True, text=True, check=True).stdout)
    table = Table("part", "share", "about", box=box.SIMPLE_HEAD, title=f"{cost:.0f} us of CPU a request")
    for part, samples in found.most_common():
        table.add_row(part, f"{samples / found.total():.1%}", f"{samples / found.total() * cost:.1f} us")
    out.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
