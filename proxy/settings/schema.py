"""
The JSON schema of the configuration file, for editors: `python -m proxy.settings.schema > config/hapax.schema.json`.

It describes what may be written, so it is wider than the models where `${VAR}` may stand for a number.
"""

import json
import sys
from typing import Any

from proxy.settings.providers import PRESETS
from proxy.settings.whole import Settings

_REFERENCE = {"type": "string", "pattern": r"\$\{"}


def schema() -> dict[str, Any]:
    """The schema of hapax.yaml."""
    whole = Settings.model_json_schema()
    for definition in whole["$defs"].values():
        _widen(definition)
    _widen(whole)
    # An entry named openai is of type openai without saying so.
    provider = whole["$defs"]["Provider"]
    provider.pop("required")
    whole["properties"]["providers"]["properties"] = {name: {"$ref": "#/$defs/Provider"} for name in PRESETS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "hapax.yaml",
    }


def text() -> str:
    """The schema as the file holds it."""
    return json.dumps(schema(), indent=2) + "\n"


def _widen(section: dict[str, Any]) -> None:
    """Let every number, switch and choice be a ${VAR} as well, and a section be present with nothing in it."""
    for name, field in section.get("properties", {}).items():
        field.pop("title", None)
        section["properties"][name] = _widened(field)


def _widened(field: dict[str, Any]) -> dict[str, Any]:
    outside: dict[str, Any] = {key: field[key] for key in ("description", "default", "unit") if key in field}
    inside = {key: value for key, value in field.items() if key not in outside and key not in ("format", "writeOnly")}
    if "$ref" in inside:
        inside = {"anyOf": [{"$ref": inside["$ref"]}, {"type": "null"}]}
    elif "anyOf" in inside:
        inside["anyOf"] = [
            {key: value for key, value in choice.items() if key not in ("format", "writeOnly")}
            for choice in inside["anyOf"]
        ]
        inside["anyOf"].append(_REFERENCE)
    elif inside.get("type") in ("integer", "number", "boolean") or "enum" in inside or "pattern" in inside:
        inside = {"anyOf": [inside, _REFERENCE]}
    return {**inside, **outside}


if __name__ == "__main__":
    sys.stdout.write(text())
