"""
The tree of sections, walked: which section stands at a path, and the raw mapping brought into its form.

It looks at names only; values are judged by the models.
"""

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from proxy.settings.values import Section

Place = tuple[str | int, ...]
"""Where something stands in the configuration, step by step."""


@dataclass(frozen=True, slots=True)
class Nested:
    """Sections below a field: one, one per name, or a list."""

    section: type[Section]
    kind: Literal["one", "named", "listed"]


def bare(annotation: Any) -> Any:
    """The annotation without Annotated and without `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            rest = [part for part in get_args(annotation) if part is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def nested(info: FieldInfo) -> Nested | None:
    """The sections below a field, if it has any."""
    annotation = bare(info.annotation)
    origin, kind = get_origin(annotation), "one"
    if origin is dict:
        annotation, kind = bare(get_args(annotation)[1]), "named"
    elif origin is tuple:
        annotation, kind = bare(get_args(annotation)[0]), "listed"
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return Nested(annotation, kind)  # type: ignore[arg-type]  # one of the three above
    return None


def section_at(place: Place, root: type[Section]) -> type[Section] | None:
    """The section a path leads to, or None when it leads elsewhere."""
    section: type[Section] | None = root
    steps = iter(place)
    for step in steps:
        info = section.model_fields.get(str(step)) if section is not None else None
        below = nested(info) if info is not None else None
        if below is None:
            return None
        section = below.section
        if below.kind != "one" and next(steps, None) is None:
            return None
    return section


def every_field(section: type[Section], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Path and field of everything in the tree, such as `providers.<name>.timeouts.idle`, parents first."""
    for name, info in section.model_fields.items():
        path = f"{above}{name}"
        yield path, info
        below = nested(info)
        if below is not None:
            yield from every_field(below.section, path + {"one": ".", "named": ".<name>.", "listed": "[]."}[below.kind])


def paths_named(name: str, root: type[Section]) -> list[str]:
    """Every path whose last word is the name, the shortest first."""
    found = [path for path, _ in every_field(root) if path.rpartition(".")[2] == name]
    return sorted(found, key=lambda path: path.count("."))


@dataclass(slots=True)
class Normalised:
    """A raw mapping with canonical names, and what was noticed on the way."""

    value: dict[str, Any]
    problems: list[tuple[Place, str]] = field(default_factory=list)
    renamed: list[tuple[Place, str]] = field(default_factory=list)
    """camelCase names found, with the canonical ones."""


def normalised(raw: dict[Any, Any], root: type[Section]) -> Normalised:
    """camelCase into snake_case, absent values out, names of entries into text; what it cannot place it leaves."""
    result = Normalised({})
    result.value = _section(raw, root, (), result)
    return result


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _section(raw: dict[Any, Any], section: type[Section], place: Place, result: Normalised) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in raw.items():
        name = str(key)
        canonical = _snake(name)
        if name not in section.model_fields and canonical in section.model_fields:
            result.renamed.append(((*place, name), canonical))
            name = canonical
            if name in raw:
                result.problems.append(((*place, name), f"is given twice, also as `{key}`; keep one"))
        info = section.model_fields.get(name)
        # `key:` with nothing behind it means the default.
        if value is None and info is not None:
            continue
        plain[name] = value if info is None else _field(value, info, (*place, name), result)
    return plain


def _field(value: Any, info: FieldInfo, place: Place, result: Normalised) -> Any:
    below = nested(info)
    if get_origin(bare(info.annotation)) is dict and isinstance(value, dict):
        entries: dict[str, Any] = {}
        for key, entry in value.items():
            if not isinstance(key, str):
                result.problems.append(
                    ((*place, str(key)), 'is not read as text by YAML; put the name in quotes: "..."')
                )
            # `simulator:` with nothing behind it is an entry with all defaults.
            if below is not None and (entry is None or isinstance(entry, dict)):
                entry = _section(entry or {}, below.section, (*place, str(key)), result)
            entries[str(key)] = entry
        return entries
    if below is None:
        return value
    if below.kind == "one" and isinstance(value, dict):
        return _section(value, below.section, place, result)
    if below.kind == "listed" and isinstance(value, list):
        return [
            _section(entry, below.section, (*place, i), result) if isinstance(entry, dict) else entry
            for i, entry in enumerate(value)
        ]
    return value
