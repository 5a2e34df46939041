"""
The benchmark runs and measures everything. What it measures is judged by `make bench`, on a machine that is quiet.

It is started as a command, as people start it; this directory must not be a package, or it would hide the real `bench`.
"""

import json
import os
import sys
from pathlib import Path

from tests.rigs.process import run

# What a process needs to find the bench, wherever pytest was started.
ENV = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
FIGURES = {
    "cpu_per_request_us",
    "requests_per_second",
    "latency_p50_ms",
    "latency_p99_ms",
    "cpu_per_event_us",
    "memory_per_stream_kb",
    "idle_memory_mb",
}


async def test_every_figure_is_measured(tmp_path: Path) -> None:
    result = tmp_path / "figures.json"
    done = await run(sys.executable, "-m", "bench", "--tiny", "--json", str(result), env=ENV, timeout=200)
    assert done.code == 0, done.stderr.decode(errors="replace")
    measured = json.loads(result.read_text())
    for name in ("gateway", "control", "interpreted", "plain", "shared", "dark"):
        figures = measured["median"][name]
        assert figures.keys() == FIGURES
        assert all(value > 0 for value in figures.values()), figures
    assert measured["ratio"].keys() == FIGURES
    assert all(value > 0 for value in measured["ratio"].values())
    assert measured["added"].keys() == {
        "interpreted",
        "limits in memory",
        "limits in Redis",
        "sight of requests",
        "sight of events",
    }
    assert measured["direct_p50_ms"][0] > 0
    assert b"memory per open stream" in done.stdout


async def test_a_wrong_number_of_rounds_is_refused() -> None:
    done = await run(sys.executable, "-m", "bench", "--rounds", "0", env=ENV)
    assert done.code == 2
    assert b"from 1 to 50" in done.stderr
