"""The table of what providers say: each row is sound, reachable, and has a source."""

import re

import pytest

from proxy.relay.faults import ROWS
from proxy.relay.meaning import Meaning, Row, find
from proxy.relay.told import Told


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.meaning.name} {row.codes or row.types or row.words}")
def test_every_row_names_its_source_and_something_to_know_it_by(row: Row) -> None:
    assert row.source.startswith("https://")
    assert row.codes or row.types or row.words
    if row.words:
        assert re.compile(row.words, re.IGNORECASE).search("") is None, "it fits anything"
    assert any(status in row.statuses for status in range(600))


@pytest.mark.parametrize("row", [row for row in ROWS if row.codes and not row.words], ids=lambda row: row.codes[0])
def test_every_code_leads_to_its_own_meaning(row: Row) -> None:
    [status, *_] = [status for status in (0, 400, 403, 429, 500) if status in row.statuses]
    provider = row.providers[0] if row.providers else ""
    for code in row.codes:
        for spelled in (code, code.upper(), code.replace("_", "-")):
            found = find(Told(code=spelled), status, provider, ROWS)
            assert found is not None
            assert found.meaning is row.meaning, spelled


def test_every_meaning_that_words_can_have_has_a_row() -> None:
    assert {row.meaning for row in ROWS} == {*Meaning} - {Meaning.FAILED}


def test_codes_come_before_types_and_types_before_words() -> None:
    rows = (
        Row(Meaning.REQUEST, "https://w", words="no"),
        Row(Meaning.RATE, "https://t", types=("t",)),
        Row(Meaning.MONEY, "https://c", codes=("c",)),
        Row(Meaning.KEY, "https://p", codes=("c",), providers=("xai",)),
    )
    for told, provider, meaning in (
        (Told("no", "t", "c"), "openai", Meaning.MONEY),
        (Told("no", "t", "c"), "xai", Meaning.KEY),
        (Told("no", "t", "x"), "xai", Meaning.RATE),
        (Told("no", "x", "x"), "xai", Meaning.REQUEST),
    ):
        found = find(told, 400, provider, rows)
        assert found is not None
        assert found.meaning is meaning
    assert find(Told("yes"), 400, "", rows) is None
