"""
References between models and providers: targets that lead somewhere, fallbacks that end, names that are served.

What providers list is not known here: where one of them has no `models`, a name that nothing else serves may be theirs.
"""

import difflib
import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from proxy.settings.models import is_glob, most_specific, split_target
from proxy.settings.problems import Problem
from proxy.settings.whole import Settings

_SLASHED = ("openrouter", "compatible", "simulator")
"""Types of providers whose models are often called vendor/model: https://openrouter.ai/docs/overview/models."""


def problems(settings: Settings, providers: Collection[str]) -> Iterator[Problem]:
    """*providers* are the names as written, of which a broken one may be missing from the settings."""
    yield from _targets(settings, providers)
    yield from _cycles(settings)


def warnings(settings: Settings, providers: Collection[str]) -> Iterator[str]:
    """Names that no provider serves, as far as that can be known."""
    broken = set(providers) - set(settings.providers)
    for name, model in settings.models.items():
        for i, target in enumerate(model.targets):
            provider, wanted = split_target(target)
            entry = settings.providers.get(provider)
            if entry is not None and entry.models and not _among(wanted, entry.models):
                yield (
                    f"models.{name}.targets[{i}]: `{wanted}` is not in providers.{provider}.models, which is all that "
                    "provider is asked for elsewhere; correct one of them"
                )
        if "targets" in model.model_fields_set and not model.targets:
            yield (
                f"models.{name}.targets: is empty, which means every provider that serves `{name}`; leave it out, or "
                "name provider/model"
            )
        if not model.targets and not is_glob(name) and not broken and not _served(name, settings):
            yield f"models.{name}: has no targets and is in no provider's models; give it targets: [provider/model]"
        for setting, wanted_names in (("fallbacks", model.fallbacks), ("context_fallbacks", model.context_fallbacks)):
            for i, fallback in enumerate(wanted_names):
                if _like_a_target(fallback, settings):
                    yield (
                        f"models.{name}.{setting}[{i}]: is written like a target; a fallback is the name of a model as "
                        "clients write it, or of an entry under models with that target"
                    )
                elif not broken and not _served(fallback, settings):
                    yield f"models.{name}.{setting}[{i}]: {_unserved(fallback, settings)}"
    for i, key in enumerate(settings.auth.keys):
        for j, pattern in enumerate(key.models):
            if not broken and not _matches(pattern, settings):
                yield f"auth.keys[{i}].models[{j}]: {_unserved(pattern, settings)}"
    for name in settings.limits.models:
        if not broken and not _matches(name, settings):
            yield f"limits.models.{name}: {_unserved(name, settings)}"


def _like_a_target(name: str, settings: Settings) -> bool:
    """Whether *name* is `provider/model` of a provider here, and no name that a provider with such names may list."""
    provider, model = split_target(name)
    if not model or provider not in settings.providers or most_specific(name, settings.models) is not None:
        return False
    return not any(
        _among(name, each.models) or (not each.models and each.type in _SLASHED) for each in settings.providers.values()
    )


def _unserved(name: str, settings: Settings) -> str:
    close = difflib.get_close_matches(name, sorted(_names(settings)), n=1)
    hint = f"did you mean `{close[0]}`?" if close else "correct it, or add it to `models` or to a provider's models"
    return f"no provider serves `{name}`; {hint}"


def _names(settings: Settings) -> set[str]:
    """Every name or glob that is written down as callable."""
    return {*settings.models, *(name for provider in settings.providers.values() for name in provider.models)}


def _served(name: str, settings: Settings) -> bool:
    """Whether some provider answers for *name*; true as well where only asking would tell."""
    key = most_specific(name, settings.models)
    if key is not None and settings.models[key].targets:
        return True
    if key is not None and settings.models[key].fallbacks:
        # They are looked at by themselves.
        return True
    return any(not provider.models or _among(name, provider.models) for provider in settings.providers.values())


def _matches(pattern: str, settings: Settings) -> bool:
    """Whether a name or glob can mean any model that is served."""
    if any(not provider.models for provider in settings.providers.values()):
        return True
    if not is_glob(pattern):
        return pattern in settings.models or _served(pattern, settings)
    return any(
        fnmatchcase(known, pattern) or (is_glob(known) and _may_meet(known, pattern)) for known in _names(settings)
    )


def _may_meet(one: str, other: str) -> bool:
    """Whether two globs can match the same name, by what stands before their first wildcard."""
    beginnings = sorted((re.split(r"[*?\[]", each)[0] for each in (one, other)), key=len)
    return beginnings[1].startswith(beginnings[0])


def _among(name: str, patterns: Collection[str]) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def _targets(settings: Settings, providers: Collection[str]) -> Iterator[Problem]:
    for name, model in settings.models.items():
        for i, target in enumerate(model.targets):
            provider, _ = split_target(target)
            if provider not in providers:
                known = ", ".join(providers) or "none"
                yield Problem(f"models.{name}.targets[{i}]", f"there is no provider `{provider}`; configured: {known}")


def _cycles(settings: Settings) -> Iterator[Problem]:
    """Fallbacks that come back to where they began, whichever entries they pass through."""
    done: set[str] = set()
    for name in settings.models:
        yield from _cycles_from(name, (), settings, done)


def _cycles_from(name: str, path: tuple[str, ...], settings: Settings, done: set[str]) -> Iterator[Problem]:
    if name in path:
        ring = (*path[path.index(name) :], name)
        entry = most_specific(name, settings.models) or name
        setting = "fallbacks" if ring[1] in settings.models[entry].fallbacks else "context_fallbacks"
        yield Problem(f"models.{entry}.{setting}", f"come back to where they began: {' -> '.join(ring)}")
        return
    if name in done:
        return
    key = most_specific(name, settings.models)
    if key is not None:
        model = settings.models[key]
        for fallback in dict.fromkeys((*model.fallbacks, *model.context_fallbacks)):
            # A glob's fallback usually matches the glob; for that one name it simply has no effect.
            if not (fallback == name and is_glob(key)):
                yield from _cycles_from(fallback, (*path, name), settings, done)
    done.add(name)
