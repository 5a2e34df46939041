"""
Figures in a document: what stands between two marks is replaced, the rest is left as it is.
"""

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
    before, began, rest = document.partition(begin)
    _, ended, after = rest.partition(end)
    if not began or not ended or begin in rest or end in before + after:
        raise NoMarksError(f"needs the marks {begin} and {end}, once each")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
