"""
What the native endpoint makes of an answer's text: white space, fences and length, as `response_formatting` says.

Whole texts and those that come in pieces end up alike, but that a fence can be taken off a whole text only. OpenAI's
own routes never pass here.
"""

import re
from collections.abc import Callable

import orjson

from proxy.settings.processing import ResponseFormatting

_FENCE = re.compile(r"```[A-Za-z0-9]*\s*\n(.*?)\n?\s*```", re.DOTALL)

Note = Callable[[str], None]
"""Told the name of a setting that has changed an answer."""


def tidied(text: str, formatting: ResponseFormatting, note: Note) -> tuple[str, bool]:
    """*text* as configured, and whether it was cut to `max_length`."""
    text = joined(text)
    if formatting.clean_json:
        fenced = _FENCE.search(text)
        if fenced is not None and _is_json(fenced.group(1)):
            text = fenced.group(1)
            note("clean_json")
    if formatting.trim_whitespace and text != (text := text.strip()):
        note("trim_whitespace")
    encoded = text.encode()
    if len(encoded) <= formatting.max_length:
        return text, False
    note("max_length")
    return encoded[: formatting.max_length].decode(errors="ignore"), True


class Pieces:
    """A text that comes in pieces: what of each may pass now."""

    def __init__(self, formatting: ResponseFormatting, note: Note) -> None:
        self.truncated = False
        """It has been cut to `max_length`: nothing more of it passes."""
        self._trims = formatting.trim_whitespace
        self._room = formatting.max_length
        self._note = note
        self._trimmed = False
        self._begun = False
        self._held = ""
        """White space that is the end, if nothing follows; or half a character."""

    def feed(self, piece: str) -> str:
        """What of *piece* and what was held may pass; perhaps nothing."""
        if self.truncated:
            return ""
        text = self._held + piece
        whole = len(text) - (text[-1:] != "" and "\ud800" <= text[-1] <= "\udbff")
        text, self._held = text[:whole], text[whole:]
        if self._trims:
            if not self._begun:
                self._trimmed = self._trimmed or text != text.lstrip()
                text = text.lstrip()
            kept = text.rstrip()
            # More than there is room for would be cut anyway, whatever follows.
            self._held = (text[len(kept) :] + self._held)[: self._room + 2]
            text = kept
        return self._fitting(joined(text))

    def end(self) -> str:
        """What passes of what is still held, now that nothing follows."""
        rest = "" if self.truncated else joined(self._held)
        if self._trims:
            self._trimmed = self._trimmed or rest != rest.rstrip()
            rest = rest.rstrip()
        if self._trimmed:
            self._note("trim_whitespace")
        return self._fitting(rest)

    def _fitting(self, text: str) -> str:
        if not text:
            return ""
        self._begun = True
        encoded = text.encode()
        if len(encoded) > self._room:
            self.truncated = True
            self._note("max_length")
            text = encoded[: self._room].decode(errors="ignore")
        self._room -= len(encoded)
        return text


def joined(text: str) -> str:
    """*text* with halves of characters put together, and a half that is alone replaced: UTF-8 has no form for it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
