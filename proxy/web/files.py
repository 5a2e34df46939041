"""
How many calls and connections the process's open files allow.
"""

RESERVED_FILES = 64
"""Descriptors kept for logs, probes, listening sockets and operators."""


def affordable() -> int:
    """Calls that may be under way at once, and connections of clients: a call takes one of these and a provider's."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 10_000
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (min(allowed, 1_000_000) - RESERVED_FILES) // 2)
