"""Which limits a call has to pass."""

import pytest

from proxy.limits import policy as module
from proxy.limits.limit import Limit, What
from proxy.limits.policy import Applying, Policy, budget_limit
from proxy.settings import Budget, KeyLimits
from proxy.settings.access import LimitSettings

NONE_OF_ITS_OWN = KeyLimits()


def policy(**settings: object) -> Policy:
    return Policy(LimitSettings.model_validate(settings))


def of(
    policy: Policy, own: KeyLimits = NONE_OF_ITS_OWN, route: str = "/v1/chat/completions", model: str = "gpt-4o"
) -> Applying:
    return policy.applying("alice", own, None, route, model)


def numbers(applying: Applying) -> tuple[list[int], list[int], list[int]]:
    """The capacities: requests, tokens, concurrent."""
    kinds = (applying.requests, applying.tokens, applying.concurrent)
    return tuple([limit.capacity for limit in kind] for kind in kinds)  # type: ignore[return-value]


def test_without_settings_nothing_is_limited() -> None:
    applying = of(policy())
    assert numbers(applying) == ([], [], [])
    assert applying.budget is None
    assert applying.claims(1000, 0) == ()


def test_a_limit_per_minute_is_a_bucket_that_fills_in_a_minute() -> None:
    applying = of(policy(default={"requests_per_minute": 60, "tokens_per_minute": 90_000, "concurrent": 5}))
    assert applying.requests == (Limit("alice||requests", What.REQUESTS, 60, 1.0),)
    assert applying.tokens == (Limit("alice||tokens", What.TOKENS, 90_000, 1500.0),)
    assert applying.concurrent == (Limit("alice||concurrent", What.CONCURRENT, 5),)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ([60], [1000], [5])),
        ({"requests_per_minute": 10}, ([10], [1000], [5])),
        ({"requests_per_minute": 600, "tokens_per_minute": 7, "concurrent": 1}, ([600], [7], [1])),
        # 0 means no limit, which is not the same as none of its own.
        ({"requests_per_minute": 0}, ([], [1000], [5])),
        ({"requests_per_minute": 0, "tokens_per_minute": 0, "concurrent": 0}, ([], [], [])),
    ],
)
def test_a_keys_own_numbers_go_before_the_defaults(own: dict[str, int], expected: object) -> None:
    default = {"requests_per_minute": 60, "tokens_per_minute": 1000, "concurrent": 5}
    assert numbers(of(policy(default=default), KeyLimits(**own))) == expected


def test_limits_of_a_route_come_on_top_for_that_route_only() -> None:
    both = policy(
        default={"requests_per_minute": 60}, routes={"/v1/embeddings": {"requests_per_minute": 10, "concurrent": 2}}
    )
    assert numbers(of(both, route="/v1/embeddings")) == ([60, 10], [], [2])
    assert numbers(of(both, route="/v1/chat/completions")) == ([60], [], [])
    # What the key itself may do does not loosen them.
    assert numbers(of(both, KeyLimits(requests_per_minute=0), route="/v1/embeddings")) == ([10], [], [2])


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 1),
        ("gpt-4o-mini", 2),
        ("gpt-4o-mini-2024-07-18", 3),
        ("gpt-5", 4),
        ("claude-opus-4", 5),
        ("GPT-4o", 5),
    ],
)
def test_of_the_globs_that_fit_a_model_the_most_specific_one_limits_it(model: str, tokens: int) -> None:
    models = {"*": 5, "gpt-*": 4, "gpt-4o*": 3, "gpt-4o-mini": 2, "gpt-4o": 1}
    limited = policy(models={name: {"tokens_per_minute": number} for name, number in models.items()})
    assert numbers(of(limited, model=model)) == ([], [tokens], [])


def test_models_of_one_glob_share_its_limit() -> None:
    limited = policy(models={"gpt-*": {"tokens_per_minute": 1000}})
    assert of(limited, model="gpt-4o").tokens == of(limited, model="gpt-5").tokens


def test_a_call_that_names_no_model_passes_no_limit_of_models() -> None:
    assert numbers(of(policy(models={"*": {"requests_per_minute": 5}}), model="")) == ([], [], [])


def test_key_route_and_model_each_have_a_bucket_of_their_own() -> None:
    every = {"requests_per_minute": 5, "tokens_per_minute": 6, "concurrent": 7}
    # A model that is spelled like the route is still another matter.
    applying = of(policy(default=every, routes={"/v1/x": every}, models={"/v1/x": every}), route="/v1/x", model="/v1/x")
    ids = [limit.id for limit in (*applying.requests, *applying.tokens, *applying.concurrent)]
    assert len(ids) == len(set(ids)) == 9


