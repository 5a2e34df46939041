"""Which targets can answer for a model, and in what order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.providers.pool import Pool
from proxy.providers.provider import Patterns, Provider


def provider(name: str, *models: str, listed: list[str] | None = None) -> Provider:
    """A provider that declares *models*, or leaves it to its list when there are none."""
    made = Provider(name, models or None)
    if listed is not None:
        made.take_list([{"id": model} for model in listed])
    return made


def targets(pool: Pool, model: str | None) -> list[str]:
    return [str(target) for target in pool.targets(model)]


def test_every_provider_that_serves_a_model_is_a_target_in_order_of_preference() -> None:
    pool = Pool([provider("c", "gpt-*"), provider("a", "gpt-4o"), provider("b", "claude-*")], {})
    assert targets(pool, "gpt-4o") == ["c/gpt-4o", "a/gpt-4o"]
    assert targets(pool, "claude-3") == ["b/claude-3"]
    assert targets(pool, "llama") == []


def test_a_provider_whose_list_is_unknown_is_asked_rather_than_passed_over() -> None:
    fresh = provider("fresh")
    pool = Pool([fresh, provider("known", listed=["a"])], {})
    assert targets(pool, "a") == ["fresh/a", "known/a"]
    assert targets(pool, "b") == ["fresh/b"]
    fresh.take_list([{"id": "b"}])
    assert targets(pool, "a") == ["known/a"]
    assert targets(pool, "b") == ["fresh/b"]
    fresh.take_list([])
    assert targets(pool, "b") == []


def test_what_is_declared_counts_and_not_what_is_listed() -> None:
    pool = Pool([provider("a", "gpt-*", listed=["llama", "gpt-4o"])], {})
    assert targets(pool, "llama") == []
    assert targets(pool, "gpt-unlisted") == ["a/gpt-unlisted"]


def test_a_configured_model_leads_where_it_was_told() -> None:
    pool = Pool(
        [provider("openai", "gpt-*"), provider("azure", "gpt-*")],
        {"gpt-4o": ["azure/gpt-4o-eu", "openai/gpt-4o"], "vendor": ["openai/meta/llama/3"]},
    )
    assert targets(pool, "gpt-4o") == ["azure/gpt-4o-eu", "openai/gpt-4o"]
    assert targets(pool, "gpt-4") == ["openai/gpt-4", "azure/gpt-4"]
    target = pool.targets("vendor")[0]
    assert (target.provider, target.model) == ("openai", "meta/llama/3")


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
        assert targets(Pool([provider("p", "x")], order), model) == [target]


def test_a_configured_model_without_targets_is_everybodys() -> None:
    pool = Pool([provider("a", "gpt-*"), provider("b", "gpt-*")], {"gpt-4o": None, "gpt-5": ()})
    assert targets(pool, "gpt-4o") == ["a/gpt-4o", "b/gpt-4o"]
    assert targets(pool, "gpt-5") == ["a/gpt-5", "b/gpt-5"]


def test_a_call_that_names_no_model_may_go_to_anyone() -> None:
    assert targets(Pool([provider("a", "x"), provider("b", "y")], {}), None) == ["a", "b"]
    assert Pool([provider("a", "x")], {}).targets(None)[0].model is None


def test_the_list_shows_each_public_model_once_and_the_providers_own_words() -> None:
    first = Provider("a", None)
    first.take_list([{"id": "m", "object": "model", "created": 7, "owned_by": "maker"}, {"id": "public"}])
    pool = Pool([first, provider("b", "m", "n", "gpt-*")], {"public": ["a/m"], "x-*": ["a/m"]})
    listing = pool.listing()
    assert [entry["id"] for entry in listing] == ["public", "m", "n"]
    assert listing[0] == {"id": "public", "object": "model", "created": 0, "owned_by": "hapax"}
    assert listing[1] == {"id": "m", "object": "model", "created": 7, "owned_by": "maker"}
    assert listing[2] == {"id": "n", "object": "model", "created": 0, "owned_by": "b"}


def test_the_default_model_is_the_first_that_has_a_name() -> None:
    assert Pool([provider("a", "m")], {"x-*": ["a/m"], "public": ["a/m"]}).default_model() == "public"
    assert Pool([provider("a", "gpt-*", "m")], {}).default_model() == "m"
    assert Pool([provider("a", listed=["n"])], {}).default_model() == "n"
    assert Pool([provider("a")], {}).default_model() is None


def test_it_shows_itself_as_an_operator_would_write_it() -> None:
    assert repr(Pool([provider("a", "m"), provider("b")], {})) == "<Pool [a, b]>"
    assert repr(provider("a", listed=["m", "n"])) == "<Provider a [2 models listed]>"
    assert repr(provider("a")) == "<Provider a [? models listed]>"


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
        (["gpt-[45]"], "gpt-5", True),
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
