"""
Several workers behind one port: they die, stand still and are replaced, and clients see no more of it than their own
cut connection.

Real processes, real signals. Callers open a connection for each call, so that every worker gets some.
"""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from proxy.core import tasks
from tests.rigs.clock import at_most
from tests.rigs.hapax import Hapax, hapax
from tests.rigs.simulator import Simulator

from .loop import until
from .wire import PATIENCE, Response, Wire, ask, chat, connect, get, request, target

BACK_WITHIN = 2.0
"""Seconds in which a worker that died has been replaced."""
KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
KEYED = f"Authorization: Bearer {KEY}\r\n"
WHOLE = b"data: [DONE]\n\n\r\n0\r\n\r\n"
ANSWERED = 'hapax_http_requests_total{endpoint="/v1/chat/completions",status="200"}'


def settings(simulator: Simulator, **server: Any) -> dict[str, Any]:
    return {
        "server": {"workers": 2, "drain_delay": "0s", **server},
        "providers": {"sim": target(simulator)},
        "auth": {"admin_key": ADMIN, "keys": [{"name": "me", "key": KEY}]},
        "store": {"url": ""},
    }


def workers(process: Hapax) -> list[int]:
    """The pids of the workers there are, oldest first."""
    pid = process.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def page(port: int, path: str) -> Response:
    """A page for operators, on a connection of its own."""
    return await ask(port, get(path, head=f"Authorization: Bearer {ADMIN}\r\n"))


async def counted(port: int, name: str = ANSWERED) -> float:
    """A series of the metrics; 0 while it does not exist."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", (await page(port, "/metrics")).body.decode(), re.M)
    return float(found[1]) if found else 0.0


@asynccontextmanager
async def stream_of(process: Hapax, pid: int) -> AsyncIterator[Wire]:
    """A stream of a second that the worker *pid* serves and that has begun."""
    async with AsyncExitStack() as stack:
        for _ in range(200):
            wire = await stack.enter_async_context(connect(process.port))
            wire.send(get("/debug", head=f"Authorization: Bearer {ADMIN}\r\n"))
            if (await wire.response("GET")).json["environment"]["pid"] == pid:
                wire.send(chat("sim-1:tokens=40,pace=25ms", stream=True, head=KEYED))
                await wire.until(b"content")
                yield wire
                return
        raise AssertionError(f"worker {pid} got none of 200 connections")


class Callers:
    """Clients that ask again and again; nothing but a whole answer will do."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self._ended = False
        self._port = port
        self._tasks = [tasks.start(self._ask(), "caller") for _ in range(4)]

    async def some(self) -> None:
        """Wait until twenty more have been answered, or one has not."""
        wanted = self.answered + 20
        await until(lambda: self.answered >= wanted or any(each.done() for each in self._tasks))

    async def stop(self) -> None:
        """Ask no more. What went wrong for one of them is raised here."""
        self._ended = True
        await asyncio.gather(*self._tasks)

    async def _ask(self) -> None:
        while not self._ended:
            assert (await ask(self._port, chat(head=KEYED))).status == 200
            self.answered += 1


def lines(errors: bytes) -> list[dict[str, Any]]:
    """What the log says, which is JSON and nothing else."""
    return [json.loads(line) for line in errors.splitlines()]


async def ended(process: Hapax) -> list[dict[str, Any]]:
    """Stop it; it must end well. What its log says."""
    process.signal(signal.SIGTERM)
    code, errors = await process.ended()
    assert code == 0, errors
    return lines(errors)


