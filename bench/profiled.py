"""
`python -m bench.profiled FILE serve ...`: the command `hapax`, profiled from SIGUSR1 to SIGUSR2 into FILE.
"""

import cProfile
import signal
import sys
from types import FrameType

from proxy.cli import main

profile = cProfile.Profile()
file = sys.argv.pop(1)


def begin(number: int, frame: FrameType | None) -> None:
    """Start-up is over."""
    profile.enable()


def end(number: int, frame: FrameType | None) -> None:
    """Everything was asked."""
    profile.disable()
    profile.dump_stats(file)


signal.signal(signal.SIGUSR1, begin)
signal.signal(signal.SIGUSR2, end)
main()
