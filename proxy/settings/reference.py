"""
The reference of every setting, in Markdown: `python -m proxy.settings.reference > docs/configuration.md`.

Types, defaults, units and meanings come from the sections; the head alone is written by hand.
"""

import sys
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from proxy.settings.shape import bare, every_field, nested
from proxy.settings.whole import Settings

HEAD = """\
# Configuration

One YAML file, named by `--config`, else by `$CONFIG_PATH`, else `hapax.yaml` in the working directory. Without a file,
every provider whose API key is in the environment is used, else a local Ollama that answers, else an embedded
simulator. `hapax check` reports every problem of a configuration at once.

- **Precedence:** command line, environment, file, defaults. A setting's variable is `HAPAX_` and its path with two
  underscores for each dot: `HAPAX_SERVER__PORT=8081`. Lists are written `a,b` or as JSON. A dash in a provider's name
  becomes an underscore. `HAPAX_HOST`, `HAPAX_PORT`, `LOG_LEVEL` and `LOG_FORMAT` work too. Where spans and metrics
  go may stand in the variables of OpenTelemetry's SDKs: see [tracing.md](tracing.md#by-variables).
- **Variables:** `${VAR}` and `${VAR:-default}` expand in every text value, after the YAML has been parsed. A value that
  comes out empty counts as not written, so its default holds. `${file:/path}` stands for what a file holds, without the
  line break at its end.
- **Durations** are written `250ms`, `15s`, `1m30s`, `24h`, or as a number of seconds. **Sizes** are written `64KiB`,
  `10MiB` (1024s), `10MB` (1000s), or as a number of bytes.
- **Secrets** never appear in messages, logs or the admin API.
- **Changes** are in force a moment after the file is written, but for a few settings: see [reload.md](reload.md).
- A name that is not a setting is an error, which says what settings of other gateways are called here. camelCase names
  (`circuitBreaker`) and the `llm` section of earlier releases are accepted with a warning.
- A file that sets nothing is an error, and so is `providers:` with nothing below it.

`<name>` stands for a name you choose, `[]` for each entry of a list.

For completion and checks while you type, begin the file with
`# yaml-language-server: $schema=<path or address of config/hapax.schema.json>`.
"""


def text() -> str:
    """The whole page."""
    tops = list(Settings.model_fields)
    parts = [HEAD]
    for top in tops:
        info = Settings.model_fields[top]
        parts.append(f"\n## {top}\n\n{info.description}\n\n| setting | type | default | unit | meaning |\n")
        parts.append("|---|---|---|---|---|\n")
        for path, below in every_field(Settings):
            if path == top and nested(below) and nested(below).kind == "one":  # type: ignore[union-attr]  # asked twice
                continue
            if path == top or path.startswith((f"{top}.", f"{top}[")):
                parts.append(_row(path, below))
    return "".join(parts)


def _row(path: str, info: FieldInfo) -> str:
    unit = info.json_schema_extra.get("unit", "") if isinstance(info.json_schema_extra, dict) else ""
    cells = (f"`{path}`", _kind(info), _default(info), str(unit), info.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _kind(info: FieldInfo) -> str:
    unit = info.json_schema_extra.get("unit") if isinstance(info.json_schema_extra, dict) else None
    if unit is not None:
        return "duration" if unit == "seconds" else "size"
    return _type_words(bare(info.annotation), info.metadata)


def _type_words(annotation: Any, metadata: list[Any]) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return ", ".join(f"`{str(choice).lower()}`" for choice in get_args(annotation))
    if origin is tuple:
        return f"list of {_type_words(bare(get_args(annotation)[0]), [])}"
    if origin is dict:
        return f"mapping of names to {_type_words(bare(get_args(annotation)[1]), [])}"
    if annotation is bool:
        return "`true`, `false`"
    if annotation in (int, float):
        return ("whole number" if annotation is int else "number") + _range(metadata)
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return "secret" if annotation is SecretStr else "URL"
    return "text" if annotation is str else "section"


def _range(metadata: list[Any]) -> str:
    low = next((item.ge for item in metadata if isinstance(item, annotated_types.Ge)), None)
    high = next((item.le for item in metadata if isinstance(item, annotated_types.Le)), None)
    above = next((item.gt for item in metadata if isinstance(item, annotated_types.Gt)), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    if low is not None:
        return f", {low} or more"
    return f", more than {above}" if above is not None else ""


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "" if nested(info) is not None else "none"
    if info.default is PydanticUndefined:
        return "required"
    if info.default in (None, "", ()):
        return "none"
    if isinstance(info.default, tuple):
        return " ".join(f"`{entry}`" for entry in info.default)
    if isinstance(info.default, bool):
        return f"`{str(info.default).lower()}`"
    return "`" + str(info.default).replace("\n", "\\n") + "`"


if __name__ == "__main__":
    sys.stdout.write(text())
