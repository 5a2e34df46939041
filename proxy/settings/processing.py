"""
The `processing` section: how the native endpoint turns its input into a prompt and tidies the answer.

It says which templates are well formed; filling them in belongs to the native endpoint. OpenAI routes never use any.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.settings.values import Section, Size, section, size

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_ANYWHERE = (".Input", ".FunctionDescription")
_PER_MESSAGE = (".Role", ".Content")
_RANGE = "range .Messages"


def _template(template: str) -> str:
    """The part of Go's template language the seeds' configurations use, and nothing that would only fail later."""
    inside = False
    for action in _ACTION.findall(template):
        if action == _RANGE and not inside:
            inside = True
        elif action == "end" and inside:
            inside = False
        elif action not in _ANYWHERE and not (inside and action in _PER_MESSAGE):
            raise ValueError(
                "is not a template: it may hold {{.Input}}, {{.FunctionDescription}} and "
                "{{range .Messages}}{{.Role}}: {{.Content}}{{end}}"
            )
    rest = _ACTION.sub("", template)
    if inside or "{{" in rest or "}}" in rest:
        raise ValueError("is not a template: {{range .Messages}} needs its {{end}}, and every {{ its }}")
    return template


Template = Annotated[str, AfterValidator(_template)]


class RequestTemplates(Section):
    """Prompts of the native endpoint."""

    default: Template = Field("{{.Input}}", description="For `input`.")
    chat: Template = Field(
        "{{range .Messages}}{{.Role}}: {{.Content}}\n{{end}}", description="For `messages` shown as one text."
    )
    function: Template = Field(
        "Function: {{.FunctionDescription}}\nInput: {{.Input}}", description="For `input` with `function_description`."
    )


class ResponseFormatting(Section):
    """What is done to an answer of the native endpoint."""

    clean_json: bool = Field(False, description="Take JSON out of a Markdown fence.")
    trim_whitespace: bool = Field(True, description="Cut blank space at both ends.")
    max_length: Size = size("1MiB", "Longest answer; cut between characters.")


class Processing(Section):
    """The native endpoint's prompts and answers."""

    request_templates: RequestTemplates = section(RequestTemplates, "Prompts of the native endpoint.")
    response_formatting: ResponseFormatting = section(ResponseFormatting, "Tidying of its answers.")
