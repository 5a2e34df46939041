"""
What each of several workers gets of the limits that are meant for the whole gateway.

Limits of keys, routes and models are no matter of it: those are shared exactly, over Redis.
"""

from proxy.settings.whole import Settings


def share(settings: Settings, slot: int, workers: int) -> Settings:
    """
    The settings of worker *slot* of *workers*, counted from 0: what is left over goes to the first ones, and each has
    at least one, so that more workers than places let in more than was written.
    """
    if workers == 1:
        return settings

    def part(whole: int) -> int:
        # 0 is no limit.
        return whole and max(1, whole // workers + (slot < whole % workers))

    server, queue = settings.server, settings.queue
    return settings.model_copy(
        update={
            "server": server.model_copy(
                update={
                    "max_requests": part(server.max_requests),
                    "max_buffered": part(server.max_buffered),
                    "max_connections": part(server.max_connections),
                    "max_connections_per_address": part(server.max_connections_per_address),
                    # Its packets are read by one of them, see proxy/http3/door.py.
                    "http3": server.http3 if slot == 0 else server.http3.model_copy(update={"enabled": False}),
                }
            ),
            "queue": queue.model_copy(
                update={"max_running": part(queue.max_running), "initial_size": part(queue.initial_size)}
            ),
            "providers": {
                name: provider.model_copy(update={"max_concurrency": part(provider.max_concurrency)})
                for name, provider in settings.providers.items()
            },
        }
    )
