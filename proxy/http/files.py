"""
How many calls and connections the process's open files allow.
"""

import resource

RESERVED_FILES = 64
"""Descriptors kept for logs, probes, listening sockets and operators."""


def affordable_connections() -> int:
    """Connections of clients there may be: the rest is for those to providers, and logs and probes always find some."""
    return max(RESERVED_FILES, _allowed() * 3 // 4)


def affordable_requests() -> int:
    """Calls that may be under way at once: each takes a client's and a provider's connection."""
    return max(1, (_allowed() - RESERVED_FILES) // 2)


def _allowed() -> int:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(allowed, 1_000_000)
