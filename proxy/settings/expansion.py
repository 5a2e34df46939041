"""
`${VAR}`, `${VAR:-default}` and `${file:/path}` in the text values of a configuration.

It works on values after YAML has been parsed, so that a variable's content can never become structure. A default may
hold further references, and so may a variable's content; a file's content is taken as it is.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from proxy.settings.shape import Place

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 20  # beyond this it is a mistake, and each level is a call on the stack
_FILE = "file:"
LARGEST = 1024 * 1024
"""Bytes of a file that is one value: more is some other file."""


class ExpansionError(ValueError):
    """A reference that cannot be understood."""


@dataclass(slots=True)
class Expanded:
    """A configuration with its references filled in."""

    value: Any = None
    problems: list[tuple[Place, str]] = field(default_factory=list)
    empty: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    """Where a reference came out empty, and the variables that were."""
    references: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    """Where something was filled in, and what: the names of variables, and `file:` with the path of files."""
    files: dict[str, str] = field(default_factory=dict)
    """Every file that a reference names, with its digest: see `files`."""


@dataclass(frozen=True, slots=True)
class _Context:
    """Where references lead, and what was met on the way."""

    environ: Mapping[str, str]
    empty: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    """Variables whose content is being filled in."""
    dry: bool = False
    """Only whether the text can be understood is asked."""


def expand(text: str, environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its references filled in, and the variables that were empty and had no default."""
    context = _Context(environ)
    return _expand(text, context), tuple(dict.fromkeys(context.empty))


def expand_tree(raw: Any, environ: Mapping[str, str]) -> Expanded:
    """Every text value below `raw` expanded; what comes out empty is left out of its mapping, so the default holds."""
    result = Expanded()
    result.value = _tree(raw, environ, (), result)
    return result


def names_in(raw: Any) -> frozenset[str]:
    """Every variable that a text value below *raw* refers to, as far as it is written plainly."""
    if isinstance(raw, dict):
        return frozenset().union(*map(names_in, raw.values()))
    if isinstance(raw, list):
        return frozenset().union(*map(names_in, raw))
    return frozenset(re.findall(r"\$\{(?!file:)(\w+)", raw)) if isinstance(raw, str) else frozenset()


def _tree(raw: Any, environ: Mapping[str, str], place: Place, result: Expanded) -> Any:
    if isinstance(raw, dict):
        filled = {key: _tree(value, environ, (*place, str(key)), result) for key, value in raw.items()}
        refused = {where for where, _ in result.problems}
        return {
            key: value
            for key, value in filled.items()
            if (*place, str(key)) not in refused and (value != "" or (*place, str(key)) not in result.empty)
        }
    if isinstance(raw, list):
        return [_tree(value, environ, (*place, i), result) for i, value in enumerate(raw)]
    if not isinstance(raw, str) or "${" not in raw:
        return raw
    context = _Context(environ, files=result.files)
    try:
        text = _expand(raw, context)
    except ExpansionError as error:
        result.problems.append((place, str(error)))
        return raw
    finally:
        result.references[place] = tuple(dict.fromkeys(context.used))
    if context.empty or not text:
        result.empty[place] = tuple(dict.fromkeys(context.empty))
    return text


def _expand(text: str, context: _Context) -> str:
    parts: list[str] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        parts.append(text[at:start])
        value, at = _reference(text, start, context)
        parts.append(value)
    parts.append(text[at:])
    return "".join(parts)


def _reference(text: str, start: int, context: _Context) -> tuple[str, int]:
    """The value of the reference that begins at `start`, and where the text goes on."""
    end = _closing(text, start)
    body = text[start + 2 : end]
    if body.startswith(_FILE):
        return _of_file(_expand(body[len(_FILE) :], context), context), end + 1
    match = _NAME.match(body)
    if match is None or not (match.end() == len(body) or body.startswith(":-", match.end())):
        raise ExpansionError(
            "has a ${...} that is neither ${NAME} nor ${NAME:-default} nor ${file:/path}; NAME is letters, digits and "
            "underscores"
        )
    name = match[0]
    if name in context.within:
        raise ExpansionError(f"refers to the variable {name}, whose content refers to itself")
    context.used.append(name)
    value = context.environ.get(name, "")
    if value:
        # Content that only looks like a reference, as a random key may, is content.
        if _well_formed(value):
            value = _expand(value, replace(context, within=(*context.within, name)))
    elif match.end() < len(body):
        value = _expand(body[match.end() + 2 :], context)
    else:
        context.empty.append(name)
    return value, end + 1


def _of_file(path: str, context: _Context) -> str:
    """What stands in the file, without the line break at its end."""
    if context.dry:
        return "x"
    if not path:
        raise ExpansionError("has a ${file:} that names no file; write ${file:/path}")
    # Also where it cannot be read: once it can, the configuration can be loaded.
    context.used.append(f"{_FILE}{path}")
    context.files[path] = ""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise ExpansionError(f"refers to the file {path}, which cannot be read: {reason}") from None
    context.files[path] = hashlib.sha256(content).hexdigest()
    if len(content) > LARGEST:
        raise ExpansionError(f"refers to the file {path}, which is larger than 1 MiB and so no single value")
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ExpansionError(f"refers to the file {path}, which is not text in UTF-8") from None
    if not text:
        raise ExpansionError(f"refers to the file {path}, which is empty")
    return text


def _closing(text: str, start: int) -> int:
    depth, at = 0, start
    while at < len(text):
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            if depth > _DEEPEST:
                raise ExpansionError(f"has references nested more than {_DEEPEST} deep")
        elif text[at] == "}":
            depth, at = depth - 1, at + 1
            if depth == 0:
                return at - 1
        else:
            at += 1
    raise ExpansionError("has a ${ without its closing }")


def _well_formed(text: str) -> bool:
    try:
        _expand(text, _Context(_Anything(), dry=True))
    except ExpansionError:
        return False
    return True


class _Anything(dict[str, str]):
    """An environment in which every variable is plain text."""

    def get(self, name: str, default: Any = None) -> str:
        return "x"
