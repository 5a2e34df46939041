"""
A table as text, and what it looks like on a terminal and in a document.

It knows nothing of what is in it.
"""

from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Grid:
    """A heading, the columns' names, the first of which is of the rows' names, and the rows."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    bad: set[int] = field(default_factory=set)
    """Which rows do not keep what they should."""

    def add(self, *cells: str, bad: bool = False) -> None:
        """One more row."""
        if bad:
            self.bad.add(len(self.rows))
        self.rows.append(cells)

    def table(self) -> Table:
        """For a terminal; bad rows are red."""
        made = Table(title=self.title, title_justify="left")
        made.add_column(self.columns[0])
        for title in self.columns[1:]:
            made.add_column(title, justify="right")
        for index, row in enumerate(self.rows):
            made.add_row(*row, style="red" if index in self.bad else None)
        return made

    def markdown(self) -> str:
        """For a document; the names of bad rows are bold."""
        lines = [f"{self.title[:1].upper()}{self.title[1:]}:", "", _line(self.columns)]
        lines.append("|---" + "|--:" * (len(self.columns) - 1) + "|")
        for index, (name, *cells) in enumerate(self.rows):
            lines.append(_line((f"**{name}**" if index in self.bad else name, *cells)))
        return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
