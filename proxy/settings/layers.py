"""
Raw layers of a configuration laid over each other: file, environment, command line.

Plain mappings in and out; what a name or a value means is not its business.
"""

from collections.abc import Mapping
from typing import Any

from proxy.settings.shape import Place


def lay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Merge mappings key by key; anything else, lists too, replaces what was below."""
    for key, value in above.items():
        # Variables cannot carry dashes and lose their case: HAPAX_PROVIDERS__LOCAL_LLAMA__... means local-llama.
        name = key if key in below else next((known for known in below if _folded(known) == _folded(key)), key)
        if isinstance(value, Mapping) and isinstance(below.get(name), dict):
            lay(below[name], value)
        elif isinstance(value, Mapping):
            below[name] = {}
            lay(below[name], value)
        else:
            below[name] = value


def _folded(name: str) -> str:
    return str(name).lower().replace("-", "_")


def nested(overrides: Mapping[str, object]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in overrides.items():
        layer: Any = value
        for step in reversed(path.split(".")):
            layer = {step: layer}
        lay(result, layer)
    return result


def holds(layer: Any, place: Place) -> bool:
    for step in place:
        if not isinstance(layer, dict) or step not in layer:
            return False
        layer = layer[step]
    return True


def without(value: Any, place: Place) -> Any:
    """A copy without what stands at the place, or without the closest thing above it that can go."""
    step, rest = place[0], place[1:]
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        inner = without(value[step], rest) if rest else None
        return [*value[:step], *([inner] if inner is not None else []), *value[step + 1 :]]
    if not isinstance(value, dict) or step not in value:
        return None
    inner = without(value[step], rest) if rest else None
    if inner is not None:
        return {**value, step: inner}
    return {key: entry for key, entry in value.items() if key != step}
