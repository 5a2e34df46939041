"""Requests whose body is empty, or says less than another server would need."""

import aiohttp

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Send, Simulator

DONE = b'{"id":"batch_1","status":"cancelling"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(DONE), DONE)


async def test_a_post_without_a_body_is_sent_on_without_one(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway({"health_check": {"enabled": False}})
    simulator.script([Send(ANSWER)], match="/v1/batches/*", times=2)
    async with aiohttp.ClientSession() as session:
        for headers in ({"Content-Type": "application/json"}, {}):
            url = running.base_url + "/batches/batch_1/cancel"
            async with session.post(url, headers=headers) as answer:
                assert (answer.status, await answer.read()) == (200, DONE)
            assert simulator.ledger[-1].header("content-length") in ("0", b"0")


async def test_a_generation_without_a_body_is_refused(gateway: GatewayFactory) -> None:
    running = await gateway()
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.base_url + "/chat/completions", headers={"Content-Type": "application/json"}) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "invalid_json"


async def test_a_list_is_an_answer_where_no_object_is_promised(gateway: GatewayFactory, simulator: Simulator) -> None:
    running = await gateway()
    listed = b'[{"index":0,"score":0.5}]'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(listed)
    simulator.script([Send(head + listed)], match="/v1/classify")
    async with (
        aiohttp.ClientSession() as session,
        session.post(running.base_url + "/classify", json={"inputs": "x"}) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, listed)
