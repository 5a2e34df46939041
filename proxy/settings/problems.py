"""
What can be wrong with a configuration, said in plain words with the path of the setting.

It translates; it finds nothing itself. A message never repeats what was written, except a number out of range: a key
may stand in the wrong place.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings.foreign import called_here, type_here
from proxy.settings.shape import Place, paths_named, section_at
from proxy.settings.values import Section
from proxy.settings.yamlwords import LOOKALIKES


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    path: str
    """Such as `providers.openai.timeouts.idle` or `line 3, column 7`; empty: the configuration as a whole."""
    message: str
    where: str = ""
    """
    Its place in the file, `line 3, column 7`, where that is not the path itself, or `set by` and a variable that other
    programs share; empty: not known.
    """

    def __str__(self) -> str:
        told = f"{self.path}: {self.message}" if self.path else self.message
        return f"{told} ({self.where})" if self.where else told


class SettingsError(Exception):
    """Everything that is wrong with a configuration, at once."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[str] = (), rest: Section | None = None) -> None:
        self.problems = list(problems)
        self.warnings = list(warnings)
        self.rest = rest
        """The settings without what is wrong, where there are any: what else they lead to can be looked at."""
        self.files: Mapping[str, str] = {}
        """The files it was read from, as `files.digests` tells them: when one changes, the next try may do better."""
        super().__init__("\n".join(str(problem) for problem in self.problems))


def path_text(place: Place) -> str:
    """`auth.keys[0].key` for ("auth", "keys", 0, "key")."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def translated(error: ValidationError, root: type[Section]) -> list[tuple[Place, str]]:
    """Where and what, for every error pydantic found."""
    return [_translated(detail, root) for detail in error.errors(include_url=False)]


# Types pydantic gives its errors, and our words for them. {name} comes from the error's own context.
_WORDS = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of reasonable size",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": 'must be text; a number, date, yes or no needs quotes: "..."',
    "string_too_short": "must not be empty",
    "tuple_type": "must be a list, such as [one, two]",
    "dict_type": "must be a mapping: indented lines of `key: value`",
    "model_type": "must be a mapping: indented lines of `key: value`",
    "model_attributes_type": "must be a mapping: indented lines of `key: value`",
    "too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def _translated(detail: ErrorDetails, root: type[Section]) -> tuple[Place, str]:
    kind, context = detail["type"], detail.get("ctx", {})
    place: Place = tuple(step for step in detail["loc"] if step != "[key]")
    if kind == "extra_forbidden":
        if LOOKALIKES.search(str(place[-1])):
            return place, "is not a setting: it holds a no-break space or a curly quote of a web page; type it anew"
        return place, f"is not a setting{_nearest(place, root)}"
    if kind == "value_error":
        return place, str(context["error"])
    message = _WORDS.get(kind, detail["msg"]).format_map(_Shown(context))
    if kind in _RANGES and isinstance(detail["input"], int | float):
        message += f", not {detail['input']}"
    if kind == "literal_error" and isinstance(detail["input"], bool):
        message += "; on, off, yes and no are true and false in YAML, so put the word in quotes"
    if kind == "literal_error" and place[:1] == ("providers",) and place[-1] == "type":
        here = type_here(detail["input"])
        if here is not None:
            message += f"; what you mean is `{here}` here{' with its base_url' if here == 'compatible' else ''}"
    if kind == "missing" and place and place[-1] == "type":
        message = "is required: one of openai, anthropic, gemini, openrouter, deepseek, xai, ollama, azure, compatible"
    return place, message


class _Shown(dict[str, Any]):
    def __missing__(self, name: str) -> str:
        return "different"


def _nearest(place: Place, root: type[Section]) -> str:
    """`; did you mean ...?`, from the neighbours first and the whole tree next."""
    name = str(place[-1])
    if (here := called_here(place)) is not None:
        return here
    section = section_at(place[:-1], root)
    neighbours = list(section.model_fields) if section is not None else []
    if close := difflib.get_close_matches(name, neighbours, n=1):
        return f"; did you mean `{close[0]}`?"
    if elsewhere := paths_named(name, root):
        return f" here; did you mean `{elsewhere[0]}`?"
    return f"; known here: {', '.join(neighbours)}" if neighbours else ""
