"""
How a route tells of itself: its operations, what each takes and answers; written beside the route in its table.

Values only. The document that is made of them is `openapi`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict


class Shape(TypedDict):
    """A JSON object that has the members named, and no others."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # type: ignore[misc]  # pydantic's


class Open(TypedDict):
    """A JSON object that may have other members besides."""

    __pydantic_config__ = ConfigDict(extra="allow", use_attribute_docstrings=True)  # type: ignore[misc]  # pydantic's


@dataclass(frozen=True, slots=True)
class Media:
    """A body that is no JSON."""

    type: str
    """Its media type, without parameters."""


Answer = Any
"""What a body is: a `Shape`, a list or mapping of some, or `Media`; a tuple of these where the request decides."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a route."""

    method: str
    summary: str
    """What it does, as a sentence without its full stop."""
    answers: Mapping[int, Answer]
    """By status. Errors in the shape of the route's need not be told."""
    path: str = ""
    """Where it is, with what varies in braces; empty: the route's own template."""
    query: type[BaseModel] | None = None
    """The form its parameters have to fill."""
    without: frozenset[str] = frozenset()
    """Fields of that form that are no parameters here."""
    besides: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters that stand in no form, as JSON schemas."""
    body: Answer = None
    """The JSON it takes; None where it takes none."""


def get(summary: str, answer: Answer, **more: Any) -> Operation:
    """A page that is read: *answer* with 200."""
    return Operation("GET", summary, {200: answer}, **more)
