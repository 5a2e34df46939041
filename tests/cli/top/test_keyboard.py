"""Bytes of a keyboard as keys, in whatever pieces they come; and a terminal that is as it was."""

import os
import pty
import termios

import pytest

from proxy.cli.top.keyboard import KeyByKey, Keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"sp/", ["s", "p", "/"]),
        (b"\r\n\t\x7f\x08 ", ["enter", "enter", "tab", "backspace", "backspace", " "]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F\x1b[1~\x1b[4~", ["page up", "page down", "home", "end", "home", "end"]),
        (b"\x1b[Z", ["shift tab"]),
        ("ä世".encode(), ["ä", "世"]),
        # Keys that do nothing here: F5, Delete, Ctrl-Right, Ctrl-A.
        (b"\x1b[15~\x1b[3~\x1b[1;5C\x01q", ["q"]),
        # Escape, and at once something else.
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\xff\xfe", ["\ufffd", "\ufffd"]),
    ],
)
def test_bytes_are_keys_in_one_piece_and_in_many(data: bytes, keys: list[str]) -> None:
    assert Keys().pressed(data) == keys
    one_by_one = Keys()
    assert [key for byte in data for key in one_by_one.pressed(bytes([byte]))] == keys


def test_an_escape_that_nothing_follows_is_that_key() -> None:
    keys = Keys()
    assert (keys.pressed(b"\x1b"), keys.waits) == ([], True)
    assert (keys.nothing_followed(), keys.waits) == (["escape"], False)
    assert keys.nothing_followed() == []


def test_the_beginning_of_another_key_that_nothing_follows_is_none() -> None:
    keys = Keys()
    assert (keys.pressed(b"\x1b[1;"), keys.waits) == ([], True)
    assert (keys.nothing_followed(), keys.pressed(b"q")) == ([], ["q"])


def test_the_terminal_is_as_it_was_also_after_an_error() -> None:
    keyboard, terminal = pty.openpty()
    try:
        before = termios.tcgetattr(terminal)

        def fails() -> None:
            with KeyByKey(terminal):
                during = termios.tcgetattr(terminal)[3]
                assert not during & (termios.ICANON | termios.ECHO)
                # Ctrl-C remains a signal.
                assert during & termios.ISIG
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        assert termios.tcgetattr(terminal) == before
    finally:
        os.close(keyboard)
        os.close(terminal)
