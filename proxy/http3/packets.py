"""
The packets of a process: those of the UDP socket, read until another process takes over, and those passed on by it.

The socket is one for all processes of a gateway, of which one reads; each sends on it. What a packet says is not looked
at here.
"""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

AT_ONCE = 64
"""Packets read in one step of the loop."""
LONGEST = 65536

Take = Callable[[bytes, Any], None]
"""Told of a packet and where it came from."""


class Packets:
    """Those of one process."""

    def __init__(self, public: socket.socket, take: Take, take_passed_on: Take) -> None:
        """*public* is the socket that clients know, ours from now on; *take_passed_on* gets what others have read."""
        self._public = public
        self._public.setblocking(False)
        self._own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._own.setblocking(False)
        self._own.bind(("127.0.0.1", 0))
        self._take = take
        self._take_passed_on = take_passed_on
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, Any]] = deque()
        """Packets that found the socket's buffer full."""
        self._closed = False
        self._loop.add_reader(self._public.fileno(), self._read)
        self._loop.add_reader(self._own.fileno(), self._read_passed_on)

    @property
    def port(self) -> int:
        """That of the socket clients know."""
        return int(self._public.getsockname()[1])

    @property
    def own_port(self) -> int:
        """Where another process passes packets on to."""
        return int(self._own.getsockname()[1])

    def sendto(self, data: bytes, address: Any) -> None:
        """Send a packet to a client. One that cannot be sent is lost, as it may be anywhere on its way."""
        if self._closed:
            return
        if self._waiting:
            self._waiting.append((data, address))
            return
        try:
            self._public.sendto(data, address)
        except BlockingIOError:
            self._waiting.append((data, address))
            self._loop.add_writer(self._public.fileno(), self._send_waiting)
        except OSError:
            pass

    def pass_on(self, port: int, data: bytes, address: Any) -> None:
        """Have the process behind this port take a packet that came from *address*."""
        came_from = json.dumps(address).encode()
        with suppress(OSError):
            self._own.sendto(len(came_from).to_bytes(2, "big") + came_from + data, ("127.0.0.1", port))

    def stop_reading(self) -> None:
        """Another process reads what clients send from now on."""
        self._loop.remove_reader(self._public.fileno())

    def close(self) -> None:
        """Neither read nor send any more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._public.fileno())
            self._loop.remove_reader(self._own.fileno())
            self._loop.remove_writer(self._public.fileno())
            self._public.close()
            self._own.close()

    def _read(self) -> None:
        for data, address in self._come(self._public):
            self._take(data, address)

    def _read_passed_on(self) -> None:
        for data, _ in self._come(self._own):
            start = 2 + int.from_bytes(data[:2], "big")
            try:
                came_from = json.loads(data[2:start])
            except ValueError:
                came_from = None
            if isinstance(came_from, list):
                # Anything else comes from another program of this machine.
                self._take_passed_on(data[start:], tuple(came_from))

    def _come(self, end: socket.socket) -> list[tuple[bytes, Any]]:
        come: list[tuple[bytes, Any]] = []
        with suppress(OSError):
            while len(come) < AT_ONCE:
                come.append(end.recvfrom(LONGEST))
        return come

    def _send_waiting(self) -> None:
        while self._waiting:
            data, address = self._waiting[0]
            try:
                self._public.sendto(data, address)
            except BlockingIOError:
                return
            except OSError:
                pass
            self._waiting.popleft()
        self._loop.remove_writer(self._public.fileno())
