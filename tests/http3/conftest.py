"""A gateway that serves HTTP/3 beside HTTP/1.1."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.quic import issue

QuicFactory = Callable[..., Awaitable[RunningGateway]]


@pytest.fixture
def quic(gateway: GatewayFactory, tmp_path: Path) -> QuicFactory:
    """As `gateway`; *http3* are settings of `server.http3`, *server* of `server`."""

    async def start(
        *, http3: dict[str, Any] | None = None, server: dict[str, Any] | None = None, **sections: Any
    ) -> RunningGateway:
        section = {"enabled": True, "port": 0, **issue(tmp_path), **(http3 or {})}
        return await gateway({"server": {"http3": section, **(server or {})}, **sections})

    return start


def quic_port(running: RunningGateway) -> int:
    """Where it serves HTTP/3."""
    assert running.listener.door is not None
    return running.listener.door.port
