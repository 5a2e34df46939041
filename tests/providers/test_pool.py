"""Which targets can answer for a model, and in what order."""

import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.breaker import Breaker, BreakerState, Judgement
from proxy.providers.pool import MAX_TARGETS, Entry, Pool
from proxy.providers.provider import Patterns, Provider
from proxy.providers.target import Target


def provider(name: str, *models: str, listed: list[str] | None = None) -> Provider:
    """A provider that declares *models*, or leaves it to its list when there are none."""
    made = Provider(name, models or None)
    if listed is not None:
        made.take_list([{"id": model} for model in listed])
    return made


def pool_of(
    *providers: Provider, models: Mapping[str, Sequence[str]] | None = None, entries: Mapping[str, Entry] | None = None
) -> Pool:
    """A pool whose models are told by their targets alone, or whole."""
    told = {name: Entry(targets) for name, targets in (models or {}).items()}
    return Pool(providers, {**told, **(entries or {})}, lambda: Breaker(100, 30.0, 10.0, 2), random.Random(1))


def targets(pool: Pool, model: str | None) -> list[str]:
    return [str(target) for target in pool.targets(model)]


def test_every_provider_that_serves_a_model_is_a_target_in_order_of_preference() -> None:
    pool = pool_of(provider("c", "gpt-*"), provider("a", "gpt-4o"), provider("b", "claude-*"))
    assert targets(pool, "gpt-4o") == ["c/gpt-4o", "a/gpt-4o"]
    assert targets(pool, "claude-3") == ["b/claude-3"]
    assert targets(pool, "llama") == []


def test_a_provider_whose_list_is_unknown_is_asked_rather_than_passed_over() -> None:
    fresh = provider("fresh")
    pool = pool_of(fresh, provider("known", listed=["a"]))
    assert targets(pool, "a") == ["fresh/a", "known/a"]
    assert targets(pool, "b") == ["fresh/b"]
    fresh.take_list([{"id": "b"}])
    assert targets(pool, "a") == ["known/a"]
    assert targets(pool, "b") == ["fresh/b"]
    fresh.take_list([])
    assert targets(pool, "b") == ["fresh/b"], "an empty list tells nothing"


def out(pool: Pool, model: str, now: float) -> None:
    """Open the breakers of all targets of *model* at *now*."""
    for target in pool.targets(model):
        for _ in range(2):
            permit, _ = target.begin(now)
            target.end(permit, Judgement.FAILURE, now, random.Random(1))


def test_a_pool_is_usable_while_one_provider_could_be_asked() -> None:
    sick, refused = provider("sick", "m"), provider("refused", "m")
    pool = pool_of(sick, refused)
    assert pool.usable(0.0)
    sick.health.healthy = False
    assert pool.usable(0.0)
    refused.park(0, 50.0)
    assert not pool.usable(0.0)
    assert pool.usable(50.0)
    assert not pool_of().usable(0.0)


def test_a_provider_whose_models_are_all_out_is_of_no_use_until_one_is_tried_again() -> None:
    pool = pool_of(provider("only", "*"))
    out(pool, "a", 0.0)
    assert not pool.usable(0.1)
    assert pool.usable(15.0), "the breaker lets a call through"
    pool.targets("b")
    assert pool.usable(0.1), "one that never failed is thought to work"


def test_what_is_declared_counts_and_not_what_is_listed() -> None:
    pool = pool_of(provider("a", "gpt-*", listed=["llama", "gpt-4o"]))
    assert targets(pool, "llama") == []
    assert targets(pool, "gpt-unlisted") == ["a/gpt-unlisted"]


def test_a_configured_model_leads_where_it_was_told() -> None:
    pool = pool_of(
        provider("openai", "gpt-*"),
        provider("azure", "gpt-*"),
        models={"gpt-4o": ["azure/gpt-4o-eu", "openai/gpt-4o"], "vendor": ["openai/meta/llama/3"]},
    )
    assert targets(pool, "gpt-4o") == ["azure/gpt-4o-eu", "openai/gpt-4o"]
    assert targets(pool, "gpt-4") == ["openai/gpt-4", "azure/gpt-4"]
    target = pool.targets("vendor")[0]
    assert (target.provider.name, target.model) == ("openai", "meta/llama/3")


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-4o", "p/exact"),
        ("gpt-4o-mini", "p/longer"),
        ("gpt-5", "p/short"),
        ("llama", "p/any"),
        ("GPT-4o", "p/any"),
        ("gpt-4o-[x]", "p/longer"),
    ],
)
def test_the_most_specific_name_wins(model: str, target: str) -> None:
    names = {"*": ["p/any"], "gpt-*": ["p/short"], "gpt-4o": ["p/exact"], "gpt-4o*": ["p/longer"]}
    for order in (names, dict(reversed(names.items()))):
        assert targets(pool_of(provider("p", "x"), models=order), model) == [target]


