"""
The command line: `hapax serve`, `hapax check`, `hapax keys` and so on, one file each.

Commands find and check the configuration, say what is wrong and what to do next, and hand over to the process. They
hold no behaviour of the gateway.
"""

import sys

from proxy.process import hangups

if sys.argv[1:2] == ["serve"]:
    # Loading what follows takes a second, in which a hangup would end the process.
    hangups.hold()

from proxy.cli.command import main

__all__ = ["main"]
