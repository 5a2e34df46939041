"""
Moments kept to a few microseconds, by the kernel's own timer: an event loop rounds to milliseconds, in which a busy
gateway answers several requests.

Linux only. It keeps time and knows nothing of requests.
"""

import asyncio
import ctypes
import os
import random
import time
from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_ABSOLUTE = 1
"""TFD_TIMER_ABSTIME."""


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def arrivals(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """
    Moments at which *rate* callers a second come who know nothing of each other, for so long, from 0.

    The same *seed* gives the same moments, so that no subject has the luckier ones.
    """
    chance = random.Random(seed)
    found = []
    at = chance.expovariate(rate)
    while at < seconds:
        found.append(at)
        at += chance.expovariate(rate)
    return found


async def at_moments(moments: list[float], call: Callable[[float], None]) -> None:
    """*call* at each of the *moments*, rising seconds from now, with what `perf_counter` should then have said."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    timer = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    # perf_counter and the timer read the same clock.
    start = time.perf_counter()
    left = iter([*(start + moment for moment in moments), float("inf")])
    due = next(left)

    def fire() -> None:
        nonlocal due
        os.read(timer, 8)
        while due <= time.perf_counter():
            call(due)
            due = next(left)
        arm()

    def arm() -> None:
        if due == float("inf"):
            done.set_result(None)
            return
        nanoseconds = int(due * 1e9)
        setting = _Setting(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 10**9)))
        _libc.timerfd_settime(timer, _ABSOLUTE, ctypes.byref(setting), None)

    try:
        loop.add_reader(timer, fire)
        arm()
        await done
    finally:
        loop.remove_reader(timer)
        os.close(timer)
