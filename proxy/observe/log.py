"""
The log of this process: which streams there are, in which form and where they go.

What Python's logging is told under `hapax` and by libraries passes here, and the lines of exchanges beside it. What
stands on a line is decided in `lines` and `access`.
"""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.core import clock
from proxy.observe.lines import Form, Json, RecordFormatter, Text
from proxy.observe.sink import DirectSink, File, Sink, Stream
from proxy.settings import Logging
from proxy.settings.observation import LogLevel

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


@dataclass(frozen=True, slots=True)
class Opened:
    """What lines are to be written to by some settings."""

    settings: Logging
    sinks: Mapping[str, tuple[tuple[object, ...], Sink | DirectSink]]
    """By stream, with what tells one destination from another."""


class Logs:
    """All streams of the log."""

    def __init__(self, settings: Logging, *, shared: bool = False, threads: bool = True) -> None:
        """
        Opens what is to be written; `OSError` for a directory or file that cannot be. *shared*: other processes write
        there as well. Without *threads* lines are written at once, for a process that forks.
        """
        self._shared = shared
        self._sink_of: type[Sink] | type[DirectSink] = Sink if threads else DirectSink
        self._taken_over = False
        self._live: LogLevel | None = None
        self._lost = 0
        """Lines dropped by sinks that are no longer in use."""
        self._sinks: Mapping[str, tuple[tuple[object, ...], Sink | DirectSink]] = {}
        self.obey(self.opened(settings))

    def opened(self, settings: Logging) -> Opened:
        """
        What *settings* ask for, for `obey` or `discard`; `OSError` for a directory or file that cannot be. Destinations
        that stay are not opened again.
        """
        known = dict(self._sinks.values())
        sinks: dict[str, tuple[tuple[object, ...], Sink | DirectSink]] = {}
        try:
            if settings.dir:
                folder = Path(settings.dir)
                folder.mkdir(parents=True, exist_ok=True)
                for name in settings.streams:
                    path = folder / f"{name}.log"
                    key: tuple[object, ...] = (path, settings.max_bytes, settings.backup_count)
                    sink = known.get(key)
                    if sink is None:
                        sink = self._sink_of(File(path, settings.max_bytes, settings.backup_count))
                    sinks[name] = key, sink
            else:
                key = (settings.output,)
                stream = Stream(getattr(sys, settings.output).fileno(), self._shared)
                one = key, known.get(key) or self._sink_of(stream)
                streams = frozenset(settings.streams)
                # All go the same way, and errors must not be there twice.
                sinks = dict.fromkeys(streams - {"error"} if "application" in streams else streams, one)
        except OSError:
            self.discard(Opened(settings, sinks))
            raise
        return Opened(settings, sinks)

    def obey(self, opened: Opened) -> None:
        """Write there, and in that form, from now on. What waits for a destination that is left is still written."""
        settings, before = opened.settings, self._sinks
        self._settings = settings
        self.level = LEVELS[self._live or settings.level]
        self.form = form_of(settings)
        self._sinks = opened.sinks
        self.tells_exchanges_from = self.level if "access" in settings.streams else logging.CRITICAL
        """The level from which on exchanges have a line: calls have `info`, failed ones `warning`, probes `debug`."""
        self.audits_calls = settings.audit_calls and "audit" in settings.streams
        self.tells_metrics = "metrics" in settings.streams
        self.tells_content = settings.log_content and "application" in settings.streams
        self.redacts_pii = settings.redact_pii
        if self._taken_over:
            self.take_over()
        for sink in {sink for _, sink in before.values()} - set(self._all()):
            self._lost += sink.dropped_total
            sink.retire()

    def change_level(self, level: LogLevel | None) -> None:
        """Tell from *level* on, whatever the settings say; None: as they say."""
        if level != self._live:
            self._live = level
            self.obey(Opened(self._settings, self._sinks))

    def discard(self, opened: Opened) -> None:
        """It is not wanted after all."""
        for sink in {sink for _, sink in opened.sinks.values()} - set(self._all()):
            sink.retire()

    @property
    def dropped_total(self) -> int:
        """Lines a blocked or full sink did not take."""
        return self._lost + sum(sink.dropped_total for sink in self._all())

    def put(self, stream: str, data: bytes, lines: int) -> None:
        """Write lines to a stream; nothing where it is switched off."""
        found = self._sinks.get(stream)
        if found is not None:
            found[1].put(data, lines)

    def tell(self, stream: str, message: str, fields: dict[str, Any], timestamp: str | None = None) -> None:
        """One line of *stream*."""
        at = timestamp or clock.iso(clock.wall())
        logger = "hapax" if stream == "application" else f"hapax.{stream}"
        self.put(stream, self.form.line(at, "info", logger, message, fields), 1)

    def take_over(self) -> None:
        """Python's logging tells us from now on: `hapax` everything from the level up, libraries their warnings."""
        self._taken_over = True
        handler = _Handler(self)
        root = logging.getLogger()
        # A library's line without a handler would be written in Python's own form, with a traceback.
        root.handlers = [handler]
        root.setLevel(max(self.level, logging.WARNING))
        logging.getLogger("hapax").setLevel(self.level)
        # Who changed what is told at any level.
        logging.getLogger("hapax.audit").setLevel(logging.INFO)
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
        return {sink for _, sink in self._sinks.values()}


def form_of(settings: Logging) -> Form:
    """The form of lines by these settings: where they say nothing else, text where a person reads along, else JSON."""
    on_terminal = not settings.dir and getattr(sys, settings.output).isatty()
    if settings.format == "json" or (settings.format == "auto" and not on_terminal):
        return Json()
    # https://no-color.org; a dumb terminal knows no colours.
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return Text(on_terminal, colours=on_terminal and not plain)


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
