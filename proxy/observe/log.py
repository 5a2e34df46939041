"""
The log of this process: which streams there are, in which form and where they go.

What Python's logging is told under `hapax` and by libraries passes here, and the lines of exchanges beside it. What
stands on a line is decided in `lines` and `access`.
"""

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from proxy.core import clock
from proxy.observe.lines import Form, Json, RecordFormatter, Text
from proxy.observe.sink import DirectSink, File, Sink, Stream
from proxy.settings import Logging

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class Logs:
    """All streams of the log."""

    def __init__(self, settings: Logging, *, shared: bool = False, threads: bool = True) -> None:
        """
        Opens what is to be written; `OSError` for a directory or file that cannot be. *shared*: other processes write
        there as well. Without *threads* lines are written at once, for a process that forks.
        """
        sink_of = Sink if threads else DirectSink
        self.level = LEVELS[settings.level]
        self.form: Form
        if settings.format == "json":
            self.form = Json()
        else:
            self.form = Text(colours=not settings.dir and getattr(sys, settings.output).isatty())
        self._streams = frozenset(settings.streams)
        self._sinks: dict[str, Sink | DirectSink] = {}
        if settings.dir:
            folder = Path(settings.dir)
            folder.mkdir(parents=True, exist_ok=True)
            for name in settings.streams:
                file = File(folder / f"{name}.log", settings.max_bytes, settings.backup_count)
                self._sinks[name] = sink_of(file)
        else:
            sink = sink_of(Stream(getattr(sys, settings.output).fileno(), shared))
            # All go the same way, and errors must not be there twice.
            once = self._streams - {"error"} if "application" in self._streams else self._streams
            self._sinks = dict.fromkeys(once, sink)
        shown = "access" in self._streams
        self.tells_good_ends = shown and self.level <= logging.INFO
        """Calls that ended well, or were refused, have a line."""
        self.tells_bad_ends = shown and self.level <= logging.WARNING
        """Those that failed have one."""
        self.audits_calls = settings.audit_calls and "audit" in self._streams
        self.tells_metrics = "metrics" in self._streams
        self.tells_content = settings.log_content and "application" in self._streams
        self.redacts_pii = settings.redact_pii

    @property
    def dropped_total(self) -> int:
        """Lines a blocked or full sink did not take."""
        return sum(sink.dropped_total for sink in self._all())

    def put(self, stream: str, data: bytes, lines: int) -> None:
        """Write lines to a stream; nothing where it is switched off."""
        sink = self._sinks.get(stream)
        if sink is not None:
            sink.put(data, lines)

    def tell(self, stream: str, message: str, fields: dict[str, Any], timestamp: str | None = None) -> None:
        """One line of *stream*."""
        at = timestamp or clock.iso(clock.wall())
        logger = "hapax" if stream == "application" else f"hapax.{stream}"
        self.put(stream, self.form.line(at, "info", logger, message, fields), 1)

    def take_over(self) -> None:
        """Python's logging tells us from now on: `hapax` everything from the level up, libraries their warnings."""
        handler = _Handler(self)
        root = logging.getLogger()
        # A library's line without a handler would be written in Python's own form, with a traceback.
        root.handlers = [handler]
        root.setLevel(max(self.level, logging.WARNING))
        logging.getLogger("hapax").setLevel(self.level)
        # How a connection to the store was let go is nothing new: the store says itself when it cannot be used.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        # Nor is what aioquic finds wrong with single packets of clients.
        logging.getLogger("quic").setLevel(logging.CRITICAL)

    def reopen(self) -> None:
        """Open every file by its name again."""
        for sink in self._all():
            sink.reopen()

    def stop(self) -> None:
        """Write what waits, and close."""
        for sink in self._all():
            sink.stop()

    def _all(self) -> Iterable[Sink | DirectSink]:
        return set(self._sinks.values())


class _Handler(logging.Handler):
    """Hands records to the sinks of their streams."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs
        self._lines = RecordFormatter(logs.form)

    def emit(self, record: logging.LogRecord) -> None:
        line = self._lines.line(record)
        stream = record.name.removeprefix("hapax.") if record.name.startswith("hapax.") else "application"
        self._logs.put(stream, line, 1)
        if record.levelno >= logging.ERROR:
            self._logs.put("error", line, 1)
