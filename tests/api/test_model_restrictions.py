"""A key that is restricted to some models cannot reach another one, whatever form its body takes."""

import aiohttp
import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

KEYS = {"auth": {"keys": [{"name": "narrow", "key": "hpx_narrow_key_0123456789", "models": ["sim-1"]}]}}
HEADERS = {"X-API-Key": "hpx_narrow_key_0123456789"}


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


FILE = b'name="file"; filename="a.wav"\r\n\r\n' + b"x" * 400_000


async def ask(url: str, body: bytes, content_type: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(headers={**HEADERS, "Content-Type": content_type}) as session,
        session.post(url, data=body) as answer,
    ):
        return answer.status, (await answer.json())["error"]["code"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (form(b'name="model"\r\n\r\nsim-dear', FILE), (403, "model_not_allowed")),
        (form(FILE, b'name="model"\r\n\r\nsim-dear'), (403, "model_not_allowed")),
        (form(b'name="model"\r\n\r\nsim-1', FILE, b'name="model"\r\n\r\nsim-dear'), (400, "invalid_multipart")),
        (form(b'name="model"\r\n\r\nsim-1', FILE, b"name=model\r\n\r\nsim-dear"), (400, "invalid_multipart")),
        (
            form(b'name="model"\r\n\r\nsim-1')[: -len(b"--b--\r\n")]
            + b'--b\r\nContent-Disposition: form-data; name="model"',
            (400, "invalid_multipart"),
        ),
        (form(FILE), (400, "missing_required_parameter")),
    ],
    ids=["another model", "behind the file", "twice", "twice and unquoted", "half a second one", "no model"],
)
async def test_a_form_cannot_name_a_model_past_the_restriction(
    gateway: GatewayFactory, simulator: Simulator, body: bytes, refusal: tuple[int, str]
) -> None:
    running = await gateway(KEYS)
    url = running.base_url + "/audio/transcriptions"
    assert await ask(url, body, "multipart/form-data; boundary=b") == refusal
    assert not [request for request in simulator.ledger if request.complete and request.method == b"POST"]


async def test_a_body_the_gateway_does_not_read_is_refused_where_models_are_restricted(gateway: GatewayFactory) -> None:
    running = await gateway(KEYS)
    url = running.base_url + "/images/edits"
    assert await ask(url, b'{"model": "sim-dear"}', "text/plain") == (415, "unsupported_media_type")


async def test_a_call_without_a_model_is_refused_where_models_are_restricted(gateway: GatewayFactory) -> None:
    running = await gateway(KEYS)
    url = running.base_url + "/moderations"
    assert await ask(url, b'{"input": "x"}', "application/json") == (400, "missing_required_parameter")


async def test_a_longer_boundary_that_begins_like_ours_ends_no_part(
    gateway: GatewayFactory, simulator: Simulator
) -> None:
    running = await gateway(KEYS)
    body = form(b'name="model"\r\n\r\nsim-dear\r\n--bX\r\n', FILE)
    url = running.base_url + "/audio/transcriptions"
    assert await ask(url, body, "multipart/form-data; boundary=b") == (403, "model_not_allowed")
