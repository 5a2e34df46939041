"""The event loop: a descriptor that has been closed is never closed once more, whatever has its number by then."""

import asyncio
import gc
import os
import select
import socket
import ssl
import struct

from proxy.core.loop import Loop

RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds."""


async def _a_connection_that_was_reset() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connecting = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        accepted.close()
    arrived = select.poll()
    arrived.register(connecting)
    assert arrived.poll(5000)
    return connecting


async def _number_taken_by_others_stays_open() -> None:
    sock = await _a_connection_that_was_reset()
    number = sock.fileno()
    try:
        await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=sock, ssl=ssl.create_default_context(), server_hostname="provider.example"
        )
    except OSError:
        pass
    else:
        raise AssertionError("TLS without a peer")
    await asyncio.sleep(0)
    # The lowest number that is free is given out next.
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(number + 1)]
    assert number in others, "the connection's descriptor is not closed"
    sock.close()
    del sock
    gc.collect()
    for other in others:
        os.close(other)


def test_a_connection_that_is_reset_before_tls_begins_closes_its_descriptor_once() -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_number_taken_by_others_stays_open())
