"""
A call's wait for a place in the queue, and what its caller is told of that.

How long it may last and who is next is the queue's.
"""

from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.http.inbound import Inbound
from proxy.limits.queue import Queue, QueueClosed, QueueFull, QueueTimeout


async def wait(queue: Queue, inbound: Inbound, holder: str) -> None:
    """Wait until the call of *holder* has a place; `ProxyError` 503 when it gets none."""
    exchange, began = inbound.exchange, clock.now()
    try:
        ticket = queue.join(holder)
        exchange.position = ticket.position
        await ticket.wait()
    except QueueFull:
        raise ProxyError("queue_full", headers=_again(queue.retry_after(began))) from None
    except QueueTimeout:
        raise ProxyError("queue_timeout", headers=_again(queue.retry_after(clock.now()))) from None
    except QueueClosed:
        raise ProxyError("shutting_down") from None
    finally:
        exchange.queued = clock.now() - began
    inbound.answer.extra_lines += b"X-Hapax-Queue-Position: %d\r\n" % ticket.position


def _again(seconds: float) -> tuple[tuple[str, str], ...]:
    return (("Retry-After", str(max(1, round(seconds + 0.5)))),)
