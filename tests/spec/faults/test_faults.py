"""Every fault of the catalogue, in every variant, through the real server process."""

import re
from pathlib import Path

import pytest

from .catalogue import FAULTS
from .conftest import ALL_AT_ONCE, Stage
from .page import table_of_words
from .play import blamed, play
from .words import Check, Fault, Trial, trials
from .world import World

TRIALS = trials(FAULTS)
CHECKS = [(fault, part) for fault in FAULTS for part in fault.cases if isinstance(part, Check)]
PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


@pytest.mark.parametrize("trial", [trial for trial in TRIALS if trial.client != "node"], ids=str)
def test_fault(stage: Stage, made: World, trial: Trial) -> None:
    stage.run(play(made, trial))


@pytest.mark.usefixtures("node")
@pytest.mark.timeout(ALL_AT_ONCE + 30)  # the first of them waits for the trials of all
@pytest.mark.parametrize("trial", [trial for trial in TRIALS if trial.client == "node"], ids=str)
def test_fault_as_node_sees_it(stage: Stage, made: World, trial: Trial) -> None:
    stage.run(play(made, trial))


@pytest.mark.parametrize(("fault", "check"), CHECKS, ids=[f"{fault.id} {check.how}" for fault, check in CHECKS])
def test_fault_of_several_calls(stage: Stage, made: World, fault: Fault, check: Check) -> None:
    stage.run(check.run(made))  # type: ignore[arg-type]


def test_those_are_blamed_that_should_be(stage: Stage, made: World) -> None:
    """Of the trials above; one look at the end, since the page is long by then."""
    assert stage.run(blamed(made)) == []


def test_every_number_is_in_the_catalogue() -> None:
    said = [f"M{number}" for number in range(1, 13)]
    assert [fault.id for fault in FAULTS] == [*(f"F{number}" for number in range(1, 69)), *said]
    assert all(fault.cases for fault in FAULTS)


def test_every_fault_has_its_row_in_the_document() -> None:
    rows = re.findall(r"^\| ([FM]\d+) \|", PAGE.read_text(), re.MULTILINE)
    assert rows == [fault.id for fault in FAULTS]


def test_the_table_of_what_providers_say_is_in_the_document_as_it_is_in_the_code() -> None:
    assert PAGE.read_text().endswith(table_of_words())