def test_a_configured_model_without_targets_goes_to_every_provider_that_serves_it() -> None:
    pool = pool_of(provider("a", "gpt-*"), provider("b", "gpt-*"), entries={"gpt-4o": Entry(), "gpt-5": Entry(())})
    assert targets(pool, "gpt-4o") == ["a/gpt-4o", "b/gpt-4o"]
    assert targets(pool, "gpt-5") == ["a/gpt-5", "b/gpt-5"]


def test_a_call_that_names_no_model_may_go_to_any_provider() -> None:
    assert targets(pool_of(provider("a", "x"), provider("b", "y")), None) == ["a", "b"]
    assert pool_of(provider("a", "x")).targets(None)[0].model is None


def test_the_list_shows_each_public_model_once_and_the_providers_own_words() -> None:
    first = Provider("a", None)
    first.take_list([{"id": "m", "object": "model", "created": 7, "owned_by": "maker"}, {"id": "public"}])
    pool = pool_of(first, provider("b", "m", "n", "gpt-*"), models={"public": ["a/m"], "x-*": ["a/m"]})
    listing = pool.listing()
    assert [entry["id"] for entry in listing] == ["public", "m", "n"]
    assert listing[0] == {"id": "public", "object": "model", "created": 0, "owned_by": "hapax"}
    assert listing[1] == {"id": "m", "object": "model", "created": 7, "owned_by": "maker"}
    assert listing[2] == {"id": "n", "object": "model", "created": 0, "owned_by": "b"}


def test_the_default_model_is_the_first_that_has_a_name() -> None:
    assert pool_of(provider("a", "m"), models={"x-*": ["a/m"], "public": ["a/m"]}).default_model() == "public"
    assert pool_of(provider("a", "gpt-*", "m")).default_model() == "m"
    assert pool_of(provider("a", listed=["n"])).default_model() == "n"
    assert pool_of(provider("a")).default_model() is None


def test_it_shows_itself_as_an_operator_would_write_it() -> None:
    assert repr(pool_of(provider("a", "m"), provider("b"))) == "<Pool [a, b]>"
    listed = provider("a", listed=["m", "n"])
    assert repr(listed) == "<Provider a [2 models listed, 0 in flight, <ActiveHealth unknown>]>"
    listed.health.record(True, 1.0, 0.25)
    pool_of(listed).targets("m")[0].begin(1.0)
    assert (
        repr(listed)
        == "<Provider a [2 models listed, 1 in flight, <ActiveHealth healthy [0 failed in a row, 250 ms]>]>"
    )
    assert repr(provider("a")) == "<Provider a [? models listed, 0 in flight, <ActiveHealth unknown>]>"


# Who can take a call now.


def chosen(pool: Pool, model: str | None = "m", now: float = 100.0) -> tuple[list[str], list[str], dict[str, str]]:
    """Who is available, who rests until a known moment, and why the others are passed over."""
    choice = pool.choose(model, now)
    return (
        [str(target) for target in choice.available],
        [f"{target} {until:g}" for target, until in choice.resting],
        {str(target): reason for target, reason in choice.skipped},
    )


def three() -> tuple[Pool, list[Target]]:
    """A pool of three targets for `m`, in order of preference."""
    pool = pool_of(provider("a", "m"), provider("b", "m"), provider("c", "m"))
    return pool, pool.targets("m")


def trip(target: Target, now: float) -> None:
    """Let calls to *target* fail until its breaker opens."""
    rng = random.Random(1)
    while target.breaker.state(now) is BreakerState.CLOSED:
        permit, _ = target.begin(now)
        target.end(permit, Judgement.FAILURE, now, rng)


def test_all_who_can_take_a_call_are_chosen_in_order() -> None:
    pool, _ = three()
    assert chosen(pool) == (["a/m", "b/m", "c/m"], [], {})


def test_a_target_is_the_same_one_each_time() -> None:
    pool, targets = three()
    assert all(one is other for one, other in zip(pool.targets("m"), targets, strict=True))
    assert set(targets) <= set(pool.all_targets)


def test_who_cannot_take_a_call_is_passed_over_with_a_reason() -> None:
    pool, (first, second, third) = three()
    trip(first, 100.0)
    second.rest(0, 7.0, 100.0)
    assert chosen(pool) == (["c/m"], ["b/m 107"], {"a/m": "breaker open", "b/m": "resting"})
    third.provider.park(0, 400.0)
    assert chosen(pool)[2] == {"a/m": "breaker open", "b/m": "resting", "c/m": "parked"}


def test_a_rest_of_which_the_provider_named_no_end_is_short_and_may_be_waited_for() -> None:
    pool, (first, _, _) = three()
    first.rest(0, None, 100.0)
    assert chosen(pool) == (["b/m", "c/m"], ["a/m 100.5"], {"a/m": "resting"})


