"""
Finds the configuration, lays its sources over each other and returns it whole, or every problem at once.

Command line over environment over file over defaults. It reads one file and a mapping of variables and nothing else;
whether a local Ollama answers is asked by a function the caller hands in.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from proxy.settings import checks, environment, exporting, legacy, numbers, variables, yamlfile
from proxy.settings.expansion import expand_tree, names_in
from proxy.settings.files import Digests, digest, digests, named
from proxy.settings.layers import holds, lay, nested, without
from proxy.settings.problems import Problem, SettingsError, path_text, translated
from proxy.settings.providers import PRESETS
from proxy.settings.shape import Place, normalised
from proxy.settings.sources import Layers, overridden, sources
from proxy.settings.whole import Settings

DEFAULT_FILE = "hapax.yaml"

Origin = Literal["settings", "environment", "ollama", "simulator"]


_NO_PROVIDER = (
    "has nothing below it; name one, such as `openai: {}` or `simulator: {}`, or leave the line out to use what the "
    "environment holds"
)


@dataclass(frozen=True)
class Loaded:
    """Settings, and where they came from."""

    settings: Settings
    source: str
    """A part of a sentence: `hapax.yaml`, `the environment (OPENAI_API_KEY)`, `the embedded simulator`."""
    path: Path | None
    """The configuration file, where there is one."""
    warnings: list[str]
    providers_from: Origin = "settings"
    """Who named the providers; `settings` for the file and HAPAX_ variables."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """By path, where each value came from that is no default."""
    files: Digests = field(default_factory=dict)
    """Every file it was read from or that it names, as they were before they were read."""
    overridden: Sequence[str] = ()
    """Values of the file that are not in force, and the variable that takes the place of each, as sentences."""


@dataclass
class _Findings:
    """What was noticed while loading, by place."""

    problems: list[tuple[Place, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    empty: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    layers: Layers = field(default_factory=Layers)
    """Where each value came from."""
    files: dict[str, str] = field(default_factory=dict)
    """Files that were read, as they were before."""
    mentioned: frozenset[str] = frozenset()
    """Variables the file refers to."""
    unnamed: bool = False
    """There is a `providers` in the file with nothing in it."""


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
    if path is not None:
        findings.files[str(path)] = digest(str(path))
    try:
        return _loaded(path, environ, overrides or {}, ollama_answers, findings)
    except SettingsError as error:
        error.files = findings.files
        if isinstance(error.rest, Settings):
            error.files = {**digests(named(error.rest)), **findings.files}
        raise


def _loaded(
    path: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
    ollama_answers: Callable[[], bool] | None,
    findings: _Findings,
) -> Loaded:
    raw = _merged_layers(path, environ, overrides, findings)
    source, origin = _with_providers(raw, path, environ, ollama_answers, findings)
    _with_environment_keys(raw, environ, findings)
    providers = list(raw["providers"]) if isinstance(raw["providers"], dict) else []
    settings, leftover = _validated(raw, findings)
    problems = [_problem(place, message, findings) for place, message in findings.problems]
    if settings is not None:
        # What follows from a problem already told is not told again, nor anything about a list that lost an entry.
        known = [problem.path.partition("[")[0] for problem in problems]
        known += [path.removesuffix("s") for path in known if path.endswith(".api_keys")]
        places = {path_text(place): f"set by {name}" for place, name in findings.layers.found.items()}
        places |= findings.layers.lines
        for problem in checks.problems(settings, findings.empty, providers):
            if not any(_overlap(problem.path, path) for path in known):
                problems.append(replace(problem, where=places.get(problem.path, "")))
        # Nor is there anything to warn of that was judged without what is wrong in it.
        wrong = [problem.path for problem in problems if problem.path]
        for warning in checks.warnings(settings, findings.empty, providers):
            about = warning.partition(": ")[0]
            if not any(path == about or path.startswith((f"{about}.", f"{about}[")) for path in wrong):
                findings.warnings.append(warning)
    if problems or settings is None or leftover:
        raise SettingsError(list(dict.fromkeys(problems)), findings.warnings, settings)
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
    files = {**digests(named(settings)), **findings.files}
    above = overridden(findings.layers)
    return Loaded(settings, source, path, findings.warnings, origin, sources(settings, findings.layers), files, above)


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
        document = _written(path, environ, findings)
        expanded = expand_tree(_canonical(document, findings), environ)
        findings.files |= expanded.files
        told = {place for place, _ in findings.problems}
        findings.problems += [(place, words) for place, words in expanded.problems if place not in told]
        findings.empty = expanded.empty
        lay(raw, expanded.value)
        findings.layers.file, findings.layers.references = str(path), expanded.references
        lay(findings.layers.written, expanded.value)
    origins = environment.origins(environ)
    lay(raw, environment.from_older_names(environ))
    variable_layer = _canonical(environment.from_variables(environ), findings)
    findings.problems += variables.unexpanded(variable_layer)
    lay(raw, variable_layer)
    findings.warnings += environment.misspelt(environ, findings.mentioned)
    above = nested(overrides)
    lay(raw, _canonical(above, findings))
    findings.layers.command_line = above
    findings.layers.variables = {name: place for name, place in origins.items() if not holds(above, place)}
    for place, value, variable in exporting.found(environ, raw):
        findings.layers.found[place] = variable
        for step in reversed(place):
            value = {step: value}
        lay(raw, value)
    return raw


def _written(path: Path, environ: Mapping[str, str], findings: _Findings) -> dict[Any, Any]:
    """What the file says, in today's words, and what is odd about how it says it."""
    document = yamlfile.read(path)
    if document.empty:
        found = "has sections with nothing below them" if document.value else "is empty, or has comments alone"
        raise SettingsError(
            [
                Problem(
                    "",
                    f"{path} {found}, which is no configuration; write at least one setting, such as `providers:` and "
                    "below it `openai: {}`, or start without a file to use what the environment holds",
                )
            ]
        )
    findings.layers.lines = document.lines
    written, moved = legacy.translated(document.value)
    findings.warnings += moved
    findings.unnamed = "providers" in written and not written["providers"]
    for place, words, certain in variables.found(written, environ):
        if certain:
            findings.problems.append((place, words))
        else:
            findings.warnings.append(f"{path_text(place)}: {words}")
    findings.warnings += numbers.warnings(written, Settings)
    findings.mentioned = names_in(written)
    return written


