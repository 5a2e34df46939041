"""
The certificate clients are shown: read at the start, at a reload, and when its files change.

Connections that are open keep the one they began with. A pair that cannot be read, or does not fit together, changes
nothing.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable

from proxy.settings.server import Tls

_log = logging.getLogger("hapax")

LOOK = 5.0
"""Seconds between two looks at whether the files have changed; what renews certificates does so days ahead."""


class Certificate:
    """That of one listening socket."""

    def __init__(self, files: Tls, on_change: Callable[[], object] = lambda: None) -> None:
        """
        *on_change* is called when other files have been found good. `OSError`, `ssl.SSLError` among them, when they
        cannot be read or do not fit together.
        """
        self._files = files
        self._on_change = on_change
        self._read = self._stamps()
        self.context = _context(files)
        """What connections are made with; its certificate changes, the object does not."""

    def read_again(self) -> None:
        """Have new connections get what the files hold now."""
        self._read = self._stamps()
        try:
            # Tried by itself first: half of a pair that is being written must not reach the one in use.
            _context(self._files)
            self.context.load_cert_chain(self._files.cert_file, self._files.key_file)
            self._on_change()
        except OSError as error:
            _log.error(
                "the certificate cannot be read, the old one stays in use",
                extra={"fields": {"file": self._files.cert_file, "reason": error.strerror or str(error)}},
            )
        else:
            _log.info("certificate read", extra={"fields": {"file": self._files.cert_file}})

    async def watch(self) -> None:
        """Read it whenever the files have changed, for ever."""
        while True:
            await asyncio.sleep(LOOK)
            if self._stamps() != self._read:
                self.read_again()

    def _stamps(self) -> list[tuple[int, int]]:
        """When each file was changed last, and which it is: renewals mostly put a new file in the place of the old."""
        stamps = []
        for file in (self._files.cert_file, self._files.key_file):
            try:
                found = os.stat(file)
                stamps.append((found.st_mtime_ns, found.st_ino))
            except OSError:
                stamps.append((0, 0))
        return stamps


def _context(files: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.cert_file, files.key_file)
    return context