def with_fallback() -> tuple[Pool, Target, Target]:
    """A pool in which `big` has one target and `small`, its fallback, another."""
    pool = pool_of(provider("a", "*"), provider("b", "*"), models={"big": ["a/m"], "small": ["b/s"]})
    return pool, pool.targets("big")[0], pool.targets("small")[0]


def test_a_breaker_holds_while_a_fallback_can_take_the_call_as_it_does_beside_another_target() -> None:
    pool, big, small = with_fallback()
    trip(big, 100.0)
    choice = pool.choose("big", 100.0, fallbacks=["small"])
    assert (list(choice.available), [str(target) for target, _ in choice.skipped]) == ([], ["a/m"])
    # A caller who may not use the fallback has nowhere else to go.
    assert list(pool.choose("big", 100.0).available) == [big]
    # And neither has any when the fallback is out as well.
    trip(small, 100.0)
    choice = pool.choose("big", 100.0, fallbacks=["small"])
    assert (list(choice.available), choice.despite) == ([big], True)
    # Once its time is up, the next call is its probe.
    assert list(pool.choose("big", 111.0, fallbacks=["small"]).available) == [big]


def test_a_fallback_with_an_available_target_is_gone_to_instead_of_an_untold_rest_and_after_a_told_one() -> None:
    pool, big, small = with_fallback()
    big.rest(0, None, 100.0)
    assert pool.choose("big", 100.0, fallbacks=["small"]).resting == []
    assert pool.choose("big", 100.0).resting == [(big, 100.5)]
    small.rest(0, None, 100.0)
    assert pool.choose("big", 100.0, fallbacks=["small"]).resting == [(big, 100.5)]
    big.rest(0, 3.0, 100.0)
    small.answered()
    assert pool.choose("big", 101.0, fallbacks=["small"]).resting == [(big, 103.0)]


def test_where_most_are_out_the_verdicts_are_not_believed() -> None:
    """Below half, our judgement is more likely to be wrong than all of them are."""
    pool, (first, second, third) = three()
    trip(first, 100.0)
    assert chosen(pool)[0] == ["b/m", "c/m"]
    trip(second, 100.0)
    assert chosen(pool) == (["a/m", "b/m", "c/m"], [], {})
    # What a provider said itself is believed all the same.
    third.rest(0, 7.0, 100.0)
    assert chosen(pool) == (["a/m", "b/m"], ["c/m 107"], {"c/m": "resting"})


def test_a_breaker_alone_never_shuts_out_the_only_target() -> None:
    pool = pool_of(provider("a", "m"))
    trip(pool.targets("m")[0], 100.0)
    assert chosen(pool) == (["a/m"], [], {})


def test_a_full_provider_is_passed_over_until_a_place_is_free() -> None:
    pool = pool_of(Provider("a", ["*"], max_concurrency=1), provider("b", "*"))
    (target, _) = pool.targets("m")
    permit, _ = target.begin(100.0)
    assert chosen(pool) == (["b/m"], [], {"a/m": "full"})
    assert chosen(pool, "another")[2] == {"a/another": "full"}
    target.end(permit, Judgement.EXCLUDED, 100.0, random.Random(1))
    assert chosen(pool) == (["a/m", "b/m"], [], {})


def test_a_dead_model_does_not_close_its_provider() -> None:
    pool = pool_of(provider("a", "*"), provider("b", "*"), provider("c", "*"))
    trip(pool.targets("dead")[0], 100.0)
    assert chosen(pool, "dead")[2] == {"a/dead": "breaker open"}
    assert chosen(pool, "alive") == (["a/alive", "b/alive", "c/alive"], [], {})


def test_each_model_takes_turns_of_its_own() -> None:
    entry = Entry(balance="round_robin")
    pool = pool_of(provider("a", "*"), provider("b", "*"), entries={"x": entry, "y": entry})
    firsts = [chosen(pool, name)[0][0] for name in ("x", "y", "x", "y", "z", "z")]
    assert firsts == ["a/x", "a/y", "b/x", "b/y", "a/z", "a/z"]


def test_a_configured_model_is_known_as_a_whole() -> None:
    entry = Entry(["a/m"], fallbacks=["mini"], context_fallbacks=["long"], resume=True)
    pool = pool_of(provider("a", "m"), entries={"gpt-*": entry})
    assert pool.entry("gpt-4") is entry
    assert pool.entry("llama") == pool.entry(None) == Entry()


def test_what_is_configured_has_its_breaker_before_the_first_call() -> None:
    pool = pool_of(provider("a", "*"), provider("b", "n"), models={"x": ["b/one"], "y": [], "z-*": ["a/two"]})
    assert {str(target) for target in pool.all_targets} >= {"b/one", "a/y", "a/two"}


