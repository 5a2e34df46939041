"""The probes in the background: what they make of a provider, how often they ask, and what they keep."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from proxy.providers.checks import JITTER, Checks, Listless, ProbeFailed
from proxy.providers.provider import Provider

TINY = 0.001
PATIENCE = 30.0

Answer = list[str] | ProbeFailed | None
"""What a probe finds: the names of models, nothing to list, or a failure."""
OK: Answer = ["m"]
FAILED = ProbeFailed("status 500")


class Script:
    """A probe that answers as scripted; after its last answer it is silent until it is cancelled."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        self.asked: dict[str, int] = dict.fromkeys(answers, 0)
        """How often each provider was asked."""
        self.moments: list[float] = []
        self._answers = answers
        self._news = asyncio.Condition()

    async def __call__(self, name: str) -> list[dict[str, Any]]:
        number = self.asked[name]
        self.asked[name] += 1
        self.moments.append(asyncio.get_running_loop().time())
        async with self._news:
            self._news.notify_all()
        if number >= len(self._answers[name]):
            await asyncio.Event().wait()
        answer = self._answers[name][number]
        if isinstance(answer, ProbeFailed):
            raise answer
        if answer is None:
            raise Listless("GET /models: status 404")
        return [{"id": model} for model in answer]

    async def through(self, **times: int) -> None:
        """Until each of those providers has been asked once more than *times*: what came before is digested."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: all(self.asked[name] > count for name, count in times.items()))


Start = Callable[..., Awaitable[list[Provider]]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Begin to probe by a script; returns its providers."""
    running: list[Checks] = []

    async def begin(
        script: Script,
        *,
        threshold: int = 2,
        interval: float = TINY,
        judge: bool = True,
        keep: list[Checks] | None = None,
    ) -> list[Provider]:
        providers = [Provider(name, None, failure_threshold=threshold) for name in script.asked]
        checks = Checks(providers, script, interval, judge, random.Random(1))
        checks.start()
        running.append(checks)
        if keep is not None:
            keep.append(checks)
        return providers

    yield begin
    for checks in running:
        await checks.stop()


@pytest.mark.parametrize(("threshold", "healthy"), [(1, False), (2, False), (3, True)])
async def test_as_many_failures_in_a_row_as_the_threshold_make_it_unhealthy(
    start: Start, threshold: int, healthy: bool
) -> None:
    script = Script(p=[OK, FAILED, FAILED])
    (provider,) = await start(script, threshold=threshold)
    await script.through(p=3)
    assert provider.health.healthy is healthy
    assert provider.health.consecutive_fails == 2


async def test_a_good_probe_in_between_starts_the_count_anew(start: Start) -> None:
    script = Script(p=[FAILED, OK, FAILED])
    (provider,) = await start(script)
    await script.through(p=3)
    assert (provider.health.healthy, provider.health.consecutive_fails) == (True, 1)


async def test_one_good_probe_brings_it_back_and_each_change_is_one_line(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    script = Script(p=[FAILED, FAILED, FAILED, FAILED, None, None])
    (provider,) = await start(script)
    await script.through(p=6)
    assert provider.health.healthy
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "provider p: unhealthy after 2 probes: status 500; it was the last healthy one"),
        ("INFO", "provider p: gives no model list (GET /models: status 404), and is asked all the same"),
        ("INFO", "provider p: healthy again"),
    ]


