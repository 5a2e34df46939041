"""
Which gateway a test starts as a process of its own: the compiled one, as the image has it, where `make compiled` has
made it of the sources as they are; else these sources as Python. In the process of the tests they always are Python.
"""

from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".compiled" / "installed"
SITE = BUILT.parent / "site"


@cache
def is_compiled() -> bool:
    """Whether there is a compiled gateway, of today's sources."""
    made = BUILT.stat().st_mtime if BUILT.exists() else 0.0
    return all(source.stat().st_mtime < made for source in (ROOT / "proxy").rglob("*.py"))


def python_path() -> str:
    """Where a Python that is started in some other directory finds it."""
    return f"{SITE}:{ROOT}" if is_compiled() else str(ROOT)
