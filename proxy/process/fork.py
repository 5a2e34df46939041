"""
How a worker comes to be: a copy of the supervisor that forgets all but its own channel, and serves.

When one is needed is decided in `supervisor`; what it does then stands in `worker`.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable
from typing import IO, NoReturn

from proxy.process import worker
from proxy.process.member import Birth, NotStarted

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those a supervisor obeys."""
_log = logging.getLogger("hapax")


def fork(birth: Birth) -> None:
    """Make the worker of *birth*; the task that waits for it is told where the system has no room for one."""
    with contextlib.ExitStack() as held:
        try:
            ours, theirs = map(held.enter_context, socket.socketpair())
            our_hand, their_hand = map(held.enter_context, socket.socketpair())
            for hand in (our_hand, their_hand):
                # Neither side may stand still for the other.
                hand.setblocking(False)
            crash = held.enter_context(tempfile.TemporaryFile())
            sys.stdout.flush()
            # A signal between the fork and the child's own handlers would be told to us.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGCHLD))
            try:
                pid = os.fork()
                if pid == 0:
                    _become_worker(birth, theirs, their_hand, crash, before)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except OSError as error:
            birth.born.set_exception(NotStarted(f"it could not be forked: {error.strerror or error}"))
            return
        # `Workers` closes them, when the worker is gone.
        held.pop_all()
        theirs.close()
        their_hand.close()
        birth.born.set_result((pid, ours, our_hand, crash))


def _become_worker(
    birth: Birth, channel: socket.socket, hand: socket.socket, crash: IO[bytes], mask: Iterable[int]
) -> NoReturn:
    """What the child does instead of coming back."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # The other workers' channels among them: they must end with the supervisor alone.
        kept = {0, 1, 2, crash.fileno(), *(each.fileno() for each in (channel, hand, *birth.place.sockets.all))}
        for descriptor in map(int, os.listdir("/dev/fd")):
            if descriptor not in kept:
                try:
                    os.close(descriptor)
                except OSError:
                    # The one that listed them.
                    continue
        code = worker.run(birth.place, channel, hand, crash)
    except BaseException as error:
        _log.critical("a worker cannot go on: %s", type(error).__name__, exc_info=error)
    finally:
        # Nothing of the supervisor's, of which this process has a copy, may run any more.
        os._exit(code)