def test_names_a_client_makes_up_do_not_cost_memory_for_ever() -> None:
    pool = pool_of(provider("a", "*"))
    for number in range(MAX_TARGETS + 10):
        assert targets(pool, f"m-{number}") == [f"a/m-{number}"]
    assert len(list(pool.all_targets)) == MAX_TARGETS


def test_a_target_that_was_forgotten_is_not_the_one_that_answers_later() -> None:
    pool = pool_of(provider("a", "*"))
    (first,) = pool.targets("m")
    assert pool.targets("m") == (first,)
    for number in range(MAX_TARGETS):
        pool.targets(f"m-{number}")
    (second,) = pool.targets("m")
    assert second is not first
    assert second in set(pool.all_targets)


# Names and globs.


@pytest.mark.parametrize(
    ("patterns", "name", "served"),
    [
        (["gpt-4o"], "gpt-4o", True),
        (["gpt-4o"], "gpt-4o-mini", False),
        (["gpt-4o"], "GPT-4O", False),
        (["gpt-*"], "gpt-", True),
        (["*"], "a/b:c", True),
        (["*-mini"], "gpt-4o-mini", True),
        (["gpt-?"], "gpt-4", True),
        (["gpt-?"], "gpt-40", False),
        (["gpt-[45]"], "gpt-[45]", True),
        (["gpt-[45]"], "gpt-5", False),
        (["gpt-[45]*"], "gpt-[45]-mini", True),
        (["gpt-[45]*"], "gpt-5-mini", False),
        (["gpt.*"], "gptx", False),
        (["a", "b*"], "bc", True),
        ([], "a", False),
    ],
)
def test_names_and_globs_are_matched_whole_and_with_case(patterns: list[str], name: str, served: bool) -> None:
    assert (name in Patterns(patterns)) is served


@given(st.lists(st.text("ab*?[]-", min_size=1, max_size=5), max_size=4), st.text("ab-", max_size=5))
def test_any_pattern_can_be_asked(patterns: list[str], name: str) -> None:
    assert (name in Patterns(patterns)) is any(name in Patterns([pattern]) for pattern in patterns)


# Drained by an operator.


def test_a_drained_provider_is_passed_over_and_is_no_reason_to_disbelieve_the_verdicts() -> None:
    pool = pool_of(provider("a", "m"), provider("b", "m"), provider("c", "m"))
    pool.drain("a", True)
    choice = pool.choose("m", 0.0)
    assert [str(target) for target in choice.available] == ["b/m", "c/m"]
    assert [(str(target), why) for target, why in choice.skipped] == [("a/m", "drained")]
    pool.provider("b").health.healthy = False
    assert [str(target) for target in pool.choose("m", 0.0).available] == ["c/m"]


def test_where_all_that_is_left_is_unwell_it_is_asked_and_the_drained_one_is_not() -> None:
    pool = pool_of(provider("a", "m"), provider("b", "m"))
    pool.drain("a", True)
    pool.provider("b").health.healthy = False
    choice = pool.choose("m", 0.0)
    assert [str(target) for target in choice.available] == ["b/m"]
    assert choice.despite


def test_a_drained_target_is_not_waited_for_though_it_rests() -> None:
    pool = pool_of(provider("a", "m"))
    (target,) = pool.targets("m")
    target.rest(0, 5.0, 0.0)
    assert len(pool.choose("m", 1.0).resting) == 1
    pool.drain("a", True)
    choice = pool.choose("m", 1.0)
    assert (choice.available, choice.resting) == ([], [])
    assert [why for _, why in choice.skipped] == ["drained"]


def test_a_pool_whose_providers_are_all_drained_is_of_no_use() -> None:
    pool = pool_of(provider("a", "m"))
    pool.drain("a", True)
    assert not pool.usable(0.0)
    pool.drain("a", False)
    assert pool.usable(0.0)


def test_a_provider_that_is_replaced_or_comes_back_is_still_drained() -> None:
    pool = pool_of(provider("a", "m"), provider("b", "m"))
    pool.drain("a", True)
    pool.drain("later", True)
    pool.replace([provider("a", "m"), provider("later", "m")], {})
    assert [each.drained for each in pool.providers] == [True, True]
    pool.replace([], {})
    pool.drain("a", False)
    pool.replace([provider("a", "m"), provider("later", "m")], {})
    assert [each.drained for each in pool.providers] == [False, True]


def test_the_places_of_a_provider_are_its_own_again_once_it_is_enabled() -> None:
    bounded = Provider("a", ["m"], max_concurrency=1)
    for drained, full in ((False, False), (True, True), (False, False)):
        bounded.drain(drained)
        assert bounded.full is full
    bounded.in_flight = 1
    assert bounded.full
