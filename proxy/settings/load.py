"""
Finds the configuration, lays its sources over each other and returns it whole, or every problem at once.

Command line over environment over file over defaults. It reads one file and a mapping of variables and nothing else;
whether a local Ollama answers is asked by whoever hands in the question.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from proxy.settings import checks, environment, yamlfile
from proxy.settings.expansion import expand_tree
from proxy.settings.problems import Problem, SettingsError, path_text, translated
from proxy.settings.providers import PRESETS
from proxy.settings.shape import Place, normalised
from proxy.settings.whole import Settings

DEFAULT_FILE = "hapax.yaml"


@dataclass(frozen=True)
class Loaded:
    """Settings, and where they came from."""

    settings: Settings
    source: str
    """A part of a sentence: `hapax.yaml`, `the environment (OPENAI_API_KEY)`, `the embedded simulator`."""
    path: Path | None
    """The file that was read, to be watched for changes."""
    warnings: list[str]


@dataclass
class _Findings:
    """What was noticed while loading, by place."""

    problems: list[tuple[Place, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    empty: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    origins: dict[str, Place] = field(default_factory=dict)


def load(
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
    ollama_answers: Callable[[], bool] | None = None,
) -> Loaded:
    """
    The settings in force; raises `SettingsError` with every problem.

    `overrides` are the command line's, by dotted path (`server.port`) or nested.
    """
    path = _locate(config, environ)
    findings = _Findings()
    raw = _merged_layers(path, environ, overrides or {}, findings)
    source = _with_providers(raw, path, environ, ollama_answers)
    _with_environment_keys(raw, environ, findings.empty)
    named = list(raw["providers"]) if isinstance(raw["providers"], dict) else []
    settings, leftover = _validated(raw, findings)
    problems = [Problem(path_text(place), _explained(place, message, findings)) for place, message in findings.problems]
    if settings is not None:
        # What follows from a problem already told is not told again, nor anything about a list that lost an entry.
        known = [problem.path.partition("[")[0] for problem in problems]
        known += [path.removesuffix("s") for path in known if path.endswith(".api_keys")]
        for problem in checks.problems(settings, findings.empty, named):
            if not any(_overlap(problem.path, path) for path in known):
                problems.append(problem)
        findings.warnings += checks.warnings(settings, findings.empty, named)
    if problems or settings is None or leftover:
        raise SettingsError(list(dict.fromkeys(problems)), findings.warnings)
    if any(route.limits is not None for route in settings.routes):
        limits = settings.limits.model_copy(update={"routes": settings.route_limits})
        settings = settings.model_copy(update={"limits": limits})
    present = tuple(name for name in settings.provider_preference if name in settings.providers)
    if present != settings.provider_preference:
        chosen = settings.model_fields_set
        settings = settings.model_copy(update={"provider_preference": present})
        # A filtered default is still a default.
        if "provider_preference" not in chosen:
            settings.model_fields_set.discard("provider_preference")
    return Loaded(settings, source, path, findings.warnings)


def _locate(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is not None:
        return Path(config)
    if environ.get("CONFIG_PATH"):
        path = Path(environ["CONFIG_PATH"])
        if not path.exists():
            raise SettingsError([Problem("CONFIG_PATH", f"{path} does not exist; correct the variable or unset it")])
        return path
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _merged_layers(
    path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object], findings: _Findings
) -> dict[str, Any]:
    raw: dict[str, Any] = {}
    if path is not None:
        expanded = expand_tree(_canonical(yamlfile.read(path), findings), environ)
        findings.problems += expanded.problems
        findings.empty = expanded.empty
        _lay(raw, expanded.value)
    findings.origins = environment.origins(environ)
    _lay(raw, environment.from_older_names(environ))
    _lay(raw, _canonical(environment.from_variables(environ), findings))
    findings.warnings += environment.misspelt(environ)
    nested = _nested(overrides)
    _lay(raw, _canonical(nested, findings))
    findings.origins = {name: place for name, place in findings.origins.items() if not _holds(nested, place)}
    return raw


def _canonical(layer: dict[Any, Any], findings: _Findings) -> dict[str, Any]:
    result = normalised(layer, Settings)
    findings.problems += result.problems
    for place, canonical in result.renamed:
        findings.warnings.append(f"{path_text(place)}: is now written `{canonical}`; the old spelling still works")
    return result.value


def _lay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Merge mappings key by key; anything else, lists too, replaces what was below."""
    for key, value in above.items():
        # Variables cannot carry dashes and lose their case: HAPAX_PROVIDERS__LOCAL_LLAMA__... means local-llama.
        name = key if key in below else next((known for known in below if _folded(known) == _folded(key)), key)
        if isinstance(value, Mapping) and isinstance(below.get(name), dict):
            _lay(below[name], value)
        elif isinstance(value, Mapping):
            below[name] = {}
            _lay(below[name], value)
        else:
            below[name] = value


