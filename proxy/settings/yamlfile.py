"""
One YAML file read into a plain mapping, strictly: no duplicate keys, no tags, one document.

It knows nothing of settings. Problems carry line and column; the text of the file is never repeated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from proxy.settings.problems import Problem, SettingsError, path_text
from proxy.settings.shape import Place
from proxy.settings.yamlwords import LOOKALIKES, explained, surprising


@dataclass(frozen=True, slots=True)
class Document:
    """A file's mapping, and where in it each value stands."""

    value: dict[Any, Any]
    lines: dict[str, str] = field(default_factory=dict)
    """By path as `path_text` writes it: `line 3, column 7`."""

    @property
    def empty(self) -> bool:
        """Nothing is set in it: no text, comments alone, or sections with nothing below them."""
        return all(value is None for value in self.value.values())


def read(path: Path) -> Document:
    """The file's mapping; raises `SettingsError` with what is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError([Problem("", f"{path} does not exist; give the file with --config")]) from None
    except IsADirectoryError:
        raise SettingsError([Problem("", f"{path} cannot be read: it is a folder; name the file in it")]) from None
    except PermissionError:
        raise SettingsError(
            [Problem("", f"{path} cannot be read by this user; change its owner or mode, such as chmod 640")]
        ) from None
    except OSError as error:
        raise SettingsError([Problem("", f"{path} cannot be read: {error.strerror}")]) from None
    return document(content)


def parse(content: bytes | str) -> dict[Any, Any]:
    """The mapping written in a YAML text; nothing written is an empty mapping."""
    return document(content).value


def document(content: bytes | str) -> Document:
    """The mapping written in a YAML text, with the lines of its values."""
    try:
        loader = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return Document({})
            read = _Walk()
            read.node(node, (), ())
            if read.problems:
                raise SettingsError(read.problems)
            value = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = explained(" ".join(filter(None, (error.context, error.problem))) or "cannot be read")
        where = _where(mark) if mark else ""
        raise SettingsError([Problem(where, f"is not valid YAML: {words}{_of_web_pages(content)}")]) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise SettingsError([Problem("", _not_text(content))]) from None
    except (ValueError, OverflowError):
        raise SettingsError(
            [Problem("", "a value looks like a date or number but is none; put it in quotes")]
        ) from None
    except RecursionError:
        raise SettingsError([Problem("", "the file is nested too deeply, or an anchor contains itself")]) from None
    if value is None:
        return Document({})
    if not isinstance(value, dict):
        kind = (
            "a list" if isinstance(value, list) else "one piece of text" if isinstance(value, str) else "a single value"
        )
        message = (
            f"must be a mapping: lines of `section:` with settings below, and it is {kind}{_of_web_pages(content)}"
        )
        raise SettingsError([Problem("line 1, column 1", message)])
    return Document(value, read.lines)


def _where(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _of_web_pages(content: bytes | str) -> str:
    """That letters were copied along which only look like spaces and quotes, with the first line that has one."""
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    for number, line in enumerate(text.splitlines(), 1):
        if LOOKALIKES.search(line):
            return f"; line {number} holds a no-break space or a curly quote, as web pages have them: type it anew"
    return ""


def _not_text(content: bytes | str) -> str:
    words = "the file is not text in UTF-8"
    if isinstance(content, bytes):
        head = content[:64]
        if head.count(0) >= len(head) // 3 > 0:
            return f"{words} but looks like UTF-16; save it as UTF-8 (PowerShell: Out-File -Encoding utf8)"
        try:
            content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            return f"{words}: line {line} holds a byte of another encoding; save the file as UTF-8"
    return f"{words}, or holds a control character; save it again as UTF-8"


class _Walk:
    """Everything in a file: where it stands, what is given twice, and what YAML reads differently than it looks."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}
        self.problems: list[Problem] = []

    def node(self, node: yaml.Node, place: Place, above: tuple[int, ...]) -> None:
        if id(node) in above:
            raise RecursionError
        above = (*above, id(node))
        self.lines.setdefault(path_text(place), _where(node.start_mark))
        if isinstance(node, yaml.SequenceNode):
            for i, entry in enumerate(node.value):
                self.node(entry, (*place, i), above)
        elif isinstance(node, yaml.MappingNode):
            self._mapping(node, place, above)
        elif isinstance(node, yaml.ScalarNode) and not node.style:
            words = surprising(node.tag, node.value)
            if words is not None:
                self.problems.append(Problem(path_text(place), words, _where(node.start_mark)))

    def _mapping(self, node: yaml.MappingNode, place: Place, above: tuple[int, ...]) -> None:
        """Keys written twice are problems: YAML keeps the last and says nothing."""
        seen: dict[str, int] = {}
        for name, line, key, value in _scalar_keys(node):
            if name in seen and name != "<<":
                message = f"is given twice, on lines {seen[name]} and {line}; keep one"
                self.problems.append(Problem(path_text((*place, name)), message))
            seen.setdefault(name, line)
            self.lines.setdefault(path_text((*place, name)), _where(key.start_mark))
            self.node(value, (*place, name), above)


def _scalar_keys(node: yaml.MappingNode) -> Iterator[tuple[str, int, yaml.Node, yaml.Node]]:
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            yield key.value, key.start_mark.line + 1, key, value
