"""
One YAML file read into a plain mapping, strictly: no duplicate keys, no tags, one document.

It knows nothing of settings. Problems carry line and column; the text of the file is never repeated.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from proxy.settings.problems import Problem, SettingsError, path_text
from proxy.settings.shape import Place


def read(path: Path) -> dict[Any, Any]:
    """The file's mapping; an empty file is an empty mapping."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError([Problem("", f"{path} does not exist; give the file with --config")]) from None
    except OSError as error:
        raise SettingsError([Problem("", f"{path} cannot be read: {error.strerror}")]) from None
    return parse(content)


def parse(content: bytes | str) -> dict[Any, Any]:
    """The mapping written in a YAML text."""
    try:
        loader = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}
            problems = list(_duplicates(node, (), ()))
            if problems:
                raise SettingsError(problems)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        # The parser quotes what it stumbled over, and that may be a key.
        words = re.sub(r"""(['"]).{3,}?\1""", "something", error.problem or error.context or "cannot be read")
        raise SettingsError([Problem(where, f"is not valid YAML: {words}; check indentation and quotes")]) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise SettingsError([Problem("", "the file is not text in UTF-8")]) from None
    except (ValueError, OverflowError):
        raise SettingsError(
            [Problem("", "a value looks like a date or number but is none; put it in quotes")]
        ) from None
    except RecursionError:
        raise SettingsError([Problem("", "the file is nested too deeply, or an anchor contains itself")]) from None
    if not isinstance(value, dict):
        raise SettingsError([Problem("line 1, column 1", "must be a mapping: lines of `section:` with settings below")])
    return value


def _duplicates(node: yaml.Node, place: Place, above: tuple[int, ...]) -> Any:
    """Keys written twice in one mapping: YAML keeps the last and says nothing."""
    if id(node) in above:
        raise RecursionError
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for i, entry in enumerate(node.value):
            yield from _duplicates(entry, (*place, i), above)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                continue
            line = key.start_mark.line + 1
            if name in seen and name != "<<":
                yield Problem(path_text((*place, name)), f"is given twice, on lines {seen[name]} and {line}; keep one")
            seen.setdefault(name, line)
            yield from _duplicates(value, (*place, name), above)
