"""
How long something may take. A machine that does other things as well may be late at any moment, by itself and not by
what is tested: a test says here how soon something has to come, and is strict only where nothing else runs.
"""

import os

SLOWER = 10
"""How many times slower a machine may be on which a test still passes."""
ON_TIME = bool(os.environ.get("HAPAX_ON_TIME"))
"""Whether the bounds are those of the documents, as in `make soak`."""


def at_most(seconds: float) -> float:
    """
    The upper bound for what should take *seconds* at most: so many with HAPAX_ON_TIME in the environment, else ten
    times as many, which still tells the clock that fired from one that would fire later, and an end from none.
    """
    return seconds if ON_TIME else SLOWER * seconds
