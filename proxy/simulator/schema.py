"""
Sample values for a JSON schema: the least value that satisfies it, for tool arguments and structured answers.

It covers what clients generate (objects, arrays, enums, references, alternatives), not all of JSON Schema.
"""

from __future__ import annotations

from typing import Any

DEPTH = 16  # a schema that refers to itself ends here


def sample(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """A value valid for *schema*; only required properties appear, or all of them where none is required."""
    if not isinstance(schema, dict) or depth > DEPTH:
        return None
    root = schema if root is None else root
    if isinstance(schema.get("$ref"), str):
        return sample(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for alternatives in ("anyOf", "oneOf", "allOf"):
        if schema.get(alternatives):
            return sample(schema[alternatives][0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        properties = schema.get("properties") or {}
        names = schema.get("required") or list(properties)
        return {name: sample(properties.get(name, {"type": "string"}), root, depth + 1) for name in names}
    if kind == "array":
        return [sample(schema.get("items", {"type": "string"}), root, depth + 1)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return max(1, schema.get("minimum", 1))
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return "sample"


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step) if step and isinstance(found, dict) else found
    return found if found is not root else None
