"""
Keys as they are pressed at a terminal: its mode while they are read one by one, and their bytes as names.

What a key does is `view`'s matter. The mode is given back as it was, whatever happens.
"""

import codecs
import re
import termios
import tty
from contextlib import suppress
from types import TracebackType

PATIENCE = 0.05
"""Seconds after which an Escape that nothing follows was that key, and not the beginning of another one's bytes."""

# ECMA-48 section 5.4 (control sequences), and the forms that terminals give to keys: xterm's ctlseqs, "Special Keys".
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])")
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NAMES = {
    **{f"\x1b{lead}{letter}": name for lead in "[O" for letter, name in _LETTERS.items()},
    "\x1b[1~": "home",
    "\x1b[7~": "home",
    "\x1b[4~": "end",
    "\x1b[8~": "end",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[Z": "shift tab",
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
}
_NAMED = frozenset(_NAMES.values())


class Keys:
    """Makes names of bytes, which may come in any pieces: `up`, `enter`, `escape` and so on, or the letter itself."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def waits(self) -> bool:
        """Whether there are bytes that may be the beginning of a key's."""
        return bool(self._rest)

    def pressed(self, data: bytes) -> list[str]:
        """The keys that are whole with *data*."""
        text, self._rest = self._rest + self._decoder.decode(data), ""
        found = []
        at = 0
        while at < len(text):
            sequence = _SEQUENCE.match(text, at)
            if sequence is None and _BEGUN.match(text, at):
                self._rest = text[at:]
                break
            pressed = text[at] if sequence is None else sequence[0]
            at += len(pressed)
            # A key that is not known, such as a function key, does nothing.
            name = _NAMES.get(pressed, pressed)
            if name in _NAMED or name.isprintable():
                found.append(name)
        return found

    def nothing_followed(self) -> list[str]:
        """What was pressed where no more bytes have come for `PATIENCE`."""
        rest, self._rest = self._rest, ""
        return ["escape"] if rest == "\x1b" else []


class KeyByKey:
    """A terminal that gives each key at once and shows none, for as long as this is open."""

    def __init__(self, terminal: int) -> None:
        """*terminal*: its file descriptor."""
        self.terminal = terminal
        self._before = termios.tcgetattr(terminal)

    def __enter__(self) -> "KeyByKey":
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def take(self) -> None:
        """Begin; Ctrl-C and Ctrl-Z remain signals."""
        tty.setcbreak(self.terminal)

    def give_back(self) -> None:
        """As it was. What was pressed and not read is not for the shell."""
        # A terminal that is gone needs nothing more.
        with suppress(termios.error):
            termios.tcsetattr(self.terminal, termios.TCSAFLUSH, self._before)
