"""
How the commands print tables, problems, warnings and settings without effect.

Plain text in, lines out: nothing printed here is read as markup, since paths contain brackets. The library that prints
is loaded when something is printed: a gateway that serves would keep its two megabytes for nothing.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.core.plain import on_one_line
from proxy.settings import SettingsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def out(width: int | None = None) -> "Console":
    """Standard output."""
    from rich.console import Console

    return Console(width=width)


def err() -> "Console":
    """Standard error."""
    from rich.console import Console

    return Console(stderr=True)


def sheet(footer: bool = False) -> "Table":
    """An empty table."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_footer=footer)


def line(console: "Console", text: str, style: str = "") -> None:
    from rich.text import Text

    console.print(Text(text, style=style), soft_wrap=True)


def plain(text: str) -> str:
    """*text* on one line and without what a terminal would obey: names and models are whatever a caller sent."""
    return on_one_line(text)


def dim() -> str:
    """The style of what is said beside the matter; none where `NO_COLOR` is set (https://no-color.org)."""
    return "" if os.environ.get("NO_COLOR") else "dim"


def cell(text: str) -> "Text":
    from rich.text import Text

    return Text(plain(text))


def table(console: "Console", shown: "Table") -> None:
    """At the terminal's width; as wide as it needs without a terminal, so that a grep finds whole words."""
    if console.is_terminal:
        console.print(shown)
    else:
        from rich.console import Console
        from rich.measure import Measurement

        natural = Measurement.get(console, console.options.update(max_width=10_000), shown).maximum
        Console(file=console.file, width=natural).print(shown)


def width_of(shown: "Table", most: int) -> int:
    """Letters across, up to *most*, that show every number whole."""
    from rich.measure import Measurement

    console = out(most)
    return Measurement.get(console, console.options, shown).minimum


def problems(console: "Console", error: SettingsError) -> None:
    """Every problem with its path, then the warnings, then what to do."""
    count = len(error.problems)
    line(console, f"The configuration has {count} problem{'s' if count != 1 else ''}:", "red")
    if console.is_terminal:
        table = sheet()
        table.add_column("setting", overflow="fold", style="bold")
        table.add_column("problem", overflow="fold")
        for problem in error.problems:
            table.add_row(cell(problem.path or "configuration"), cell(problem.message))
        console.print(table)
    else:
        # A log or a grep wants each problem on one line.
        for problem in error.problems:
            line(console, f"  {problem}")
    warnings(console, error.warnings)
    line(console, "Correct this and run `hapax check` again; docs/configuration.md lists every setting.")


def warnings(console: "Console", found: Sequence[str]) -> None:
    for warning in found:
        line(console, f"Warning: {warning}", "yellow")
