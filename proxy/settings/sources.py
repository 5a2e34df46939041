"""
Where each value of a configuration came from: the command line, a variable, a line of the file with what it refers to.

It looks at the layers as they were laid over each other; what is found in none of them is a default.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.settings.layers import holds
from proxy.settings.problems import path_text
from proxy.settings.shape import Place
from proxy.settings.values import leaves
from proxy.settings.whole import Settings


@dataclass(slots=True)
class Layers:
    """What a configuration was made of, the highest layer first."""

    command_line: dict[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Place] = field(default_factory=dict)
    """Which setting each variable speaks for."""
    found: dict[Place, str] = field(default_factory=dict)
    """Values that no layer names, or that a variable shared with other programs decides, with what they come from."""
    file: str = ""
    """Its name; empty where there is none."""
    written: dict[str, Any] = field(default_factory=dict)
    """What the file says, in today's names."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """By path, as it is written there: `line 3, column 7`."""
    references: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    """What was filled in where."""


def sources(settings: Settings, layers: Layers) -> dict[str, str]:
    """By path, where each value came from that is no default."""
    variables = {_folded(place): name for name, place in layers.variables.items()}
    lines = {_plain(path): where for path, where in layers.lines.items()}
    named = ((place, _source(place, layers, variables, lines)) for place, _ in leaves(settings))
    return {path_text(place): source for place, source in named if source}


def overridden(layers: Layers) -> list[str]:
    """What the file says and a variable takes the place of, a sentence each; no value is repeated."""
    told = []
    for name, folded in layers.variables.items():
        place = _as_written(layers.written, folded)
        if place is not None:
            lines = {_plain(path): where for path, where in layers.lines.items()}
            where = lines.get(_plain(path_text(place)), "")
            said = f"{layers.file}{f' ({where})' if where else ''}"
            told.append(f"{path_text(place)}: {name} in the environment takes the place of what {said} says")
    return told


def _as_written(layer: Any, folded: Place) -> Place | None:
    """The place in the file's own spelling, which a variable cannot have; None where the file says nothing of it."""
    place: list[Any] = []
    for step in folded:
        known = next((each for each in layer if _folded((each,)) == (step,)), None) if isinstance(layer, dict) else None
        if known is None:
            return None
        place.append(known)
        layer = layer[known]
    return tuple(place)


def _source(place: Place, layers: Layers, variables: Mapping[Place, str], lines: Mapping[str, str]) -> str:
    if holds(layers.command_line, place):
        return "command line"
    if (found := layers.found.get(place)) is not None:
        return found
    above = [place[: len(place) - i] for i in range(len(place))]
    for each in above:
        if (name := variables.get(_folded(each))) is not None:
            return name
    if _written(layers.written, place):
        references = next((layers.references[each] for each in above if layers.references.get(each)), ())
        # A value within a list on one line has no line of its own.
        where = next((lines[_plain(path_text(each))] for each in above if _plain(path_text(each)) in lines), "")
        line = re.match(r"line (\d+)", where)
        shown = f"{layers.file}:{line[1]}" if line else layers.file
        return f"{shown} ({', '.join(references)})" if references else shown
    # What `routes` say of limits is put there by the loader.
    return "routes" if place[:2] == ("limits", "routes") and len(place) > 2 else ""


def _written(layer: Any, place: Place) -> bool:
    """Whether the file says something of *place*: it, or a value that holds it."""
    for step in place:
        if isinstance(layer, dict):
            if step not in layer:
                return False
            layer = layer[step]
        elif isinstance(layer, list) and isinstance(step, int) and step < len(layer):
            layer = layer[step]
        else:
            # A text that is read as something with parts.
            return True
    return True


def _folded(place: Place) -> Place:
    """As variables name it: see `layers.lay`."""
    return tuple(str(step).lower().replace("-", "_") for step in place)


def _plain(path: str) -> str:
    """A path in whichever spelling the file has it."""
    return path.replace("_", "").lower()
