"""The gateway as a page in a real browser meets it: preflights, readable errors, and what stays out of reach."""

from typing import Any

import pytest

from tests.rigs.browser import PageServer, visit
from tests.rigs.simulator import Simulator

from .helpers import KEY, MODEL, asking, calls, chat_text, ended_by_client, models_known, settings

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def base_url(gateway: Any, simulator: Simulator, pages: PageServer) -> str:
    """A gateway that allows the origin of the page."""
    cors = {"allow_origins": [pages.origin]}
    return (await gateway(settings(simulator.base_url, server={"cors": cors}))).base_url


async def test_a_page_streams_a_chat_with_fetch(pages: PageServer, base_url: str) -> None:
    seen = await visit(pages, "fetch_chat", base_url=base_url, api_key=KEY, model=MODEL)
    assert seen["status"] == 200
    assert seen["type"].startswith("text/event-stream")
    assert seen["request_id"]
    assert seen["text"].endswith("data: [DONE]\n\n")
    assert chat_text(seen["text"])


async def test_a_page_talks_through_the_openai_sdk(pages: PageServer, base_url: str) -> None:
    await models_known(base_url)
    seen = await visit(pages, "sdk_chat", base_url=base_url, api_key=KEY, model=MODEL)
    assert seen["whole"] == seen["streamed"] != ""
    assert seen["request_id"]
    assert MODEL in seen["models"]
    assert seen["refused"].pop("request_id")
    assert seen["refused"] == {"class": "AuthenticationError", "status": 401, "code": "invalid_api_key"}


async def test_a_page_can_read_why_its_key_was_refused(pages: PageServer, base_url: str) -> None:
    seen = await visit(pages, "fetch_chat", base_url=base_url, api_key="sk-wrong", model=MODEL)
    assert (seen["status"], seen["error"]["code"]) == (401, "invalid_api_key")
    assert seen["error"]["request_id"] == seen["request_id"] is not None


async def test_a_page_can_read_when_to_try_again(pages: PageServer, base_url: str) -> None:
    model = asking("status=429", "retry_after=7")
    seen = await visit(pages, "fetch_chat", base_url=base_url, api_key=KEY, model=model)
    assert seen["status"] == 429
    assert seen["retry_after"] is not None
    assert seen["error"]["request_id"] == seen["request_id"]


async def test_a_page_that_stops_reading_ends_the_call_upstream(
    pages: PageServer, base_url: str, simulator: Simulator
) -> None:
    seen = await visit(
        pages, "fetch_chat", base_url=base_url, api_key=KEY, model=asking("forever", "pace=5ms"), read_all=False
    )
    assert seen["status"] == 200
    assert await ended_by_client(calls(simulator)[-1])


async def test_a_page_of_an_origin_that_is_not_allowed_sees_nothing(
    pages: PageServer, gateway: Any, simulator: Simulator
) -> None:
    cors = {"allow_origins": ["https://app.example.com"]}
    running = await gateway(settings(simulator.base_url, server={"cors": cors}))
    seen = await visit(pages, "blocked", base_url=running.base_url, api_key=KEY, model=MODEL)
    assert seen["blocked"]
    assert calls(simulator) == []  # the preflight failed, so the call itself was never sent


async def test_no_origin_is_allowed_unless_configured(pages: PageServer, gateway: Any, simulator: Simulator) -> None:
    running = await gateway(settings(simulator.base_url))
    seen = await visit(pages, "blocked", base_url=running.base_url, api_key=KEY, model=MODEL)
    assert seen["blocked"]
    assert calls(simulator) == []
