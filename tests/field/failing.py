"""Errors as bytes, and the configuration of a model with a fallback."""

from typing import Any

from tests.field.build import answer, ask, two


def error(status: int, headers: str = "", **more: Any) -> list[Any]:
    """An error answer; *headers*: more header lines."""
    return answer(status, {"error": {"message": "m", "type": "server_error", "param": None, **more}}, headers=headers)


def fallback(**model: Any) -> dict[str, Any]:
    """The configuration of `big`, whose one target is a's, and `small`, its fallback, whose one target is b's."""
    configuration = two()
    configuration["providers"]["b"]["models"] = ["s"]
    configuration["models"] = {
        "big": {"targets": ["a/m"], "fallbacks": ["small"], **model},
        "small": {"targets": ["b/s"]},
    }
    return configuration


def big(step: str = "call", **fields: Any) -> dict[str, Any]:
    """A client's step: a chat with `big`."""
    return ask(step=step, **{"model": "big", **fields})
