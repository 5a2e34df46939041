"""
One worker as its supervisor sees it: how it comes to be, its line, what it said last, and how it is ended.

Which there are stands in `workers`; what one of them does, in `worker`.
"""

import asyncio
import os
import re
import signal
import socket
from dataclasses import dataclass
from typing import IO

from proxy.core import clock
from proxy.observe.merged import Snapshot
from proxy.process.ipc import Channel
from proxy.process.worker import Place

_FRAME = re.compile(rb'File "([^"]*)", line (\d+) in (\S+)')


class NotStarted(Exception):
    """A worker ended before it served; the text says why."""


@dataclass(frozen=True, slots=True)
class Birth:
    """A worker that a task of the supervisor waits for."""

    place: Place
    born: "asyncio.Future[tuple[int, socket.socket, socket.socket, IO[bytes]]]"
    """To be resolved with its pid, our ends of the channel and the hand, and the file a crash is written to."""


class Member:
    """One worker."""

    def __init__(self, place: Place, pid: int, channel: Channel, hand: socket.socket, crash: IO[bytes]) -> None:
        self.place = place
        self.pid = pid
        self.channel = channel
        self.hand = hand
        """By which it is handed open sockets, which no message can carry."""
        self.crash = crash
        self.born = self.beat = clock.now()
        self.leaving = False
        """It was told to end: its end is expected."""
        self.stuck = False
        """It stands still and is being killed."""
        self.told: Snapshot = []
        """What it had counted when it last said so."""
        self.why = ""
        """Why it cannot serve, where it said so."""
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str] = loop.create_future()
        """Its banner, once it serves; `NotStarted` when it never will."""
        self.exited: asyncio.Future[int] = loop.create_future()
        """Its exit code, or the negative number of the signal that killed it."""

    @property
    def serves(self) -> bool:
        """It has begun to."""
        return self.ready.done() and self.ready.exception() is None

    def drain(self, delay: float, replaced: bool = False) -> None:
        """Have it end in an orderly way after *delay* seconds; *replaced*: another one serves in its place already."""
        self.leaving = True
        self.channel.say("drain", delay=delay, replaced=replaced)

    def stop(self) -> None:
        """Have it end at once; it must have been told to drain before."""
        self.channel.say("stop")

    def kill(self, number: signal.Signals) -> None:
        """End it by a signal, unless it has ended."""
        if not self.exited.done():
            os.kill(self.pid, number)

    def stack(self) -> str:
        """Where it was when it crashed, innermost first; empty when it did not say."""
        self.crash.seek(0)
        frames = _FRAME.findall(self.crash.read())
        return " < ".join(
            f"{os.path.basename(file.decode())}:{int(line)} {name.decode()}" for file, line, name in frames
        )
