"""The fixtures of the field's tests."""

from tests.field.keyed import running
from tests.field.play import play

__all__ = ["play", "running"]