def _folded(name: str) -> str:
    return str(name).lower().replace("-", "_")


def _nested(overrides: Mapping[str, object]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in overrides.items():
        layer: Any = value
        for step in reversed(path.split(".")):
            layer = {step: layer}
        _lay(result, layer)
    return result


def _holds(layer: Any, place: Place) -> bool:
    for step in place:
        if not isinstance(layer, dict) or step not in layer:
            return False
        layer = layer[step]
    return True


def _with_providers(
    raw: dict[str, Any],
    path: Path | None,
    environ: Mapping[str, str],
    ollama_answers: Callable[[], bool] | None,
) -> str:
    """Providers from the environment when none are named; returns where everything came from."""
    if raw.get("providers"):
        return str(path) if path is not None else "the environment"
    entries, variables = environment.providers_by_key(environ)
    if entries:
        found = f"the environment ({', '.join(variables)})"
    elif ollama_answers is not None and ollama_answers():
        entries, found = {"ollama": {"type": "ollama"}}, "the local Ollama"
    else:
        entries, found = {"simulator": {"type": "simulator"}}, "the embedded simulator"
    raw["providers"] = entries
    return f"{path} and {found}" if path is not None else found


def _with_environment_keys(raw: dict[str, Any], environ: Mapping[str, str], empty: Mapping[Place, Any]) -> None:
    """A named provider without a key uses its type's variable, but never sends that key to another address."""
    providers = raw["providers"]
    for name, entry in providers.items() if isinstance(providers, dict) else ():
        if not isinstance(entry, dict) or "api_key" in entry or "api_keys" in entry:
            continue
        provider_type = str(entry.get("type", name))
        preset = PRESETS.get(provider_type)
        if preset is None or entry.get("base_url", preset.base_url) != preset.base_url:
            continue
        variable = environment.key_variable(provider_type, environ)
        if variable is not None and ("providers", name, "api_key") not in empty:
            entry["api_key"] = environ[variable]


def _validated(raw: dict[str, Any], findings: _Findings) -> tuple[Settings | None, bool]:
    """The settings, after leaving out what is wrong so that the rest can still be checked; and whether any was."""
    pruned = False
    while True:
        try:
            return Settings.model_validate(raw), pruned
        except ValidationError as error:
            found = translated(error, Settings)
        # Only the first round speaks of what was written; later ones of what the pruning left.
        if not pruned:
            told = {place for place, _ in findings.problems}
            findings.problems += [(place, message) for place, message in found if place not in told]
        pruned = True
        # Backwards, so that an entry taken out of a list does not move those still to go.
        for place, _ in reversed(found):
            raw = _without(raw, place) if place else {}
            if not raw:
                return None, True


def _without(value: Any, place: Place) -> Any:
    """A copy without what stands at the place, or without the closest thing above it that can go."""
    step, rest = place[0], place[1:]
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        inner = _without(value[step], rest) if rest else None
        return [*value[:step], *([inner] if inner is not None else []), *value[step + 1 :]]
    if not isinstance(value, dict) or step not in value:
        return None
    inner = _without(value[step], rest) if rest else None
    if inner is not None:
        return {**value, step: inner}
    return {key: entry for key, entry in value.items() if key != step}


def _explained(place: Place, message: str, findings: _Findings) -> str:
    """The message with what the user cannot see in the file: an empty variable, or a value from the environment."""
    if variables := findings.empty.get(place):
        message += f" ({' and '.join(variables)} is empty or not set)"
    source = next((name for name, origin in findings.origins.items() if place[: len(origin)] == origin), None)
    return f"{message} (set by {source})" if source is not None else message


def _overlap(path: str, known: str) -> bool:
    shorter, longer = sorted((path, known), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))
