"""The grammar of directives, and its documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.simulator.directives import WORDS, DirectiveError, parse

DOCUMENT = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_values_are_read_in_base_units() -> None:
    """Durations become seconds, counts integers, and `@K` is kept apart."""
    read = parse("pace=20ms,ttft=1.5s, tokens=100;rst@3 , stall@2=50us,badlength=-4,share=0.25")
    assert read.seconds("pace") == 0.02
    assert read.seconds("ttft") == 1.5
    assert read.count("tokens") == 100
    assert read.position("rst") == 3
    assert read.seconds("stall") == pytest.approx(5e-5)
    assert read.count("badlength") == -4
    assert read.seconds("share") == 0.25
    assert "fin" not in read


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "tokens",
        "tokens=-1",
        "tokens=\uff11",
        "pace=fast",
        "badlength=5",
        "gzip@3",
        "share=2",
        "rst@x",
        "gzip=1",
    ],
)
def test_a_wrong_directive_is_refused(text: str) -> None:
    """An unknown word, a value of the wrong kind and a position where none belongs are errors."""
    with pytest.raises(DirectiveError):
        parse(text)


def test_later_directives_win() -> None:
    """What lies over wins, and takes its position with it."""
    laid = parse("rst,pace=1s").over(parse("rst@3,tokens=5"))
    assert laid.position("rst") is None
    assert laid.count("tokens") == 5
    assert laid.shapes().values == {"pace": 1.0, "tokens": 5}


def test_every_directive_is_documented() -> None:
    """docs/simulator.md has a row for each word, and no row for a word there is not."""
    directives = DOCUMENT.read_text().split("### Shape", 1)[1].split("## In Python", 1)[0]
    rows = [line.split("|")[1] for line in directives.splitlines() if line.startswith("| `")]
    documented = {word for row in rows for word in re.findall(r"`([a-z0-9_]+)", row)}
    assert set(WORDS) == documented


def test_documented_positions_are_those_of_the_grammar() -> None:
    """A word is documented with `@K` exactly if it takes one."""
    assert {name for name, word in WORDS.items() if word.position} == set(
        re.findall(r"^\|.*?`([a-z0-9_]+)@K", DOCUMENT.read_text(), re.MULTILINE)
    ) | {"rst", "fin", "stall"}
