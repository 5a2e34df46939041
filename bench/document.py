"""
Figures in a document: what stands between two marks is replaced, the rest is left as it is.
"""

import re
from pathlib import Path

FIGURES, CURVES = "figures", "curves"
"""The parts a run can write: `<!-- figures -->` up to `<!-- end of figures -->`, and so on."""


class NoMarksError(Exception):
    """The document has no place for this, or more than one; the text says which marks are meant."""


def check(path: Path, part: str) -> None:
    """Raises `NoMarksError` where `write` would, or `OSError`."""
    replaced(path.read_text(), part, "")


def write(path: Path, part: str, text: str) -> None:
    """Put *text* between the marks of *part* in the document at *path*; raises `NoMarksError`."""
    path.write_text(replaced(path.read_text(), part, text))


def replaced(document: str, part: str, text: str) -> str:
    """The *document* with *text* between the marks of *part*; raises `NoMarksError`."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(document)) != 1:
        raise NoMarksError(f"needs the marks {begin} and {end}, once each")
    return pattern.sub(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", document)
