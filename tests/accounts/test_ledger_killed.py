"""A gateway that is killed: what its ledger holds afterwards."""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from proxy.core import tasks
from tests.rigs.clock import at_most

ROOT = Path(__file__).parents[2]
INTERVAL = 0.1
REPEATS = int(os.environ.get("HAPAX_SOAK_REPEATS", "20"))

WRITER = """
import asyncio, os, random, sys, time
from proxy.accounts.ledger import Ledger
from proxy.accounts.store import Store
from tests.accounts.calls import answered, call


def say(what, ledger_id):
    # One system call, so that a line is written whole or not at all.
    os.write(1, f"{what} {ledger_id} {time.monotonic():.6f}\\n".encode())


async def one(ledger):
    exchange = call(stream=True)
    ledger.open(exchange, "team")
    say("opened", exchange.ledger_id)
    await asyncio.sleep(random.choice((0, 0, 0.05, 0.3)))
    ledger.ended([answered(exchange)])
    say("ended", exchange.ledger_id)


async def main(url, interval):
    store = Store(url)
    await store.open()
    ledger = Ledger(store, interval=interval)
    await ledger.start()
    running = set()
    while True:
        for _ in range(10):
            running.add(asyncio.create_task(one(ledger)))
        running = {task for task in running if not task.done()}
        await asyncio.sleep(0.005)


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


async def killed(folder: Path, rng: random.Random) -> tuple[float, int, int]:
    """
    Let a process write calls down, kill it at some moment, and look at what it left behind: how many seconds before
    its end the earliest completion took place that is missing, how many rows there are, and how many miss completion.
    """
    file = folder / "hapax.db"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, f"sqlite:///{file}", str(INTERVAL)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        first = await process.stdout.readline()
        reading = tasks.start(process.stdout.read(), "reading")
        await asyncio.sleep(rng.uniform(0.0, 1.0))  # the moment is the point
    finally:
        process.send_signal(signal.SIGKILL)
    lines = (first + await reading).decode().splitlines()
    await process.wait()
    moments: dict[str, dict[str, float]] = {"opened": {}, "ended": {}}
    for line in lines:
        what, ledger_id, moment = line.split()
        moments[what][ledger_id] = float(moment)
    last = float(lines[-1].split()[2])
    database = sqlite3.connect(file)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = dict(database.execute("SELECT id, outcome FROM usage").fetchall())
    count = database.execute("SELECT count(*) FROM usage").fetchone()[0]
    database.close()
    assert count == len(found), "a row is there twice"
    assert set(found.values()) <= {"pending", "ok"}
    # A call may have been written down before the process came to say so.
    assert len(set(found) - set(moments["opened"])) <= 1
    completed = [found.get(ledger_id) == "ok" for ledger_id in moments["ended"]]
    assert completed == sorted(completed, reverse=True), "a completion is missing, and a later one is there"
    missing = [moment for ledger_id, moment in moments["ended"].items() if found.get(ledger_id) != "ok"]
    unknown = [moment for ledger_id, moment in moments["opened"].items() if ledger_id not in found]
    assert not unknown or last - min(unknown) < at_most(3 * INTERVAL + 0.5), "a call that ran for long has no row"
    return last - min(missing, default=last), count, len(missing)


@pytest.mark.timeout(300 + 3 * REPEATS)
async def test_a_killed_gateway_leaves_rows_pending_or_complete_and_loses_the_last_interval_at_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(4)
    ages, total, lost = [], 0, 0
    for first in range(0, REPEATS, 4):
        folders = [tmp_path / str(number) for number in range(first, min(first + 4, REPEATS))]
        for folder in folders:
            folder.mkdir()
        for age, count, missing in await asyncio.gather(*(killed(folder, rng) for folder in folders)):
            ages.append(age)
            total += count
            lost += missing
    with capsys.disabled():
        print(
            f"\nkill -9 of a gateway's ledger, {REPEATS} times: {total} rows, {lost} completions missing, "
            f"the oldest {max(ages) * 1000:.0f} ms before the end (interval {INTERVAL * 1000:.0f} ms)"
        )
    assert total > lost
    # The interval, and the time the batch under way took on a machine that did much else.
    assert max(ages) < at_most(INTERVAL + 0.4)
