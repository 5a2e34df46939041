"""Which correlation id a call has: that of the header, else `metadata.correlation_id` of its body, else its own id."""

from typing import Any

import pytest

from proxy.core.headers import correlation_in
from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator

from .loop import until
from .wire import QUESTION, ask, calls, chat, request

OWN = "X-Request-ID: own\r\n"


@pytest.mark.parametrize(
    ("head", "body", "known_as"),
    [
        ("", {"metadata": {"correlation_id": "order-7"}}, "order-7"),
        ("X-Correlation-ID: header-1\r\n", {"metadata": {"correlation_id": "order-7"}}, "header-1"),
        ("", {"metadata": {"correlation_id": "a b"}}, "own"),
        ("", {"metadata": {"correlation_id": 7}}, "own"),
        ("", {"metadata": {"other": "x"}}, "own"),
        ("", {"metadata": ["correlation_id"]}, "own"),
        ("", {}, "own"),
    ],
)
async def test_a_header_counts_before_the_body_and_the_calls_own_id_is_last(
    simulator: Simulator, gateway: GatewayFactory, head: str, body: dict[str, Any], known_as: str
) -> None:
    running = await gateway()
    seen = running.observed()
    assert (await ask(running.port, chat(head=OWN + head, **body))).status == 200
    await until(lambda: seen)
    assert (seen[0].id, seen[0].correlation_id) == ("own", known_as)


async def test_the_body_reaches_the_provider_as_it_was(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    whole = b'{"model": "sim-fast",  "metadata":{"correlation_id":"order-7"},"messages":[{"role":"user","content":""}]}'
    assert (await ask(running.port, request("/v1/chat/completions", whole))).status == 200
    (call,) = calls(simulator)
    assert call.body == whole


async def test_a_body_that_another_process_reads_has_its_id_all_the_same(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await gateway()
    seen = running.observed()
    many = [{"role": "user", "content": [{"type": "text", "text": "x"}] * 20_000}]
    assert (await ask(running.port, chat(metadata={"correlation_id": "order-7"}, messages=many))).status == 200
    await until(lambda: seen)
    assert seen[0].correlation_id == "order-7"


async def test_the_native_endpoint_knows_it_too(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    seen = running.observed()
    body = {"model": "sim-fast", "messages": QUESTION, "metadata": {"correlation_id": "order-7"}}
    assert (await ask(running.port, request("/v1/completion", body))).status == 200
    await until(lambda: seen)
    assert seen[0].correlation_id == "order-7"


@pytest.mark.parametrize("offered", ["", "x" * 513, "tab\there", "zeil\ne", "käse", "a b", None, {}])
def test_what_no_header_could_hold_is_not_taken(offered: object) -> None:
    assert correlation_in({"metadata": {"correlation_id": offered}}) == ""


def test_as_many_characters_are_taken_as_of_a_header() -> None:
    assert correlation_in({"metadata": {"correlation_id": "x" * 512}}) == "x" * 512
