"""`/admin/calls`: the last calls, filtered, page by page, and put together from several workers."""

from typing import Any
from urllib.parse import urlencode

import pytest

from proxy.accounts.asked import checked
from proxy.admin.calls import Calls, CallsQuestion
from proxy.admin.trails import REMEMBERED, Trails
from proxy.core import clock
from proxy.core.exchange import AttemptRecord, Exchange, Outcome
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get

KEYS = {
    "keys": [
        {"name": "web", "key": "hapax-client-4b1e9d7730aa65c2"},
        {"name": "app", "key": "hapax-client-77aa65c24b1e"},
    ],
    "admin_key": "hapax-admin-9f2b6c1de04a7788",
}
ADMIN = "X-API-Key: hapax-admin-9f2b6c1de04a7788\r\n"
WEB, APP = "X-API-Key: hapax-client-4b1e9d7730aa65c2\r\n", "X-API-Key: hapax-client-77aa65c24b1e\r\n"


async def shown(running: RunningGateway, head: str = ADMIN, **asked: Any) -> Any:
    answer = await ask(running.port, get(f"/admin/calls?{urlencode(asked)}", head=head))
    assert answer.status == 200, answer.body
    return answer.json


async def ids(running: RunningGateway, **asked: Any) -> list[str]:
    return [call["request_id"] for call in (await shown(running, **asked))["calls"]]


@pytest.fixture
async def called(simulator: Simulator, gateway: GatewayFactory) -> RunningGateway:
    """A gateway that was called three times."""
    running = await gateway(
        {
            "auth": KEYS,
            "providers": {"one": provider(simulator), "two": provider(simulator, models=["other-*", "sim-1"])},
        }
    )
    for name, key, model in (("first", WEB, "sim-fast"), ("second", APP, "sim-1"), ("third", WEB, "unknown")):
        await ask(running.port, chat(model, head=f"{key}X-Request-ID: {name}\r\n"))
    await ask(running.port, get("/live", head="X-Request-ID: probe\r\n"))
    return running


async def test_the_last_calls_are_told_the_newest_first_in_the_fields_of_the_feed(called: RunningGateway) -> None:
    told = await shown(called)
    assert [call["request_id"] for call in told["calls"]] == ["third", "second", "first"]
    assert told["next"] is None
    first = told["calls"][-1]
    assert (first["principal"], first["provider"], first["status"], first["outcome"]) == ("web", "one", 200, "ok")
    exchange = next(each for _, each in called.listener.gateway.answers._calls._trails.newest_first())
    assert list(told["calls"][0]) == list(called.listener.gateway.feed.fields(exchange))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"key": "web"}, ["third", "first"]),
        ({"model": "sim-1"}, ["second"]),
        ({"provider": "one"}, ["second", "first"]),
        ({"outcome": "refused"}, ["third"]),
        ({"route": "/v1/chat/completions", "key": "app"}, ["second"]),
        ({"route": "/v1/embeddings"}, []),
        ({"since": "1h"}, ["third", "second", "first"]),
        ({"since": "0s"}, []),
        ({"limit": 2}, ["third", "second"]),
    ],
)
async def test_filters_leave_out_the_others(called: RunningGateway, asked: dict[str, Any], found: list[str]) -> None:
    assert await ids(called, **asked) == found


async def test_pages_follow_each_other_without_a_gap_or_a_call_twice(called: RunningGateway) -> None:
    found: list[str] = []
    asked: dict[str, Any] = {"limit": 1}
    while True:
        page = await shown(called, **asked)
        found += [call["request_id"] for call in page["calls"]]
        if page["next"] is None:
            break
        # A call that comes meanwhile belongs before the first page.
        await ask(called.port, chat(head=f"{APP}X-Request-ID: later\r\n"))
        asked["before"] = page["next"]
    assert found == ["third", "second", "first"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"outcome": "fine"}, "outcome"),
        ({"since": "yesterday"}, "since"),
        ({"before": "1;2"}, "before"),
        ({"colour": "red"}, "colour"),
        ({"key": "a\x00b"}, "key"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    called: RunningGateway, asked: dict[str, Any], param: str
) -> None:
    answer = await ask(called.port, get(f"/admin/calls?{urlencode(asked)}", head=ADMIN))
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (400, "invalid_parameter", param)


async def test_only_the_admin_key_opens_it(called: RunningGateway) -> None:
    assert (await ask(called.port, get("/admin/calls", head=WEB))).status == 403
    assert (await ask(called.port, get("/admin/calls"))).status == 401


# Of several workers.


class Worker:
    """One that has served calls which ended at these moments."""

    def __init__(self, pid: int, *moments: float) -> None:
        self.pid = pid
        self.trails = Trails()
        self.calls = Calls(self.trails, lambda: None, lambda exchange: {"id": exchange.id}, Alone())
        for number, moment in enumerate(moments, 1):
            exchange = Exchange(f"{pid}-{number}", started=moment - 1)
            exchange.route, exchange.ended = "/v1/chat/completions", moment
            self.trails.ended([exchange])


class Alone:
    asker = ""

    async def ask(self, what: str, of: Any = None) -> list[Any]:
        return []


def test_a_worker_tells_behind_which_moment_no_call_is_missing() -> None:
    few, many = Worker(1, 10.0, 11.0), Worker(1, *(float(moment) for moment in range(1, REMEMBERED + 3)))
    question = checked(CallsQuestion, {"limit": "2"}, clock.wall())
    assert few.calls.own(question)["complete_since"] == 0.0
    told = many.calls.own(question)
    assert told["complete_since"] == 3.0
    # One more than is wanted, which tells that there is another page.
    assert [row[3]["id"] for row in told["calls"]] == ["1-1002", "1-1001", "1-1000"]


def test_of_calls_that_ended_at_the_same_moment_none_is_left_out_by_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    worker = Worker(7, 5.0, 5.0, 5.0)
    question = checked(CallsQuestion, {"before": "5.0-7-3"}, clock.wall())
    assert [row[2] for row in worker.calls.own(question)["calls"]] == [2, 1]
    # Those of a worker with a lower pid stand behind.
    question = checked(CallsQuestion, {"before": "5.0-8-1"}, clock.wall())
    assert [row[2] for row in worker.calls.own(question)["calls"]] == [3, 2, 1]


def test_a_call_is_filtered_by_the_provider_that_answered() -> None:
    exchange = Exchange("x")
    exchange.attempts = [AttemptRecord("a", "m", 0.0), AttemptRecord("b", "m", 0.0)]
    exchange.attempts[0].first_content_at = 1.0
    exchange.outcome = Outcome.CUT
    for asked, wanted in (({"provider": "a"}, True), ({"provider": "b"}, False), ({"outcome": "cut"}, True)):
        assert checked(CallsQuestion, asked, clock.wall()).wants(exchange) is wanted
