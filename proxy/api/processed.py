"""
What the native endpoint has done so far, in numbers: templates filled, answers made, settings that changed them.

Plain counts; metrics read them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.api.prompts import UNCHANGED


class Processed:
    """The counts of one process, each name there from the start."""

    def __init__(self) -> None:
        self.templates = dict.fromkeys(("default", "chat", "function", UNCHANGED), 0)
        """Prompts by the template they were made with."""
        self.answers = dict.fromkeys(("ok", "invalid"), 0)
        """Answers by whether they held something to show."""
        self.changes = dict.fromkeys(("clean_json", "trim_whitespace", "max_length"), 0)
        """Answers that a setting of `response_formatting` has changed."""
        self.seconds = dict.fromkeys(("template", "format"), 0.0)
        """Time it took."""

    def note(self, change: str) -> None:
        """A setting has changed an answer."""
        self.changes[change] += 1

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the seconds of what is done within."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began
