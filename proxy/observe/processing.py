"""
The families of what the native endpoint did with prompts and answers; their numbers are its own.

A collector only: it counts nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.observe.tally import counter

Numbers = Mapping[str, float]


class Counted(Protocol):
    """The numbers by label, which their owner goes on counting."""

    @property
    def templates(self) -> Numbers: ...
    @property
    def answers(self) -> Numbers: ...
    @property
    def changes(self) -> Numbers: ...
    @property
    def seconds(self) -> Numbers: ...


class Processing(Collector):
    """Four counters."""

    def __init__(self, done: Counted) -> None:
        self._families = (
            ("hapax_processing_templates", "Prompts of the native endpoint, by template.", "template", done.templates),
            ("hapax_processing_answers", "Its answers, by what they were.", "outcome", done.answers),
            ("hapax_processing_changes", "Its answers that a setting changed.", "change", done.changes),
            ("hapax_processing_seconds", "Time its prompts and answers took.", "phase", done.seconds),
        )

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        for name, help, label, numbers in self._families:
            yield counter(name, help, (label,), (((key,), number) for key, number in numbers.items()))
