"""
The screen while it is open: draws twice a second and at each key, until it is left.

Whatever ends it, the terminal is as it was before.
"""

import asyncio
import os
import signal
from typing import TYPE_CHECKING
from urllib.parse import quote

from rich.console import Group
from rich.live import Live

from proxy.cli.top.calls import Call
from proxy.cli.top.follow import Follower
from proxy.cli.top.frame import Screen, frame
from proxy.cli.top.keyboard import PATIENCE, KeyByKey, Keys
from proxy.cli.top.model import Picture
from proxy.cli.top.source import Away, Missing, Refused
from proxy.cli.top.view import Trail, View
from proxy.core import tasks

if TYPE_CHECKING:
    from rich.console import Console

EVERY = 0.5
"""Seconds between two drawings in which no key is pressed."""


class Terminal:
    """It."""

    def __init__(self, follower: Follower, console: "Console", keyboard: int) -> None:
        """*keyboard*: the file descriptor that keys are read from."""
        self._follower = follower
        self._console = console
        self._keyboard = keyboard
        self._keys = Keys()
        self._view = View()
        self._picture = self._now()
        self._wake = asyncio.Event()
        self._asking = tasks.Tasks()
        self._live = Live(console=console, screen=True, auto_refresh=False)

    async def run(self) -> None:
        """Show it until the one who looks leaves. Raises Refused where the gateway begins to refuse the key."""
        loop = asyncio.get_running_loop()
        running = tasks.Tasks()
        with KeyByKey(self._keyboard) as mode, self._live:
            loop.add_reader(self._keyboard, self._read)
            loop.add_signal_handler(signal.SIGWINCH, self._wake.set)
            loop.add_signal_handler(signal.SIGTSTP, self._suspend, mode)
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._leave)
            try:
                followed = running.start(self._follower.follow(), "feed")
                looked = running.start(self._follower.look_on(), "pages")
                drawn = running.start(self._draw_on(), "screen")
                ended, _ = await asyncio.wait((followed, looked, drawn), return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            finally:
                loop.remove_reader(self._keyboard)
                for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP):
                    loop.remove_signal_handler(number)
                await self._asking.stop()
                await running.stop()

    async def _draw_on(self) -> None:
        while not self._view.ended:
            self._draw()
            await tasks.happens(self._wake, EVERY)
            self._wake.clear()

    def _draw(self) -> None:
        self._picture = self._now()
        width, height = self._console.size
        screen = Screen(width, height, self._follower.source.place.url, self._follower.state)
        self._live.update(Group(*frame(self._picture, self._view, screen)), refresh=True)

    def _now(self) -> Picture:
        return self._follower.model.picture(self._follower.source.now())

    def _read(self) -> None:
        try:
            data = os.read(self._keyboard, 4096)
        except OSError:
            data = b""
        if not data:
            # The terminal is gone.
            self._leave()
            return
        self._press(self._keys.pressed(data))
        if self._keys.waits:
            asyncio.get_running_loop().call_later(PATIENCE, self._nothing_followed)

    def _nothing_followed(self) -> None:
        self._press(self._keys.nothing_followed())

    def _press(self, keys: list[str]) -> None:
        for key in keys:
            wanted = self._view.press(key, self._view.frozen or self._picture)
            if wanted is not None and self._view.trail is not None:
                self._asking.start(self._ask(wanted, self._view.trail), "trail")
        self._wake.set()

    async def _ask(self, call: Call, trail: Trail) -> None:
        """Have *trail* tell what became of *call*."""
        try:
            trail.told = await self._follower.source.page(f"/admin/requests/{quote(call.id, safe='')}")
        except (Missing, Refused) as error:
            trail.trouble = str(error)
        except Away as error:
            trail.trouble = f"The gateway does not answer ({error})."
        self._wake.set()

    def _leave(self) -> None:
        self._view.ended = True
        self._wake.set()

    def _suspend(self, mode: KeyByKey) -> None:
        """Ctrl-Z: the terminal is the shell's until this goes on."""
        self._live.stop()
        mode.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        mode.take()
        self._live.start()
        self._wake.set()
