"""What a report to StatsD has in which order, and what becomes of it when the system has no room for a datagram."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from proxy.core.exchange import Exchange
from proxy.observe import statsd
from proxy.observe.statsd import Statsd


def reporting(calls: int, port: int = 1) -> Statsd:
    """With one counter, at 7, and the times of so many calls."""
    registry = CollectorRegistry()
    Counter("served", "x", registry=registry).inc(7)
    made = Statsd(registry, lambda: None, f"127.0.0.1:{port}", "", 3600.0, "", {})
    made.ended([Exchange("id", "POST", 0.0) for _ in range(calls)])
    return made


def test_what_counters_have_added_comes_before_the_times_of_calls() -> None:
    packets = reporting(500).packets()
    assert packets[0].startswith(b"served_total:7|c\n")
    assert b"".join(packets).count(b"|ms|") == 500


class Crowded:
    """A socket whose system has room for no datagram now and then."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.sent: list[bytes] = []

    def __enter__(self) -> "Crowded":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def sendto(self, packet: bytes, where: Any) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.sent.append(packet)


@pytest.mark.parametrize(("refusals", "all_sent"), [(0, True), (3, True), (10_000, False)])
async def test_a_datagram_for_which_there_is_no_room_waits_for_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusals: int, all_sent: bool
) -> None:
    crowded = Crowded(refusals)
    monkeypatch.setattr(statsd, "PAUSE", 0.0)
    monkeypatch.setattr(statsd.socket, "socket", lambda *_: crowded)
    report = reporting(2000)
    report.start()
    await asyncio.sleep(0)
    # What was counted last is sent at the end.
    await report.stop()
    assert (b"".join(crowded.sent).count(b"|ms|") == 2000) is all_sent
    assert ("StatsD cannot be reached" in caplog.text) is not all_sent
