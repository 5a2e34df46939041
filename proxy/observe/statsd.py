"""
Metrics sent by UDP, as StatsD and its relatives read them: counters as what was added, gauges as they are, and times of
single calls as timers.

Labels follow as DogStatsD's tags, which Telegraf and Prometheus's exporter for StatsD read as well. A receiver that is
away costs nothing: no task waits for a datagram.
"""

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from proxy.core import tasks
from proxy.core.exchange import Exchange

PACKET = 1432
"""Bytes of a datagram: what fits into a frame of Ethernet whole."""
MOST_TIMERS = 20_000
"""Times that wait for the next report; beyond that the oldest make room."""
AT_ONCE = 32
"""Datagrams between which nothing else has its turn."""
TRIES, PAUSE = 20, 0.01
"""How often a datagram is offered that the system has no room for, and seconds between two times."""

_log = logging.getLogger("hapax")
_UNSAFE = re.compile(r"[|:@#,\n]")


class Statsd:
    """Sends a registry's samples, and the times of calls that have ended, now and then; an observer."""

    def __init__(
        self,
        registry: CollectorRegistry,
        catch_up: Callable[[], None],
        address: str,
        prefix: str,
        interval: float,
        worker: str,
        told: dict[tuple[str, str], float],
    ) -> None:
        """
        *address*: `host:port`; *interval* in seconds. *catch_up* brings what is counted up to date. *worker*: which of
        several this is, empty for the only one: what they add is one counter, what they measure stays apart. *told*:
        what was sent so far, which the next one to send goes on from.
        """
        self._registry = registry
        self._catch_up = catch_up
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._prefix = prefix
        self._interval = interval
        self._worker = worker
        self._before = told
        self._timers: deque[str] = deque(maxlen=MOST_TIMERS)
        """Lines without the prefix."""
        self._tasks = tasks.Tasks()
        self._available = True

    def ended(self, exchanges: Sequence[Exchange]) -> None:
        """Keep how long they took, and how long streams took to begin, for the next report."""
        for exchange in exchanges:
            tags = f"endpoint:{_UNSAFE.sub('_', exchange.route)},status:{exchange.status}"
            self._timers.append(f"hapax_http_request_time:{_milliseconds(exchange.duration)}|ms|#{tags}\n")
            told = next((each for each in exchange.attempts if each.first_token_at), None)
            if told is not None:
                seconds = told.first_token_at - exchange.started
                tags = f"provider:{_UNSAFE.sub('_', told.provider)}"
                self._timers.append(f"hapax_time_to_first_token:{_milliseconds(seconds)}|ms|#{tags}\n")

    def start(self) -> None:
        """Begin to send."""
        self._tasks.start(tasks.every(self._interval, self._send), "statsd")

    async def stop(self) -> None:
        """Send what was counted last, and no more."""
        if await self._tasks.stop():
            await self._send()

    async def _send(self) -> None:
        self._catch_up()
        packets = self.packets()
        try:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, where = found[0]
            with socket.socket(family, kind, protocol) as sending:
                sending.setblocking(False)
                for number, packet in enumerate(packets, 1):
                    await _hand_over(sending, packet, where)
                    if number % AT_ONCE == 0:
                        await asyncio.sleep(0)
        except OSError as error:
            self._tell(False, error.strerror or type(error).__name__)
        else:
            self._tell(True, "")

    def packets(self) -> list[bytes]:
        """What there is to tell since the last time, in datagrams of whole lines."""
        lines: list[str] = []
        for family in self._registry.collect():
            for sample in family.samples:
                tags = ",".join(f"{name}:{_UNSAFE.sub('_', value)}" for name, value in sorted(sample.labels.items()))
                added = family.type in ("counter", "histogram")
                value = sample.value
                if self._worker and not added:
                    tags += f"{',' if tags else ''}worker:{self._worker}"
                if added:
                    key = (sample.name, tags)
                    value -= self._before.get(key, 0.0)
                    self._before[key] = sample.value
                    if not value:
                        continue
                kind = "c" if added else "g"
                lines.append(f"{self._prefix}{sample.name}:{value:g}|{kind}{'|#' + tags if tags else ''}\n")
        # A timer that is lost is one of many; what a counter has added is never told again.
        lines += [f"{self._prefix}{line}" for line in self._timers]
        self._timers.clear()
        packets, packet = [], b""
        for line in lines:
            data = line.encode()
            if len(packet) + len(data) > PACKET:
                packets.append(packet)
                packet = b""
            packet += data
        return [*packets, packet] if packet else packets

    def _tell(self, available: bool, why: str) -> None:
        if available is not self._available:
            self._available = available
            if available:
                _log.info("metrics: StatsD can be reached again")
            else:
                told = {"fields": {"event": "metrics.export.error"}}
                _log.warning("metrics: StatsD cannot be reached, going on without: %s", why, extra=told)


async def _hand_over(sending: socket.socket, packet: bytes, where: tuple[Any, ...]) -> None:
    """Send one datagram, as soon as the system has room for it; `OSError` when it has none for long."""
    for _ in range(TRIES):
        try:
            sending.sendto(packet, where)
        except BlockingIOError:
            await asyncio.sleep(PAUSE)
        else:
            return
    sending.sendto(packet, where)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
