"""What is printed when the gateway answers: where to look, and a line to try."""

import pytest

from proxy.process.banner import banner
from proxy.settings.load import Loaded
from tests.conftest import GatewayFactory


@pytest.mark.parametrize("enabled", [True, False])
async def test_the_address_of_the_page_stands_before_the_line_that_streams(
    gateway: GatewayFactory, enabled: bool
) -> None:
    running = await gateway({"ui": {"enabled": enabled}})
    settings = running.listener.gateway.settings
    said = banner(
        Loaded(settings, "hapax.yaml", None, []), running.listener.gateway, "http://127.0.0.1:8080"
    ).splitlines()
    assert said[0].endswith("http://127.0.0.1:8080")
    try_it = said.index("Try it:")
    assert (said[try_it - 2] == "Look at it: http://127.0.0.1:8080/ui") is enabled
    assert any(line.startswith("  curl -N http://127.0.0.1:8080/v1/chat/completions") for line in said[try_it:])
