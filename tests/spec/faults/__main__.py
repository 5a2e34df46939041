"""Plays the whole catalogue, prints it as a table, and writes docs/faults.md."""

import asyncio
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.rigs.built import ROOT

from .catalogue import FAULTS
from .page import page, row
from .play import ask_node, blamed, play
from .words import Check, trials
from .world import world

LONGEST = 120.0


async def main() -> int:
    console = Console()
    found = trials(FAULTS)
    began = time.monotonic()
    failed: dict[str, list[str]] = defaultdict(list)

    async def judged(fault: str, name: str, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(LONGEST):
                await work
        except Exception as error:
            failed[fault].append(name)
            console.print(f"{name}: {type(error).__name__} {error}", markup=False, style="red")

    with tempfile.TemporaryDirectory() as directory:
        async with world(Path(directory), found) as made:
            await ask_node(made, found)
            for trial in track(found, "calls", console=console):
                await judged(trial.fault.id, str(trial), play(made, trial))
            checks = [(fault.id, part) for fault in FAULTS for part in fault.cases if isinstance(part, Check)]
            for fault, check in track(checks, "checks", console=console):
                await judged(fault, f"{fault} {check.how}", check.run(made))
            for name in await blamed(made):
                failed[name.partition("-")[0].upper()].append(f"{name}: wrongly judged")
    table = Table("", "fault", "injected", "with a second target", "without", "verdict", show_lines=True)
    for each in FAULTS:
        cells = row(each, failed[each.id])
        table.add_row(*cells, style="red" if failed[each.id] else None)
    console.print(table)
    count = sum(map(len, failed.values()))
    took = time.monotonic() - began
    console.print(f"{len(FAULTS)} faults, {len(found)} calls and {len(checks)} checks in {took:.0f} s: {count} differ")
    (ROOT / "docs" / "faults.md").write_text(page(FAULTS, failed))
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
