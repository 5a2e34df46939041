"""
A multipart form, read as it arrives: the names and sizes of its parts and the values of its short fields.

It never keeps a file's bytes, so an upload of any size costs the same memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KEPT_VALUE = 4096  # bytes of a part that are kept; enough for every field that is not a file
HEAD_LIMIT = 16 * 1024  # bytes of a part's own header lines

_PARAMETER = re.compile(rb'(filename|name)="([^"]*)"')


@dataclass(slots=True)
class Part:
    """One part of the form."""

    name: str
    filename: str | None
    size: int = 0
    value: bytes = b""


class Form:
    """Reads one multipart body piece by piece."""

    def __init__(self, boundary: bytes) -> None:
        self.parts: list[Part] = []
        # The first boundary has no line break before it; pretending one arrived makes all boundaries alike.
        self._pending = b"\r\n"
        self._mark = b"\r\n--" + boundary
        self._part: Part | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        pending = self._pending + data
        while True:
            at = pending.find(self._mark)
            if at < 0:
                # The last bytes may be the beginning of a boundary; the rest certainly is content.
                sure = len(pending) - len(self._mark)
                if sure > 0:
                    self._take(pending[:sure])
                    pending = pending[sure:]
                break
            head_end = pending.find(b"\r\n\r\n", at)
            if head_end < 0 and pending[at + len(self._mark) :].startswith(b"--"):
                self._take(pending[:at])
                self._part = None
                pending = b""
                break
            if head_end < 0:
                self._take(pending[:at])
                pending = pending[at:] if len(pending) - at < HEAD_LIMIT else b""
                break
            self._take(pending[:at])
            names = dict(_PARAMETER.findall(pending[at:head_end]))
            filename = names.get(b"filename")
            self._part = Part(
                names.get(b"name", b"").decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
            )
            self.parts.append(self._part)
            pending = pending[head_end + 4 :]
        self._pending = pending

    def _take(self, data: bytes) -> None:
        if self._part is None:
            return
        self._part.size += len(data)
        room = KEPT_VALUE - len(self._part.value)
        if room > 0:
            self._part.value += data[:room]

    def value(self, name: str) -> str:
        """The text of the field *name*; empty when there is none."""
        return next((p.value.decode("utf-8", "replace") for p in self.parts if p.name == name), "")

    @property
    def file(self) -> Part | None:
        """The first part that is a file."""
        return next((part for part in self.parts if part.filename is not None), None)


def form_for(content_type: bytes) -> Form | None:
    """A form reader for that content type, or None when it is not a multipart form."""
    if not content_type.lower().startswith(b"multipart/form-data"):
        return None
    matched = re.search(rb'boundary="?([^";]+)"?', content_type)
    return Form(matched[1].strip()) if matched else None
