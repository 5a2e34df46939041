"""How long something may take in a test: on a machine that others use too, and where figures are asked for."""

import os

SLOWER = 1.0 if os.environ.get("HAPAX_ON_TIME") else 10.0
"""How many times slower than its figures a machine may be. `make soak` proves the figures themselves."""


def at_most(seconds: float) -> float:
    """The upper bound for what takes at most *seconds* where nothing else runs."""
    return seconds * SLOWER
