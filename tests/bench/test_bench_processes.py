"""What the benchmark counts of a process and its children, that it ends them all, and how it times what it asks for."""

import asyncio
import os
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bench import load
from bench.alarm import arrivals, at_moments
from bench.subjects import StartError, Subject, free_port, stolen, told_bytes, tree

FORKING = """
import os, socket, sys, time
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if os.fork() == 0:
    os.fork()
time.sleep(60)
"""


def test_a_tree_holds_children_of_every_thread_and_theirs(tmp_path: Path) -> None:
    for pid, thread, children in (
        (10, 10, "11 12 "),
        (10, 20, "13 "),
        (11, 11, ""),
        (12, 12, "14 "),
        (14, 14, ""),
        (99, 99, "98 "),
    ):
        (tmp_path / f"{pid}/task/{thread}").mkdir(parents=True)
        (tmp_path / f"{pid}/task/{thread}/children").write_text(children)
    assert sorted(tree(10, tmp_path)) == [10, 11, 12, 13, 14]
    assert tree(10, tmp_path)[0] == 10


def test_what_the_kernel_lists_is_found_by_its_name() -> None:
    listing = "VmPeak:\t  900000 kB\nVmHWM:\t  105432 kB\nVmRSS:\t   98000 kB\n"
    assert told_bytes(listing, "VmHWM") == 105432 * 1024
    assert told_bytes("Name:\tzombie\n", "VmHWM") == 0


def test_what_the_host_took_is_told_as_a_share_of_the_time_with_work() -> None:
    before = "cpu  1000 10 200 90000 50 0 20 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
    after = "cpu  1060 10 220 99000 99 0 30 40 7 0\ncpu0 2 2 2 2 2 2 2 2 0 0\n"
    assert stolen(before, after) == 0.1
    assert stolen(before, before) == 0.0


def alive(pid: int) -> bool:
    """Whether it still runs; one that has ended and was not waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


async def test_a_subject_is_counted_and_ended_with_its_children(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-S", "-c", FORKING, str(port)]
    with Subject("forking", command, os.sched_getaffinity(0), tmp_path / "log", port) as subject:
        for _ in range(200):
            if len(tree(subject.pid)) == 3:
                break
            await asyncio.sleep(0.01)
        pids = tree(subject.pid)
        assert len(pids) == 3
        assert subject.cpu() > 0
        assert subject.peak_rss() > subject.rss() > 0
    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            break
        await asyncio.sleep(0.01)
    assert [pid for pid in pids if alive(pid)] == []


def test_a_subject_that_ends_at_once_is_told_with_what_it_said(tmp_path: Path) -> None:
    command = [sys.executable, "-S", "-c", "import sys; sys.exit('no such setting')"]
    with pytest.raises(StartError, match="broken did not start:\nno such setting"):
        Subject("broken", command, os.sched_getaffinity(0), tmp_path / "log", free_port())


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"absent did not start: .*No such file"):
        Subject("absent", [str(tmp_path / "nothing")], os.sched_getaffinity(0), tmp_path / "log", free_port())


def test_callers_come_at_random_but_the_same_for_all() -> None:
    moments = arrivals(1000.0, 2.0)
    assert moments == arrivals(1000.0, 2.0)
    assert moments == sorted(moments)
    assert 1800 < len(moments) < 2200
    assert 0 < moments[0] < moments[-1] < 2.0
    gaps = [b - a for a, b in pairwise(moments)]
    # Of those who know nothing of each other, one in twenty comes later than thrice the mean after the one before.
    assert 0.04 < sum(gap > 0.003 for gap in gaps) / len(gaps) < 0.06


async def test_no_call_is_early_or_left_out() -> None:
    loop_time, due = asyncio.get_running_loop().time, []
    start = loop_time()
    called = []

    def call(moment: float) -> None:
        due.append(moment)
        called.append(loop_time())

    await at_moments([0.0, 0.001, 0.0011, 0.02], call)
    assert [round(moment - due[0], 4) for moment in due] == [0.0, 0.001, 0.0011, 0.02]
    assert called[-1] - start >= 0.019
    await at_moments([], call)
    assert len(due) == 4


class Wire:
    """A transport without a peer."""

    def write(self, data: bytes) -> None:
        pass


def event(word: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % word.encode()


def test_a_timed_stream_tells_its_first_token_and_how_late_the_others_were(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    tally = load.Tally()
    client = load.Client(b"", tally, lambda _: None, pace=0.02)
    client.transport = Wire()  # type: ignore[assignment]  # as much of one as is used
    client.ask(due=0.5)
    for clock[0], data in (
        (1.0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + event("")),
        (1.004, event("one")),
        (1.030, event("two")),
        (1.044, event("three") + event("four")),
        (1.050, b"data: [DONE]\n\n" + load.END),
    ):
        client.data_received(data)
    assert tally.fault == ""
    assert tally.firsts == pytest.approx([0.504])
    # Due at 1.024, 1.044 and 1.064; the last came before its time, and so all are late beside it.
    assert tally.late == pytest.approx([0.026, 0.02, 0.0])
    assert tally.longest_gap == pytest.approx(0.026)
    assert tally.events == 6
    assert tally.latencies == pytest.approx([0.55])


def test_a_header_of_a_peer_replaces_what_is_usual() -> None:
    usual = load.request("m", False)
    assert b"Accept-Encoding: gzip, deflate\r\n" in usual
    other = load.request("m", False, "Accept-Encoding: identity\r\nx-where: here\r\n", key="k", prompt="hi")
    assert b"gzip" not in other
    assert b"\r\nx-where: here\r\n" in other
    assert b"\r\nAuthorization: Bearer k\r\n" in other
    head, _, body = other.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'"content":"hi"' in body
