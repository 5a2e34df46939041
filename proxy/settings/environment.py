"""
What the environment says: `HAPAX_SECTION__FIELD` variables, a few older names, and providers by their keys.

It makes raw layers for load.py to merge; ${VAR} inside the file is expansion.py's.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from proxy.settings.problems import Problem, SettingsError
from proxy.settings.providers import PRESETS
from proxy.settings.shape import Place, bare, every_field
from proxy.settings.whole import Settings

PREFIX = "HAPAX_"
SEPARATOR = "__"

OLDER_NAMES: Mapping[str, Place] = {
    "HAPAX_HOST": ("server", "host"),
    "HAPAX_PORT": ("server", "port"),
    "LOG_LEVEL": ("logging", "level"),
    "LOG_FORMAT": ("logging", "format"),
}

OTHERS = frozenset(
    (
        "HAPAX_ENV",
        "HAPAX_ADMIN_KEY",
        "HAPAX_CLIENT_KEY",
        "HAPAX_URL",
        "HAPAX_LOGS",
        "HAPAX_COMPILED",
        "HAPAX_CONTAINER",
        "HAPAX_SOAK",
        "HAPAX_SOAK_REPEATS",
    )
)
"""Variables that are read elsewhere."""
KUBERNETES = re.compile(
    r"HAPAX_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""
What a pod is given for each Service whose name begins with hapax:
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

_MEANT = {
    "config": "the file is named by CONFIG_PATH",
    "config_path": "the file is named by CONFIG_PATH",
    "config_file": "the file is named by CONFIG_PATH",
    "api_key": "keys of clients stand in the file under `auth.keys`, or in the store: `hapax keys create NAME`",
    "key": "keys of clients stand in the file under `auth.keys`, or in the store: `hapax keys create NAME`",
    "workers": "did you mean HAPAX_SERVER__WORKERS?",
    "log_level": "did you mean HAPAX_LOGGING__LEVEL, or LOG_LEVEL?",
    "log_format": "did you mean HAPAX_LOGGING__FORMAT, or LOG_FORMAT?",
    "database_url": "did you mean HAPAX_STORE__URL?",
    "redis_url": "did you mean HAPAX_STATE__URL?",
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


def misspelt(environ: Mapping[str, str], mentioned: Collection[str] = ()) -> list[str]:
    """Warnings about HAPAX_ variables that name no setting; *mentioned* are those a file refers to as ${VAR}."""
    warnings = []
    for name, value in environ.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or name in mentioned or upper in OLDER_NAMES or upper in OTHERS:
            continue
        if KUBERNETES.fullmatch(upper) or value.startswith("tcp://"):
            continue
        section = upper[len(PREFIX) :].lower().partition(SEPARATOR)[0]
        if section not in Settings.model_fields:
            warnings.append(f"{name} names no setting and is ignored{_meant(upper[len(PREFIX) :].lower())}")
    return warnings


def _meant(rest: str) -> str:
    """`; did you mean ...?` for what follows the prefix."""
    if rest in _MEANT:
        return f"; {_MEANT[rest]}"
    section, separator, below = rest.partition(SEPARATOR)
    if separator:
        close = difflib.get_close_matches(section, list(Settings.model_fields), n=1)
        known = f"{close[0].upper()}{SEPARATOR}{below.upper() or '...'}" if close else ""
        return f"; did you mean {PREFIX}{known}?" if known else ""
    # One underscore where two belong is the usual slip; a provider's name may hold some itself.
    plain = {path.replace(".", "_"): path for path, _ in every_field(Settings) if "<" not in path and "[" not in path}
    close = [rest] if rest in plain else difflib.get_close_matches(rest, list(plain), n=1, cutoff=0.8)
    if close:
        return f"; did you mean {PREFIX}{plain[close[0]].replace('.', SEPARATOR).upper()}?"
    first = rest.partition("_")[0]
    if first in Settings.model_fields:
        return f"; below a section come two underscores, as in {PREFIX}{first.upper()}{SEPARATOR}..."
    return ""


def key_variable(provider_type: str, environ: Mapping[str, str]) -> str | None:
    """The variable that holds a key for this type of provider."""
    preset = PRESETS.get(provider_type)
    return next((name for name in preset.key_variables if environ.get(name)), None) if preset else None


def providers_by_key(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """A provider for every key the environment holds, and the variables they came from."""
    found = {name: variable for name in PRESETS if (variable := key_variable(name, environ))}
    entries = {name: {"type": name, "api_key": environ[variable]} for name, variable in found.items()}
    return entries, list(found.values())