def _canonical(layer: dict[Any, Any], findings: _Findings) -> dict[str, Any]:
    result = normalised(layer, Settings)
    findings.problems += result.problems
    for place, canonical in result.renamed:
        findings.warnings.append(f"{path_text(place)}: is now written `{canonical}`; the old spelling still works")
    return result.value


def _with_providers(
    raw: dict[str, Any],
    path: Path | None,
    environ: Mapping[str, str],
    ollama_answers: Callable[[], bool] | None,
    findings: _Findings,
) -> tuple[str, Origin]:
    """Providers from the environment when none are named; returns where everything came from."""
    if raw.get("providers"):
        return str(path) if path is not None else "the environment", "settings"
    origin: Origin
    entries, names = environment.providers_by_key(environ)
    if entries:
        origin, found = "environment", f"the environment ({', '.join(names)})"
    elif not findings.unnamed and ollama_answers is not None and ollama_answers():
        entries, origin, found = {"ollama": {"type": "ollama"}}, "ollama", "the local Ollama"
    else:
        entries, origin, found = {"simulator": {"type": "simulator"}}, "simulator", "the embedded simulator"
    variables = dict(zip(entries, names, strict=True)) if origin == "environment" else {}
    for name, entry in entries.items():
        findings.layers.found |= {("providers", name, key): variables.get(name, found) for key in entry}
    if findings.unnamed:
        findings.problems.append((("providers",), _NO_PROVIDER))
    raw["providers"] = entries
    return f"{path} and {found}" if path is not None else found, origin


def _with_environment_keys(raw: dict[str, Any], environ: Mapping[str, str], findings: _Findings) -> None:
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
        if variable is not None and ("providers", name, "api_key") not in findings.empty:
            entry["api_key"] = environ[variable]
            findings.layers.found["providers", name, "api_key"] = variable


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
            raw = without(raw, place) if place else {}
            if not raw:
                return None, True


def _problem(place: Place, message: str, findings: _Findings) -> Problem:
    """The message with what the user cannot see in the file: an empty variable, or a value from the environment."""
    path = path_text(place)
    if names := findings.empty.get(place):
        message += f" ({' and '.join(names)} is empty or not set)"
    variables = findings.layers.variables
    source = next((name for name, origin in variables.items() if place[: len(origin)] == origin), None)
    source = source or findings.layers.found.get(place)
    if source is not None:
        return Problem(path, f"{message} (set by {source})")
    return Problem(path, message, findings.layers.lines.get(path, ""))


def _overlap(path: str, known: str) -> bool:
    shorter, longer = sorted((path, known), key=len)
    return longer == shorter or longer.startswith((f"{shorter}.", f"{shorter}["))
