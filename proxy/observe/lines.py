"""
One form for every line: JSON for machines with every fact, text for people with those that they look for.

It formats and masks; which lines there are and where they go is decided elsewhere.
"""

import logging
import os
import re
import socket
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from proxy import __version__
from proxy.core import clock
from proxy.core.plain import on_one_line
from proxy.observe.call_line import call_line, word
from proxy.observe.redaction import without_secrets

CALLS = "hapax.access"
"""The logger of the lines of exchanges."""
FOR_MACHINES = ("event", "stage")
"""Fields that say what the message says in words."""
LONGEST_EVENT = 64
"""Characters of an event that is made of a message."""
_VARIES = re.compile(r"%[-0-9.]*[a-z]")
_WORD = re.compile(r"[a-z0-9]+")

_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31"}


def base_fields() -> dict[str, Any]:
    """What stands on every line: whose it is."""
    return {
        "service": "hapax",
        "version": __version__,
        "env": os.environ.get("HAPAX_ENV", "production"),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
    }


class Json:
    """Lines as JSON objects."""

    def __init__(self) -> None:
        # The same bytes at the end of every line, made once.
        self._base = b"," + orjson.dumps(base_fields())[1:] + b"\n"

    def line(self, timestamp: str, level: str, logger: str, message: str, fields: dict[str, Any]) -> bytes:
        """One line, its end included."""
        head = {"timestamp": timestamp, "level": level, "logger": logger, "message": message}
        if not fields:
            return orjson.dumps(head)[:-1] + self._base
        # Two objects put together as bytes: putting some forty fields into one takes longer than writing both.
        return b"%b,%b%b" % (orjson.dumps(head)[:-1], orjson.dumps(fields, default=str)[1:-1], self._base)


class Text:
    """Lines for people. Whatever a client sent stays within its line, and gives a terminal nothing to obey."""

    def __init__(self, terminal: bool = False, colours: bool = False) -> None:
        """*terminal*: it is read as it happens, where the time of day on this machine is enough."""
        self._terminal = terminal
        self._colours = colours

    def line(self, timestamp: str, level: str, logger: str, message: str, fields: dict[str, Any]) -> bytes:
        """One line, its end included; what is empty is left out, and of a call only what people look for is told."""
        if self._terminal:
            timestamp = datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")
        shown = f"{level:7}"
        if self._colours:
            shown = f"\x1b[{_COLOURS.get(level, '0')}m{shown}\x1b[0m"
        if logger == CALLS:
            told = call_line(fields)
        else:
            told = on_one_line(message) + "".join(
                f" {name}={word(value)}"
                for name, value in fields.items()
                if value not in ("", None, [], {}) and name not in FOR_MACHINES
            )
        return f"{timestamp} {shown} {told}\n".encode(errors="replace")


Form = Json | Text


class RecordFormatter:
    """Makes lines of what Python's logging hands over, libraries' included."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def line(self, record: logging.LogRecord) -> bytes:
        """One line, without the text of an exception and without anything that looks like a secret."""
        ours = record.name.partition(".")[0] == "hapax"
        fields = {
            "event": _event(without_secrets(str(record.msg))) if ours else "library",
            "stage": "gateway" if ours else "library",
            **{name: _masked(value) for name, value in getattr(record, "fields", {}).items()},
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = _where(record.exc_info[0], record.exc_info[2])
        message = without_secrets(record.getMessage()).replace("\n", " ")
        return self._form.line(clock.iso(clock.wall()), record.levelname.lower(), record.name, message, fields)


@lru_cache(512)
def _event(template: str) -> str:
    """A name for what a message says that names none: its words, without what varies."""
    return "_".join(_WORD.findall(_VARIES.sub(" ", template.lower())))[:LONGEST_EVENT]


def _masked(value: Any) -> Any:
    """*value*, which JSON can hold, without anything that looks like a secret in its texts."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {name: _masked(part) for name, part in value.items()}
    return [_masked(part) for part in value] if isinstance(value, list | tuple) else value


def _where(kind: type[BaseException], traceback: Any) -> str:
    """The type of an exception and where it was raised; its text may quote a request, so it stays out."""
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return f"{kind.__name__} at {' < '.join(reversed(frames[-6:]))}"