def test_holders_share_nothing() -> None:
    every = {"requests_per_minute": 5, "tokens_per_minute": 6, "concurrent": 7}
    limited = policy(default=every, routes={"/v1/x": every}, models={"*": every})
    budget = Budget(usd=1.0)
    ids = []
    for holder in ("alice", "bob"):
        applying = limited.applying(holder, NONE_OF_ITS_OWN, budget, "/v1/x", "gpt-4o")
        assert applying.budget is not None
        ids += [limit.id for limit in (*applying.requests, *applying.tokens, *applying.concurrent, applying.budget)]
    assert len(ids) == len(set(ids)) == 20


def test_a_call_claims_one_request_one_place_its_tokens_and_its_cost() -> None:
    limited = policy(
        default={"requests_per_minute": 5, "tokens_per_minute": 6000, "concurrent": 7},
        models={"gpt-*": {"tokens_per_minute": 300}},
    )
    applying = limited.applying("alice", NONE_OF_ITS_OWN, Budget(usd=2.5, per="month"), "/v1/x", "gpt-4o")
    claimed = [(limit.what, limit.capacity, amount) for limit, amount in applying.claims(1000, 777)]
    assert claimed == [
        (What.REQUESTS, 5, 1),
        (What.CONCURRENT, 7, 1),
        (What.TOKENS, 6000, 1000),
        # Not more than the bucket has, or the call could never be admitted.
        (What.TOKENS, 300, 300),
        (What.BUDGET, 2_500_000, 777),
    ]


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        (
            Budget(usd=12.5, per="month"),
            Limit("alice||budget/usd/month", What.BUDGET, 12_500_000, per="month", unit="usd", holder="alice"),
        ),
        (
            Budget(tokens=1_000_000),
            Limit("alice||budget/tokens/day", What.BUDGET, 1_000_000, per="day", unit="tokens", holder="alice"),
        ),
    ],
)
def test_a_budget_is_a_limit_of_its_holder(budget: Budget, limit: Limit) -> None:
    assert budget_limit("alice", budget) == limit
    assert policy().applying("alice", NONE_OF_ITS_OWN, budget, "/v1/x", "gpt-4o").budget == limit


def test_limits_are_worked_out_once_for_a_combination() -> None:
    limited = policy(default={"requests_per_minute": 60})
    own, budget = KeyLimits(concurrent=5), Budget(tokens=10)
    first = limited.applying("alice", own, budget, "/v1/x", "gpt-4o")
    assert limited.applying("alice", own, budget, "/v1/x", "gpt-4o") is first
    assert limited.applying("alice", own, budget, "/v1/x", "gpt-5") is not first


def test_a_key_that_was_changed_has_other_limits_at_once() -> None:
    limited = policy(default={"requests_per_minute": 60})
    budget = Budget(tokens=10)
    before = limited.applying("alice", KeyLimits(), budget, "/v1/x", "gpt-4o")
    after = limited.applying("alice", KeyLimits(requests_per_minute=7), budget, "/v1/x", "gpt-4o")
    assert (numbers(before)[0], numbers(after)[0]) == ([60], [7])
    own = KeyLimits()
    assert limited.applying("alice", own, budget, "/v1/x", "gpt-4o").budget is not None
    assert limited.applying("alice", own, None, "/v1/x", "gpt-4o").budget is None


def test_a_reload_puts_other_numbers_on_the_same_buckets() -> None:
    limited = policy(default={"requests_per_minute": 60})
    own = KeyLimits()
    before = of(limited, own)
    limited.replace(LimitSettings.model_validate({"default": {"requests_per_minute": 6, "concurrent": 1}}))
    after = of(limited, own)
    assert numbers(after) == ([6], [], [1])
    assert after.requests[0].id == before.requests[0].id


def test_names_of_models_no_provider_serves_cost_no_memory_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 50)
    limited = policy(default={"requests_per_minute": 60})
    own = KeyLimits()
    first = of(limited, own, model="model-0")
    for number in range(50):
        of(limited, own, model=f"model-{number}")
    again = of(limited, own, model="model-0")
    assert (again is first, again == first) == (True, True)
    of(limited, own, model="one-more")
    forgotten = of(limited, own, model="model-0")
    assert (forgotten is first, forgotten == first) == (False, True)
