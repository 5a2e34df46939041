"""The price list: what it says of a model, how sums are rounded, and what is wrong with a file an operator wrote."""

import re
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounts import prices as module
from proxy.accounts.prices import BUILT_IN, Price, Prices, built_in
from proxy.core.usage import Tokens

ROOT = Path(__file__).parents[2]


def own(tmp_path: Path, text: str) -> str:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    return str(file)


@pytest.fixture(scope="module")
def built() -> Prices:
    return Prices.load(None)


@pytest.mark.parametrize(
    ("model", "tokens", "micro"),
    [
        ("gpt-4o", Tokens(1_000_000, 0), 2_500_000),
        ("gpt-4o", Tokens(1_000_000, 1_000_000, cached=400_000), 1_500_000 + 500_000 + 10_000_000),
        ("gpt-4o-2024-08-06", Tokens(1000, 1000), 12_500),
        ("gpt-4o-2024-05-13", Tokens(1000, 1000), 20_000),
        ("gpt-4o-mini", Tokens(1000, 1000, reasoning=500), 750),
        ("claude-opus-4-20250514", Tokens(1000, 1000), 90_000),
        ("claude-opus-4-5-20251101", Tokens(1000, 1000), 30_000),
        # Written to the cache for five minutes a quarter more than `input`, for an hour twice as much.
        ("claude-sonnet-4-5", Tokens(1_000_000, 0, written=1_000_000), 3_750_000),
        ("claude-sonnet-4-5", Tokens(1_000_000, 0, written=1_000_000, written_1h=1_000_000), 6_000_000),
        ("gpt-audio", Tokens(1000, 1000, audio_input=1000, audio_output=1000), 96_000),
        ("text-embedding-3-small", Tokens(1_000_000, 0), 20_000),
        ("gpt-5-pro", Tokens(1000, 0, cached=1000), 15_000),  # no price of its own for cached tokens
        ("sim-anything", Tokens(10**6, 10**6), 0),
    ],
)
def test_a_call_costs_what_the_list_says(built: Prices, model: str, tokens: Tokens, micro: int) -> None:
    assert built.cost(model, tokens) == micro
    assert built.of(model) is not None


@pytest.mark.parametrize("model", ["", "gpt-4o-realtime-preview", "gpt-6", "claude-opus-4-9", "gemini-2.5-flash-image"])
def test_a_model_that_is_not_listed_has_no_price_rather_than_none_to_pay(built: Prices, model: str) -> None:
    assert built.cost(model, Tokens(1000, 1000)) is None
    assert built.of(model) is None


@pytest.mark.parametrize(
    ("tokens", "micro"),
    # 0.15 dollars a million: a token is 0.15 micro-dollars.
    [(1, 0), (3, 0), (4, 1), (9, 1), (10, 2), (13, 2), (100, 15)],
)
def test_half_a_micro_dollar_is_rounded_up(tokens: int, micro: int) -> None:
    assert Price(150_000, 0, 0, 0, 0, 0, 0).cost(Tokens(tokens)) == micro


@given(st.builds(Price, *[st.integers(0, 10**12)] * 7), st.tuples(*[st.integers(0, 2**40)] * 7))
def test_a_cost_is_within_half_a_micro_dollar_of_the_exact_one(price: Price, counts: tuple[int, ...]) -> None:
    plain, cached, five, hour, heard, written, spoken = counts
    exact = Fraction(
        plain * price.input
        + cached * price.cached_input
        + five * price.cache_write
        + hour * price.cache_write_1h
        + heard * price.audio_input
        + written * price.output
        + spoken * price.audio_output,
        10**6,
    )
    tokens = Tokens(
        plain + cached + five + hour + heard,
        written + spoken,
        cached=cached,
        written=five + hour,
        written_1h=hour,
        audio_input=heard,
        audio_output=spoken,
    )
    difference = price.cost(tokens) - exact
    assert Fraction(-1, 2) < difference <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("price", "micro"),
    [
        ("{input: 1, output: 2}", 1500),
        ("{input: 1, output: 2, cached_input: 0.1}", 1410),
        ("{input: 1, output: 2, cache_write: 1.25}", 1575),
        ("{input: 1, output: 2, cache_write: 1.25, cache_write_1h: 2}", 1725),
        ("{input: 1, output: 2, cache_write_1h: 2}", 1700),
        ("{input: 1, output: 2, audio_input: 10}", 6900),
        ("{input: 1, output: 2, audio_output: 20}", 3300),
    ],
)
def test_a_price_that_is_not_written_is_the_ordinary_one(tmp_path: Path, price: str, micro: int) -> None:
    laid = Prices.load(own(tmp_path, f"mine:\n  models:\n    ours: {price}\n"))
    tokens = Tokens(1100, 200, cached=100, written=300, written_1h=200, audio_input=600, audio_output=100)
    assert laid.cost("ours", tokens) == micro


