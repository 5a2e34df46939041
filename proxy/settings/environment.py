"""
What the environment says: `HAPAX_SECTION__FIELD` variables, a few older names, and providers by their keys.

It makes raw layers for load.py to merge; ${VAR} inside the file is expansion.py's.
"""

import difflib
from collections.abc import Mapping
from typing import Any, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from proxy.settings.problems import Problem, SettingsError
from proxy.settings.providers import PRESETS
from proxy.settings.shape import Place, bare
from proxy.settings.whole import Settings

PREFIX = "HAPAX_"
SEPARATOR = "__"

OLDER_NAMES: Mapping[str, Place] = {
    "HAPAX_HOST": ("server", "host"),
    "HAPAX_PORT": ("server", "port"),
    "LOG_LEVEL": ("logging", "level"),
    "LOG_FORMAT": ("logging", "format"),
}


class _Shape(Settings, BaseSettings):
    """`Settings` as pydantic-settings wants to see it; only its fields are read, it is never filled."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=SEPARATOR, env_ignore_empty=True)


class _Variables(EnvSettingsSource):
    """HAPAX_ variables of a given environment, as a nested mapping."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(_Shape)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items() if value != ""}

    def decode_complex_value(self, field_name: str, field: FieldInfo | None, value: Any) -> Any:
        """Lists and mappings in YAML's flow style (JSON is one), lists also as a,b,c."""
        if value.lstrip().startswith(("[", "{")):
            try:
                return yaml.safe_load(value)
            except yaml.YAMLError:
                # The library's own error would quote the value.
                raise ValueError("is not valid YAML or JSON") from None
        if field is not None and get_origin(bare(field.annotation)) is tuple:
            return [part.strip() for part in value.split(",")]
        return value


def from_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """The layer of HAPAX_SECTION__FIELD variables."""
    try:
        return _Variables(environ)()
    except UnreadableVariable:
        names = [name for name in origins(environ) if environ[name].lstrip().startswith(("[", "{"))]
        raise SettingsError([Problem(", ".join(names), "is not valid YAML or JSON")]) from None


def from_older_names(environ: Mapping[str, str]) -> dict[str, Any]:
    """The layer of the variables earlier gateways were configured by."""
    layer: dict[str, Any] = {}
    for name, (section, setting) in OLDER_NAMES.items():
        value = environ.get(name, "")
        # Kubernetes gives every pod HAPAX_PORT=tcp://... as soon as a Service is called hapax.
        if value and not value.startswith("tcp://"):
            layer.setdefault(str(section), {})[setting] = value
    return layer


def origins(environ: Mapping[str, str]) -> dict[str, Place]:
    """Which setting each variable that is set speaks for."""
    found = {name: place for name, place in OLDER_NAMES.items() if environ.get(name)}
    for name, value in environ.items():
        place = tuple(name[len(PREFIX) :].lower().split(SEPARATOR))
        if value and name.upper().startswith(PREFIX) and place[0] in Settings.model_fields:
            found[name] = place
    return found


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Warnings about HAPAX_X__Y variables that name no section."""
    warnings = []
    for name in environ:
        section, separator, _ = name.removeprefix(PREFIX).lower().partition(SEPARATOR)
        if name.startswith(PREFIX) and separator and section not in Settings.model_fields:
            close = difflib.get_close_matches(section, list(Settings.model_fields), n=1)
            hint = f"; did you mean {PREFIX}{close[0].upper()}{SEPARATOR}...?" if close else ""
            warnings.append(f"{name} names no setting and is ignored{hint}")
    return warnings


def key_variable(provider_type: str, environ: Mapping[str, str]) -> str | None:
    """The variable that holds a key for this type of provider."""
    preset = PRESETS.get(provider_type)
    return next((name for name in preset.key_variables if environ.get(name)), None) if preset else None


def providers_by_key(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """A provider for every key the environment holds, and the variables they came from."""
    found = {name: variable for name in PRESETS if (variable := key_variable(name, environ))}
    entries = {name: {"type": name, "api_key": environ[variable]} for name, variable in found.items()}
    return entries, list(found.values())
