"""Calls and probes for providers that no call has asked yet, or not for a while."""

import pytest

from tests.field.build import always, ask, chat, one, two
from tests.field.failing import error
from tests.field.play import Play


@pytest.mark.parametrize("balance", ["least_requests", "round_robin"])
async def test_calls_one_after_the_other_are_spread_over_the_targets(play: Play, balance: str) -> None:
    configuration = {**two(), "models": {"m": {"balance": balance}}}
    providers = {name: always(chat(f"from {name}")) for name in "ab"}
    played = await play(configuration, providers, [ask(step=f"{number}") for number in range(8)])
    assert (len(played.asked("a")), len(played.asked("b"))) == (4, 4)


@pytest.mark.parametrize(
    ("models", "listed", "asks"),
    [
        (["m"], ["m"], "m"),
        (None, ["text-embedding-3-small", "whisper-1", "gpt-4o-mini"], "gpt-4o-mini"),
        (["gpt-*"], ["dall-e-3", "gpt-4o"], "gpt-4o"),
        (["nomic-embed-text"], ["nomic-embed-text"], None),
    ],
    ids=["what is declared", "what is listed and answers chats", "what fits a glob", "none where all embed"],
)
async def test_a_provider_no_client_has_asked_yet_is_probed_for_a_token_of_a_model_that_chats(
    play: Play, models: list[str] | None, listed: list[str], asks: str | None
) -> None:
    configuration = {**one(models=models or []), "health_check": {"probe": "completion", "interval": "1s"}}
    played = await play(configuration, {"a": always(chat("x"), *listed)}, [{"wait": 1.0, "why": "three probes"}])
    probes = [asked.model for asked in played.providers["a"].requests if asked.method == "POST"]
    assert set(probes) == ({asks} if asks else set())


async def test_a_provider_whose_completions_fail_is_unhealthy_though_it_lists_its_models(play: Play) -> None:
    configuration = {**two(), "health_check": {"probe": "completion", "interval": "1s"}}
    providers = {"a": always(error(500)), "b": always(chat("from b"))}
    played = await play(configuration, providers, [{"wait": 1.0, "why": "three probes"}, ask()])
    assert played["call"].status == 200
    assert played.asked("a") == []