async def test_models_that_come_and_go_are_told_in_one_line_of_each_stream(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hapax")
    many = [f"model-{number:02}" for number in range(25)]
    kept: list[Checks] = []
    script = Script(p=[["b", "a"], ["b", "a"], FAILED, ["b", *many], ["b"]])
    await start(script, keep=kept)
    await script.through(p=5)
    kept[0].replace([], TINY, judge=True)
    told = [(record.name, record.message, getattr(record, "fields")) for record in caplog.records]  # noqa: B009
    assert [(name, message) for name, message, _ in told if name != "hapax.metrics"] == [
        ("hapax", "Model loaded"),
        ("hapax.audit", "Audit: model_load"),
        *[("hapax", "Model loaded"), ("hapax.audit", "Audit: model_load")],
        *[("hapax", "Model unloaded"), ("hapax.audit", "Audit: model_unload")] * 3,
    ]
    assert [(fields["count"], fields["models"]) for name, _, fields in told if name == "hapax.audit"] == [
        (2, ["a", "b"]),
        (25, many[:20]),
        (1, ["a"]),
        (25, many[:20]),
        (1, ["b"]),
    ]
    metric = next(fields["metric"] for name, _, fields in told if name == "hapax.metrics")
    assert (metric["name"], metric["labels"]) == ("model_load_duration", {"provider": "p"})
    assert 0 <= metric["value"] < PATIENCE


def audited(caplog: pytest.LogCaptureFixture) -> list[tuple[str, list[str]]]:
    """What audit lines told of models, each with its event."""
    told = [getattr(record, "fields") for record in caplog.records if record.name == "hapax.audit"]  # noqa: B009
    return [(fields["event"], fields["models"]) for fields in told]


@pytest.mark.parametrize(("answer", "loaded"), [(None, ["declared"]), (["b-1", "a-1"], ["b-1", "declared"])])
async def test_models_loaded_are_those_that_are_served(
    caplog: pytest.LogCaptureFixture, answer: Answer, loaded: list[str]
) -> None:
    """What the settings name, whether or not the provider has a list, and of its list what they let through."""
    caplog.set_level(logging.INFO, "hapax")
    script = Script(p=[FAILED, answer])
    checks = Checks([Provider("p", ["declared", "b-*"])], script, TINY, True, random.Random(1))
    checks.start()
    await script.through(p=2)
    await checks.stop()
    assert audited(caplog) == [("model_load", loaded)]


async def test_a_provider_whose_settings_changed_has_not_lost_its_models(caplog: pytest.LogCaptureFixture) -> None:
    """A reload makes another object of it; only what its next probe finds to be different is told."""
    caplog.set_level(logging.INFO, "hapax")
    script = Script(p=[["a", "b"], ["b", "c"]])
    before, after = Provider("p", None), Provider("p", None)
    checks = Checks([before], script, PATIENCE, True, random.Random(1))
    checks.start()
    async with asyncio.timeout(PATIENCE):
        await checks.known.wait()
    checks.replace([after], TINY, True)
    await script.through(p=2)
    await checks.stop()
    assert audited(caplog) == [("model_load", ["a", "b"]), ("model_load", ["c"]), ("model_unload", ["a"])]


async def test_a_provider_without_a_list_is_healthy_all_the_same(start: Start) -> None:
    script = Script(p=[FAILED, FAILED, None])
    (provider,) = await start(script)
    await script.through(p=3)
    assert (provider.health.healthy, provider.listed) == (True, None)
    assert provider.unknown
    assert provider.may_serve("anything")


async def test_a_provider_that_falls_silent_keeps_the_list_it_gave_last(start: Start) -> None:
    script = Script(p=[["old"], ["new", "more"], FAILED, FAILED, None])
    (provider,) = await start(script)
    await script.through(p=5)
    assert provider.listed == [{"id": "new"}, {"id": "more"}]
    assert [provider.serves(name) for name in ("old", "new", "more")] == [False, True, True]


async def test_where_nothing_is_to_be_judged_failures_change_no_health(start: Start) -> None:
    script = Script(p=[FAILED, FAILED, FAILED, ["m"]])
    (provider,) = await start(script, judge=False)
    await script.through(p=4)
    assert provider.health.last_check is None, "nothing was judged"
    assert provider.listed == [{"id": "m"}], "the list is fetched all the same"


async def test_one_provider_that_hangs_keeps_no_other_waiting(start: Start) -> None:
    script = Script(slow=[], quick=[OK] * 20)
    slow, quick = await start(script)
    await script.through(quick=20)
    assert script.asked["slow"] == 1
    assert (slow.listed, quick.listed) == (None, [{"id": "m"}])


async def test_the_lists_mean_something_once_every_provider_has_answered(start: Start) -> None:
    """A failure is an answer too: the absence of a list says something then."""
    kept: list[Checks] = []
    script = Script(one=[OK, OK, OK], other=[])
    await start(script, keep=kept)
    await script.through(one=3, other=0)
    assert not kept[0].known.is_set()
    await start(Script(one=[OK], other=[FAILED]), keep=kept)
    async with asyncio.timeout(PATIENCE):
        await kept[1].known.wait()


async def test_each_interval_is_moved_at_random(start: Start) -> None:
    """Never shorter than the jitter allows; whether all are alike would be one chance in many."""
    interval = 0.02
    script = Script(p=[OK] * 9)
    await start(script, interval=interval)
    await script.through(p=9)
    gaps = [later - earlier for earlier, later in zip(script.moments, script.moments[1:], strict=False)]
    # A loop's clock is coarse: what is due within its resolution is run at once.
    assert min(gaps) >= interval * (1 - JITTER) - 0.002


async def test_the_pauses_are_drawn_between_a_tenth_less_and_a_tenth_more(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def no_pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 200:
            await asyncio.Event().wait()

    script = Script(p=[OK] * 200)
    checks = Checks([Provider("p", None)], script, 15.0, True, random.Random(1))
    monkeypatch.setattr("proxy.providers.checks.asyncio.sleep", no_pause)
    checks.start()
    await script.through(p=199)
    monkeypatch.undo()
    await checks.stop()
    assert 13.5 <= min(pauses) < 13.8
    assert 16.2 < max(pauses) <= 16.5
    assert len(set(pauses)) == len(pauses)


async def test_the_facts_are_those_of_the_health_pages(start: Start) -> None:
    kept: list[Checks] = []
    script = Script(good=[OK], bad=[FAILED, FAILED, FAILED])
    good, _ = await start(script, keep=kept)
    good.request_count = 7
    await script.through(good=1, bad=3)
    facts = kept[0].facts()
    assert list(facts) == ["good", "bad"]
    for each in facts.values():
        assert datetime.fromisoformat(each.pop("last_check"))
        assert each.pop("latency_ms") >= 0
    failed = facts["bad"].pop("last_error")
    assert datetime.fromisoformat(failed.pop("at"))
    assert failed == {"code": "probe_failed", "class": "", "reason": "status 500", "status": 0}
    assert facts["good"].pop("last_error") is None
    assert facts == {
        "good": {"healthy": True, "consecutive_fails": 0, "error_count": 0, "request_count": 7},
        "bad": {"healthy": False, "consecutive_fails": 3, "error_count": 3, "request_count": 0},
    }


async def test_before_the_first_answer_a_provider_counts_as_healthy(start: Start) -> None:
    kept: list[Checks] = []
    await start(Script(p=[]), keep=kept)
    (facts,) = kept[0].facts().values()
    assert (facts["healthy"], facts["last_check"]) == (True, None)


async def test_probes_are_not_traffic(start: Start) -> None:
    script = Script(p=[OK, FAILED, FAILED, OK])
    (provider,) = await start(script)
    await script.through(p=4)
    assert (provider.request_count, provider.error_count, provider.in_flight) == (0, 0, 0)