async def test_two_workers_are_one_gateway_to_those_who_ask_about_it(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        port, pids = process.port, set(workers(process))
        assert len(pids) == 2
        seen: set[int] = set()
        # Which one accepts is the kernel's to say: on a busy machine it may be the same one for a while.
        async with asyncio.timeout(PATIENCE):
            while seen != pids:
                served = await asyncio.gather(*(page(port, "/debug") for _ in range(50)))
                seen |= {each.json["environment"]["pid"] for each in served}
        answers = [await ask(port, chat(head=KEYED)) for _ in range(10)]
        for _ in range(10):
            # On a new connection each: every page is of both, whichever worker makes it.
            assert await counted(port) == 10
            assert await counted(port, "hapax_workers") == 2
            shown = {each["name"]: each["values"] for each in (await page(port, "/metrics/json")).json}
            assert shown["hapax_workers"] == [{"name": "hapax_workers", "labels": {}, "value": 2.0}]
            trail = await page(port, f"/admin/requests/{answers[0].header('x-request-id')}")
            assert (trail.status, trail.json["attempts"][0]["target"]) == (200, "sim/sim-fast")
        assert (await page(port, "/admin/requests/unknown")).status == 404
        about = (await page(port, "/admin/providers")).json
        assert {each["pid"] for each in about["workers"]} == pids
        assert about["providers"]["sim"]["healthy"] is True
        assert await ended(process) == []


async def test_of_a_worker_that_is_killed_only_its_own_connections_break(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        port = process.port
        doomed, spared = workers(process)
        async with stream_of(process, spared) as whole, stream_of(process, doomed) as cut:
            before = await counted(port)
            died = time.monotonic()
            os.kill(doomed, signal.SIGKILL)
            rest, _ = await cut.to_end()
            assert not rest.endswith(b"0\r\n\r\n")
            # Connections in its hands are gone; from now on no caller is refused and nothing breaks.
            callers = Callers(port)
            await until(lambda: len(workers(process)) == 2 and doomed not in workers(process))
            await callers.some()
            back = time.monotonic() - died
            assert (await whole.until(WHOLE)).endswith(WHOLE)
            await callers.stop()
            assert before <= await counted(port) >= callers.answered
        assert await counted(port, "hapax_worker_restarts_total") == 1
        (line,) = await ended(process)
    print(f"\nkilled and replaced within {back:.3f} s")
    assert back < at_most(BACK_WITHIN)
    assert line["message"] == "a worker died and is replaced"
    assert (line["worker_pid"], line["how"], line["deaths_in_a_row"]) == (doomed, "signal SIGKILL", 1)


async def test_what_a_page_has_shown_of_a_worker_stays_when_it_is_killed(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        for _ in range(20):
            await ask(process.port, chat(head=KEYED))
        assert await counted(process.port) == 20
        for pid in workers(process):
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: len(workers(process)) == 2 and pid not in workers(process))
            await until(lambda: is_open(process.port))
            assert await counted(process.port) == 20
        await ended(process)


async def test_a_worker_that_stands_still_is_replaced_and_the_others_go_on(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator, worker_timeout="5s")) as process:
        stuck = workers(process)[0]
        os.kill(stuck, signal.SIGSTOP)
        callers = Callers(process.port)
        await until(lambda: len(workers(process)) == 2 and stuck not in workers(process))
        await callers.some()
        await callers.stop()
        said = [line["message"] for line in await ended(process)]
    assert said == ["a worker stands still and is killed", "a worker died and is replaced"]


async def test_a_crash_tells_where_it_was(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        crashed = workers(process)[0]
        os.kill(crashed, signal.SIGSEGV)
        await until(lambda: len(workers(process)) == 2 and crashed not in workers(process))
        (line,) = await ended(process)
    assert line["how"] == "signal SIGSEGV"
    assert "worker.py" in line["stack"]


async def test_a_worker_that_gets_sigterm_is_relieved_and_ends_its_streams(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        old = workers(process)
        callers = Callers(process.port)
        async with stream_of(process, old[1]) as stream:
            os.kill(old[1], signal.SIGTERM)
            assert (await stream.until(WHOLE)).endswith(WHOLE)
        await until(
            lambda: len(workers(process)) == 2 and workers(process)[0] == old[0] and old[1] not in workers(process)
        )
        await callers.stop()
        assert await ended(process) == []


async def test_all_workers_reload_together_without_a_refused_or_broken_call(
    simulator: Simulator, tmp_path: Path
) -> None:
    before = settings(simulator)
    async with hapax(tmp_path, before) as process:
        port, old = process.port, workers(process)
        file = tmp_path / "hapax.yaml"
        written = yaml.safe_load(file.read_text())
        callers = Callers(port)
        await callers.some()

        file.write_text(yaml.safe_dump({**written, "providers": {"sim": {"type": "nonsense"}}}))
        process.signal(signal.SIGHUP)
        await callers.some()
        assert workers(process) == old

        second = {"name": "second", "key": "hapax-client-77aa01b2c3d4e5f6"}
        after = {**written, "auth": {**written["auth"], "keys": [*written["auth"]["keys"], second]}}
        after |= {"server": {**after["server"], "workers": 3}, "state": {"url": "redis://127.0.0.1:1/0"}}
        file.write_text(yaml.safe_dump(after))
        async with stream_of(process, old[0]) as stream:
            process.signal(signal.SIGHUP)
            await until(lambda: len(workers(process)) == 3 and set(old) < set(workers(process)))
            for _ in range(10):
                assert (await ask(port, chat(head=f"X-API-Key: {second['key']}\r\n"))).status == 200
                told = (await page(port, "/admin/config")).json
                assert (told["needs_restart"], told["last_reload"]["outcome"]) == (["state.url"], "applied")
            # The stream goes on at the worker where it began.
            assert (await stream.until(WHOLE)).endswith(WHOLE)
        await callers.stop()
        assert await counted(port) == callers.answered + 11
        assert await counted(port, "hapax_worker_restarts_total") == 0
        # The signal, and the watch over the file where that came first; each once, however many workers there are.
        assert await counted(port, 'hapax_config_reloads_total{outcome="applied"}') in (1, 2)
        assert await counted(port, 'hapax_config_reloads_total{outcome="refused"}') in (1, 2)
        # Those that are too many go, in order, and take nothing of what they had counted along.
        file.write_text(yaml.safe_dump({**after, "server": {**after["server"], "workers": 2}}))
        await until(lambda: workers(process) == old)
        assert await counted(port) == callers.answered + 11
        said = await ended(process)
    assert {line["message"] for line in said} == {
        "configuration reloaded",
        "reload refused, the old configuration stays",
    }


async def test_a_new_configuration_that_no_worker_can_serve_changes_nothing(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        old = workers(process)
        file = tmp_path / "hapax.yaml"
        written = yaml.safe_load(file.read_text())
        # What only shows as it is made.
        unwritable = {"logging": {**written["logging"], "dir": "/proc/hapax"}, "auth": {"admin_key": ADMIN}}
        file.write_text(yaml.safe_dump({**written, **unwritable}))
        for _ in range(2):
            refused = await ask(process.port, request("/admin/reload", head=f"Authorization: Bearer {ADMIN}\r\n"))
            assert refused.status == 409
            [problem] = refused.json["error"]["details"]["problems"]
            assert problem.startswith("logging.dir: ")
        for _ in range(5):
            assert (await ask(process.port, chat(head=KEYED))).status == 200
            assert (await page(process.port, "/admin/config")).json["last_reload"]["problems"] == [problem]
        assert workers(process) == old
        said = [line["message"] for line in await ended(process)]
    assert set(said) == {"reload refused, the old configuration stays"}


async def test_a_term_signal_lets_the_streams_of_all_workers_end(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        first, second = workers(process)
        async with stream_of(process, first) as one, stream_of(process, second) as other:
            process.signal(signal.SIGTERM)
            for stream in (one, other):
                assert (await stream.until(WHOLE)).endswith(WHOLE)
        code, errors = await process.ended()
        assert (code, lines(errors)) == (0, [])
        assert not is_open(process.port)


async def test_a_second_signal_ends_all_of_it_at_once(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process, connect(process.port) as wire:
        wire.send(chat("sim-1:forever,pace=10ms", stream=True, head=KEYED))
        await wire.until(b"content")
        process.signal(signal.SIGINT)
        await until(lambda: not is_open(process.port))
        process.signal(signal.SIGINT)
        rest, _ = await wire.to_end()
        assert not rest.endswith(b"0\r\n\r\n")
        assert (await process.ended())[0] == 0


async def test_workers_whose_supervisor_is_killed_end_their_streams_and_free_the_port(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        orphans = workers(process)
        async with stream_of(process, orphans[0]) as stream:
            process.signal(signal.SIGKILL)
            await until(lambda: not is_open(process.port))
            assert (await stream.until(WHOLE)).endswith(WHOLE)
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
        # The next one may have it at once.
        socket.create_server(("127.0.0.1", process.port)).close()


def is_open(port: int) -> bool:
    """Whether a process listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_feed_tells_of_the_calls_at_every_worker_from_then_on(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        for reader in range(3):
            # Between two readers there is none, and of those calls the next one hears nothing.
            async with connect(process.port) as wire:
                wire.send(get("/admin/events", head=f"Authorization: Bearer {ADMIN}\r\n"))
                await wire.reader.readuntil(b"keys\n\n")
                asked = [f"{reader}-{number}" for number in range(10)]
                for name in asked:
                    await ask(process.port, chat("sim-fast", head=f"{KEYED}X-Request-ID: {name}\r\n"))
                async with asyncio.timeout(30):
                    told = [await wire.reader.readuntil(b"\n\n") for _ in asked]
                found = [re.search(rb'"request_id":"([^"]*)"', event) for event in told]
                assert sorted(each[1].decode() for each in found if each) == asked
            for number in range(10):
                await ask(process.port, chat("sim-fast", head=f"{KEYED}X-Request-ID: between-{number}\r\n"))
            # A page that counts them has been told of every one.
            assert await counted(process.port) == 20 * (reader + 1)


async def act(port: int, action: str) -> list[dict[str, Any]]:
    """What each worker says to it."""
    head = f"Authorization: Bearer {ADMIN}\r\n"
    answer = await ask(port, request(f"/admin/providers/sim/{action}", head=head))
    assert answer.status == 200
    workers: list[dict[str, Any]] = answer.json["workers"]
    return workers


async def refusals(port: int, calls: int = 20) -> set[int]:
    """The statuses of so many calls, each on a connection of its own."""
    return {(await ask(port, chat(head=KEYED))).status for _ in range(calls)}


async def test_a_provider_is_drained_at_all_workers_and_at_those_that_take_their_places(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        port, before = process.port, workers(process)
        told = await act(port, "drain")
        assert {worker["pid"] for worker in told} == set(before)
        assert all(worker["drained"] for worker in told)
        assert await refusals(port) == {503}
        # One dies, then all are replaced: each newcomer knows from its first call on.
        os.kill(before[0], signal.SIGKILL)
        await replaced(process, before[:1])
        assert await refusals(port) == {503}
        left = workers(process)
        for pid in left:
            os.kill(pid, signal.SIGTERM)
        await replaced(process, left)
        assert await refusals(port) == {503}
        assert await counted(port, 'hapax_provider_drained{provider="sim"}') == 1
        assert not any(worker["drained"] for worker in await act(port, "enable"))
        assert await refusals(port) == {200}
        assert len(await act(port, "reset")) == len(await act(port, "ask")) == 2


async def replaced(process: Hapax, gone: list[int]) -> None:
    """Wait until two workers serve, and none of those that are to go."""
    async with asyncio.timeout(60):
        while len(now := workers(process)) != 2 or set(now) & set(gone):  # noqa: ASYNC110 - the kernel knows
            await asyncio.sleep(0.05)
        while await counted(process.port, "hapax_workers") != 2:  # noqa: ASYNC110 - only pages tell
            await asyncio.sleep(0.05)


async def test_calls_and_series_are_those_of_all_workers(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as process:
        port = process.port
        names = [f"call-{number}" for number in range(40)]
        for name in names:
            await ask(port, chat(head=f"{KEYED}X-Request-ID: {name}\r\n"))
        # A worker that is held up notes the end of a call after its client has it, and maybe after that of the next.
        first = (await page(port, "/admin/calls")).json["calls"]
        order = [call["request_id"] for call in first]
        assert sorted(order) == sorted(names)
        ends = [datetime.fromisoformat(call["start_time"]).timestamp() * 1000 + call["latency_ms"] for call in first]
        assert all(later > earlier - 2 for later, earlier in pairwise(ends))
        for _ in range(5):
            told = (await page(port, "/admin/calls")).json
            assert [call["request_id"] for call in told["calls"]] == order
            found, before = [], ""
            while before is not None:
                some = (await page(port, f"/admin/calls?limit=7{before and '&before='}{before}")).json
                found += [call["request_id"] for call in some["calls"]]
                before = some["next"]
            assert found == order
            (series,) = (await page(port, "/admin/series?by=key&since=1h&step=60")).json["series"]
            assert (series["name"], sum(series["calls"])) == ("me", 40)
