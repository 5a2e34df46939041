"""
Curves as pictures: `python -m bench.plots FILE FOLDER` makes an SVG of each curve in FILE, as `--curves` wrote them.

It runs in an environment of its own, which has matplotlib and nothing of the gateway: it may import nothing of ours.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib  # type: ignore[import-not-found]
from matplotlib.figure import Figure  # type: ignore[import-not-found]

WIDTH, HEIGHT = 4.2, 2.7
"""Inches of one panel."""
COLOURS = {"gateway": "#1f6feb", "envoy": "#d1651b", "provider alone": "#8a8a8a"}
OTHERS = ("#2a9d55", "#8250df", "#b3261e")
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.edgecolor": "#808080",
    # Text stays text: small files, and figures that can be searched and read aloud.
    "svg.fonttype": "none",
    # The same figures make the same file.
    "svg.hashsalt": "hapax",
}


def draw(curve: dict[str, Any], folder: Path) -> Path:
    """Make the picture of one curve; returns its path."""
    panels = curve["panels"]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * len(panels), HEIGHT), layout="constrained")
        for axes, (label, subjects) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            others = iter(OTHERS)
            for name, points in subjects.items():
                colour = COLOURS.get(name) or next(others)
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.4, color=colour, label=name)
            if curve["log"]:
                axes.set_xscale("log")
                ticks = sorted({x for points in subjects.values() for x, _ in points})
                axes.set_xticks(ticks, [short(x) for x in ticks])
                axes.minorticks_off()
            else:
                axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.set_xlabel(curve["x"])
            axes.set_ylabel(label)
            if len(subjects) > 1:
                axes.legend(frameon=False)
        path = folder / f"{curve['name']}.svg"
        figure.savefig(path, facecolor="white", metadata={"Date": None})
    return path


def short(number: float) -> str:
    """1000 as 1k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def main(file: str, folder: str) -> None:
    """Draw all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for curve in json.loads(Path(file).read_text()):
        print(draw(curve, Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