def test_every_group_of_the_built_in_list_names_its_source_and_day() -> None:
    groups = yaml.safe_load(built_in().read_text())
    assert len(groups) > 5
    for name, group in groups.items():
        assert group["source"], name
        assert group["as_of"].year >= 2025, name
        assert group["models"], name


def test_a_cached_token_never_costs_more_than_a_fresh_one_in_the_built_in_list() -> None:
    for group in yaml.safe_load(built_in().read_text()).values():
        for model, price in group["models"].items():
            assert price.get("cached_input", 0) <= price["input"], model


def test_an_operators_file_replaces_entries_and_leaves_the_others(tmp_path: Path) -> None:
    path = own(
        tmp_path, "mine:\n  models:\n    gpt-4o: {input: 1, output: 2.000001}\n    ours-*: {input: 0, output: 0}\n"
    )
    laid = Prices.load(path)
    assert laid.cost("gpt-4o", Tokens(1_000_000, 1_000_000)) == 3_000_001
    assert laid.cost("gpt-4o-mini", Tokens(1_000_000, 0)) == 150_000
    assert laid.cost("ours-7b", Tokens(1, 1)) == 0


def test_a_file_may_be_empty(tmp_path: Path, built: Prices) -> None:
    assert len(Prices.load(own(tmp_path, "# nothing yet\n"))) == len(built)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- 1\n", "must be a mapping"),
        ("mine: 3\n", "mine must be a mapping"),
        ("mine: {modles: {}}\n", "mine.modles is not known; a group has source, as_of, models"),
        ("mine: {source: [a]}\n", "mine.source must be text"),
        ("mine: {models: [a]}\n", "mine.models must be a mapping"),
        ("mine: {models: {a: 3}}\n", "mine.models.a must be a mapping"),
        ("mine: {models: {a: {input: 3}}}\n", "mine.models.a.output is required"),
        ("mine: {models: {a: {output: 3}}}\n", "mine.models.a.input is required"),
        ("mine: {models: {a: {input: 3, output: 1, cached: 1}}}\n", "mine.models.a.cached is not known"),
        ("mine: {models: {a: {input: -3, output: 1}}}\n", "mine.models.a.input must be US dollars"),
        ("mine: {models: {a: {input: .nan, output: 1}}}\n", "mine.models.a.input must be US dollars"),
        ("mine: {models: {a: {input: 1, output: 1e3}}}\n", "mine.models.a.output must be US dollars"),
        ("mine: {models: {a: {input: true, output: 1}}}\n", "mine.models.a.input must be US dollars"),
        ("mine: {models: {a: {input: 1, output: 1000000.1}}}\n", "mine.models.a.output must be at most"),
        ("mine: {models: {a: {input: 1, output: 0.0000001}}}\n", "mine.models.a.output must have at most 6 decimals"),
        ("a: {models: {m: {input: 1, output: 1}}}\nb: {models: {m: {input: 1, output: 1}}}\n", "priced in a already"),
        ("mine: {models: {m: {input: 1, output: 1}, m: {input: 1, output: 1}}}\n", "given twice"),
        ("mine: [\n", "is not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    path = own(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        Prices.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.yaml: No such file"):
        Prices.load(str(tmp_path / "none.yaml"))


def test_a_million_made_up_names_are_not_all_remembered(built: Prices) -> None:
    for number in range(3 * module.REMEMBERED):
        assert built.of(f"bogus-{number}") is None
    assert len(built._found) <= module.REMEMBERED


@pytest.mark.as_python
def test_a_checkout_finds_the_list_under_config() -> None:
    assert built_in() == ROOT / "config" / "prices.yaml"


@pytest.mark.as_python
def test_a_wheel_carries_the_list_beside_the_code_that_looks_for_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    installed = tmp_path / "installed" / BUILT_IN[0].relative_to(ROOT)
    assert installed.read_bytes() == built_in().read_bytes()
    found = subprocess.run(
        [sys.executable, "-c", "from proxy.accounts.prices import built_in; print(built_in())"],
        cwd=tmp_path / "installed",
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == str(installed)
