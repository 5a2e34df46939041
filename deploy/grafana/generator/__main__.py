"""Writes the dashboards: `python -m deploy.grafana.generator [FOLDER]`; without FOLDER those that are provisioned."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.generator import models, overview, providers, spending, system

FOLDER = Path(__file__).parents[1] / "dashboards"
BOARDS = [overview.BOARD, providers.BOARD, models.BOARD, spending.BOARD, system.BOARD]


def files() -> Iterator[tuple[str, str]]:
    """The name of each file, and what it holds."""
    for board in BOARDS:
        # Sorted, so that a change of the library's order is no change of ours.
        whole = json.loads(JSONEncoder().encode(board))
        yield f"{board.uid}.json", json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, text in files():
        (folder / name).write_text(text)
