"""
How other tools write an environment variable: forms that here are plain text, and reach a provider as such.

A table of forms with where they come from, and a look at every text of a configuration. ${VAR} itself is filled in
by expansion.py.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.settings.shape import Place

FORMS: tuple[tuple[str, str], ...] = (
    # (the form, whose it is); the first that fits is named, so the longer ones come first.
    (r"\$\{\{[^{}]*\}\}", "GitHub's workflows"),
    (r"\$\{env:(?P<name>\w+)\}", "the Serverless framework and VS Code"),
    (r"\$env:(?P<name>\w+)", "PowerShell"),
    (r"\$\((?P<name>\w+)\)", "Kubernetes and make"),
    (r"\$\{?ENV\[[\"']?(?P<name>\w+)[\"']?\]\}?", "Ruby"),
    (r"\{\$(?P<name>\w+)\}", "Caddy"),
    (r"\{\{\s*(?:\$|env\.)?(?P<name>\w+)\s*\}\}", "templates such as Helm's and Jinja's"),
    (r"\{\{[^{}]*\}\}", "templates such as Helm's and Jinja's"),
    (r"\{env\.(?P<name>\w+)\}", "Caddy"),
    # https://docs.litellm.ai/docs/proxy/configs
    (r"os\.environ/(?P<name>\w+)", "LiteLLM"),
    (r"os\.(?:environ(?:\.get\()?|getenv\()\[?[\"'](?P<name>\w+)[\"'][\])]", "Python"),
    (r"process\.env\.(?P<name>\w+)", "Node.js"),
    # https://www.tensorzero.com/docs/gateway/configuration-reference
    (r"env::(?P<name>[A-Za-z_]\w*)", "TensorZero"),
    # https://docs.getbifrost.ai/quickstart/gateway/provider-configuration
    (r"env\.(?P<name>[A-Z][A-Z0-9_]+)", "Bifrost"),
    (r"ENV\[[\"']?(?P<name>\w+)[\"']?\]", "Ruby"),
    (r"env\([\"']?(?P<name>\w+)[\"']?\)", "Prisma and Laravel"),
    (r"%(?P<name>[A-Za-z_]\w{2,})%", "the Windows command prompt"),
    (r"\$(?P<name>[A-Za-z_]\w*)", "a shell"),
)
_WHOLE = tuple(
    (re.compile(rf"(?:(?:Bearer|Basic|Token|ApiKey|Key)\s+)?{form}", re.IGNORECASE if "ENV" not in form else 0), whose)
    for form, whose in FORMS
)
# Within a longer text only what hardly stands there by chance.
_WITHIN = tuple(
    re.compile(form)
    for form in (
        r"(?<!\$)\$(?:env:)?(?P<name>[A-Z][A-Z0-9_]{2,})",
        r"\$\((?P<name>[A-Z][A-Z0-9_]{2,})\)",
        r"\{\$(?P<name>[A-Z][A-Z0-9_]{2,})\}",
        r"\{env\.(?P<name>[A-Z][A-Z0-9_]{2,})\}",
        r"%(?P<name>[A-Z][A-Z0-9]*_[A-Z0-9_]+)%",
        r"\{\{[^{}]*\}\}",
        r"os\.environ/(?P<name>\w+)",
    )
)
_IN_HOST = re.compile(r"[a-z]+://[^/@]*[$%{]")
"""A host holds none of these letters (RFC 3986, section 3.2.2, but for a percent-encoding, which no host needs)."""
_OWN = re.compile(r"\$\{([A-Za-z_]\w*(\}|:-)|file:)")
_TEMPLATES = ("processing",)
"""Sections whose texts are templates themselves."""


def found(value: Any, environ: Mapping[str, str], place: Place = ()) -> Iterator[tuple[Place, str, bool]]:
    """Where a text below *value* holds another tool's form, what to do, and whether it can be nothing else."""
    if place[:1] and place[0] in _TEMPLATES:
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from found(entry, environ, (*place, str(key)))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from found(entry, environ, (*place, i))
    elif isinstance(value, str):
        words, certain = _read(value, environ)
        if words:
            yield place, words, certain


def unexpanded(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Where a value that came from a HAPAX_ variable holds ${VAR}: only a file's are filled in."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from unexpanded(entry, (*place, str(key)))
    elif isinstance(value, list):
        for i, entry in enumerate(value):
            yield from unexpanded(entry, (*place, i))
    elif isinstance(value, str) and _OWN.search(value):
        yield place, "holds a ${...}, which is filled in within a file only; give the variable the value itself"


def _read(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    stripped = text.strip()
    if _OWN.search(stripped):
        # An operator who writes our form beside another one means the other.
        return "", False
    for pattern, whose in _WHOLE:
        match = pattern.fullmatch(stripped)
        if match is not None:
            name = _shown(match, environ)
            return f"is taken as it stands, which is the form of {whose}; write ${{{name}}}", True
    for pattern in _WITHIN:
        match = pattern.search(stripped)
        if match is not None:
            name = _shown(match, environ)
            if _IN_HOST.match(stripped):
                return f"holds a variable in another tool's form; write ${{{name}}}", True
            return f"holds what looks like a variable and is taken as it stands; write ${{{name}}} if it is one", False
    return "", False


def _shown(match: "re.Match[str]", environ: Mapping[str, str]) -> str:
    """The variable's name, where it is surely one and no piece of a key."""
    name = match.groupdict().get("name") or ""
    return name if name in environ or re.fullmatch(r"[A-Z]+(_[A-Z0-9]+)+", name) else "VAR"
