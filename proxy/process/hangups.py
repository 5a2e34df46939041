"""
SIGHUP before the gateway can obey it: held by the kernel until there is a handler, so that no change of the settings is
missed and nothing dies of one.
"""

import signal


def hold() -> None:
    """Let none through yet."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def let_through() -> None:
    """There is a handler now: one that has come meanwhile comes at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
