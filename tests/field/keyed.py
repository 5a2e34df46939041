"""What the tests of clients share: a gateway with two keys, and what its provider was told."""

import json
from typing import Any

import pytest

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.spec.wire import calls, target

KEYS = {"auth": {"keys": [{"name": "one", "key": "key-one"}, {"name": "two", "key": "key-two"}]}}
PROVIDER_KEY = "provider-key"


@pytest.fixture
async def running(gateway: GatewayFactory, simulator: Simulator) -> RunningGateway:
    provider = target(simulator, api_key=PROVIDER_KEY, models=["sim-*", "whisper"])
    return await gateway({**KEYS, "providers": {"sim": provider}})


def told(simulator: Simulator) -> tuple[str, Any]:
    """Target and body of the one call the provider saw; it brought the gateway's key and none of the client's."""
    [record] = calls(simulator)
    headers = {name.lower(): value for name, value in record.headers}
    assert headers[b"authorization"] == f"Bearer {PROVIDER_KEY}".encode()
    assert not {b"api-key", b"x-api-key", b"x-goog-api-key"} & headers.keys()
    assert not any(value in b" ".join(headers.values()) for value in (b"key-one", b"key-two"))
    kind = headers.get(b"content-type", b"")
    return record.target.decode(), json.loads(record.body) if record.body and b"json" in kind else record.body
