"""The fixture of the field's tests."""

from tests.field.play import play

__all__ = ["play"]
