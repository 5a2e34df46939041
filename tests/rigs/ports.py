"""A port that nothing listens on, for programs that have to be told theirs."""

import socket


def free_port() -> int:
    """One of loopback's; another program may still be faster to take it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
