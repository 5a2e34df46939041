"""With `fallbacks` a stream that broke off is continued as it is with several `targets`."""

from tests.field.build import ROLE, always, chunk, said, sse
from tests.field.failing import big, fallback
from tests.field.play import Play

DIES = [*sse(ROLE, chunk({"content": "One two"}), end=False), {"then": "reset"}]


async def test_a_stream_that_died_is_continued_by_the_fallback_model_under_its_own_name(play: Play) -> None:
    configuration = fallback(resume=True)
    configuration["providers"]["b"]["prefill"] = True
    played = await play(configuration, {"a": always(DIES), "b": always(said(" three"), "s")}, [big(stream=True)])
    got = played["call"]
    assert got.whole
    assert b"One two" in got.body
    assert b" three" in got.body
    assert got.events[-1] == b"[DONE]"
    [first], [second] = played.asked("a"), played.asked("b")
    assert (first.model, second.model) == ("m", "s")
    assert second.json["messages"][-1] == {"role": "assistant", "content": "One two"}


async def test_a_fallback_that_begins_anew_is_let_through_behind_the_same_words(play: Play) -> None:
    providers = {"a": always(DIES), "b": always(said("One two three"), "s")}
    played = await play(fallback(resume=True), providers, [big(stream=True)])
    assert played["call"].whole
    assert played["call"].body.count(b"One") == 1
    assert b" three" in played["call"].body


async def test_a_caller_who_may_not_use_the_fallback_sees_the_cut_and_no_other_provider_is_asked(play: Play) -> None:
    configuration = {
        **fallback(resume=True),
        "auth": {"keys": [{"name": "k", "key": "sk-only-big-123456", "models": ["big"]}]},
    }
    providers = {"a": always(DIES), "b": always(said(" three"), "s")}
    asked = {**big(stream=True), "authorization": "Bearer sk-only-big-123456"}
    played = await play(configuration, providers, [asked])
    assert not played["call"].whole
    assert b'"error"' in played["call"].body
    assert played.asked("b") == []


async def test_when_the_fallback_dies_too_the_next_one_continues(play: Play) -> None:
    configuration = fallback(resume=True)
    third = {"type": "compatible", "base_url": "{c}/v1", "models": ["t"], "prefill": True}
    configuration["providers"]["b"]["prefill"] = True
    configuration["providers"]["c"] = third
    configuration["models"]["big"]["fallbacks"] = ["small", "tiny"]
    configuration["models"]["tiny"] = {"targets": ["c/t"]}
    dies = [*sse(ROLE, chunk({"content": " three"}), end=False), {"then": "close"}]
    providers = {"a": always(DIES), "b": always(dies, "s"), "c": always(said(" four"), "t")}
    played = await play({**configuration, "failover": {"retries": 0}}, providers, [big(stream=True)])
    assert played["call"].whole
    assert played.asked("c")[0].json["messages"][-1]["content"] == "One two three"
