"""docs/architecture.md is true: its paths exist, its rooms are the rooms, and the words it retired are gone."""

import io
import re
import tokenize
from pathlib import Path

import pytest

from tests.test_shape import FILES, FLOORS, PACKAGE

ROOT = PACKAGE.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
RETIRED = (
    *("course", "race", "crew", "vitals", "gate", "wish", "thoughts", "telling", "news", "hurried", "doorkeeper"),
    *("why_not", "nobody", "somebody", "whoever", "anybody", "everybody"),
)
FIELDS = {"core/said.py", "core/usage.py"}
"""Providers call a model's reasoning its thoughts."""


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words_of(path: Path) -> set[str]:
    """The words of a module's names, comments and docstrings, without what it says to others."""
    words: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        docstring = token.type == tokenize.STRING and token.string.startswith('"""')
        if token.type in (tokenize.NAME, tokenize.COMMENT) or docstring:
            words |= set(re.findall(r"[a-z]+", token.string.lower())) | set(re.findall(r"\w+", token.string.lower()))
    return words


def test_a_call_passes_at_most_fifteen_stations_and_none_twice() -> None:
    stations = [row[1].strip("`") for row in rows("A call's way")]
    assert 0 < len(stations) <= 15
    assert len(set(stations)) == len(stations)
    assert [path for path in stations if not (ROOT / path).is_file()] == []


def test_each_question_of_a_newcomer_is_answered_by_one_file() -> None:
    answers = [row[1].strip("`") for row in rows("Where is it?")]
    assert len(answers) >= 20
    assert [path for path in answers if not (ROOT / path).is_file()] == []


def test_the_picture_shows_every_room_on_its_floor() -> None:
    shown: dict[str, int] = {}
    floor = 0
    for line in section("The house").splitlines():
        if match := re.match(r" {4,5}(\d+|  ) {2,}([a-z0-9_.]+) ", f"{line} "):
            floor = int(match[1]) if match[1].strip() else floor
            shown[match[2].removesuffix(".py")] = floor
    assert shown == FLOORS


def test_the_dictionary_has_at_most_forty_words() -> None:
    assert 20 <= len(rows("Words")) <= 40
    assert all(re.search(rf"\b{word}\b", section("Words")) for word in RETIRED[:15])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_retired_word_stands_in_the_code(path: Path) -> None:
    retired = set(RETIRED) - ({"thoughts"} if str(path.relative_to(PACKAGE)) in FIELDS else set())
    assert sorted(words_of(path) & retired) == []
