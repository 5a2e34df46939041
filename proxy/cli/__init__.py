"""
The command line: `hapax serve`, `hapax check`, `hapax keys` and so on, one file each.

Commands find and check the configuration, say what is wrong and what to do next, and hand over to the process. They
hold no behaviour of the gateway.
"""

from proxy.cli.command import main

__all__ = ["main"]
