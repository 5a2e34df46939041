"""`hapax usage` as an operator meets it: a table for people, CSV and JSON for programs, and a sentence for a slip."""

import asyncio
import csv
import io
import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.accounts.store import Store
from proxy.cli.command import app
from proxy.core import clock
from tests.accounts.test_usage import row, written

Usage = Callable[..., Result]


@pytest.fixture(autouse=True)
def _configured(quiet_machine: None) -> None:
    """A store in an empty folder."""
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "sqlite:///hapax.db"}}))


@pytest.fixture
def usage() -> Usage:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["usage", *arguments], prog_name="hapax")


def given(*rows: dict[str, Any]) -> None:
    """The ledger holds these rows."""

    async def write() -> None:
        store = Store("sqlite:///hapax.db")
        await store.open()
        if rows:
            await written(store, *rows)
        await store.close()

    asyncio.run(write())


def today(number: int, **fields: Any) -> dict[str, Any]:
    return row(number, clock.wall(), **fields)


def table(result: Result) -> list[list[str]]:
    """The cells of what was printed, without lines that hold none."""
    assert (result.exit_code, result.stderr) == (0, "")
    return [cells for line in result.stdout.splitlines() if (cells := line.split()) and "──" not in line]


def test_the_table_shows_each_key_and_the_total(usage: Usage) -> None:
    given(
        today(1, principal="web", prompt_tokens=1200, completion_tokens=30, cached_tokens=4, cost=1_250_000),
        today(2, principal="web", outcome="failed"),
        today(3, principal="cron", prompt_tokens=5, reasoning_tokens=2, cost=1),
    )
    heading, *lines = table(usage())
    assert heading[:5] == ["key", "requests", "ok", "failed", "pending"]
    assert lines == [
        ["web", "2", "1", "1", "0", "1,200", "30", "4", "0", "1.250000"],
        ["cron", "1", "1", "0", "0", "5", "0", "0", "2", "0.000001"],
        ["total", "3", "2", "1", "0", "1,205", "30", "4", "2", "1.250001"],
    ]


def test_what_stored_answers_saved_is_told_where_there_are_any(usage: Usage) -> None:
    given(today(1, principal="web", cost=1_250_000), today(2, principal="web", cost=0, cached=1, saved=1_250_000))
    heading, line, total = table(usage())
    assert heading[-3:] == ["hits", "saved", "USD"]
    assert line[-3:] == total[-3:] == ["1.250000", "1", "1.250000"]
    shown = json.loads(usage("--json").stdout)["total"]
    assert (shown["cached"], shown["saved_micro_usd"], shown["saved_usd"]) == (1, 1_250_000, "1.250000")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_never_sees_a_number_cut_short(usage: Usage, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    given(*(today(n, principal="a-key-with-a-long-name", prompt_tokens=10**12, cost=10**12) for n in range(5)))
    text = re.sub(r"\x1b\[[0-9;]*m", "", usage().stdout)
    assert "5,000,000,000,000" in text
    assert "5000000.000000" in text
    assert "…" not in text
    assert ("reasoning" in text) is (columns == 200), "columns of zeros go where there is no room"


def test_what_the_sums_leave_out_is_said_below_them(usage: Usage) -> None:
    given(
        today(1, prompt_tokens=5),
        today(2, prompt_tokens=5),
        today(3, prompt_tokens=5, estimated=1, cost=1),
        today(4, outcome="pending"),
    )
    text = usage().stdout
    assert "2 calls have no known price: add the models to the file named in store.prices." in text
    assert "1 call has estimated token counts" in text
    assert "1 call has no end yet" in text


def test_an_empty_ledger_is_said_to_be_empty(usage: Usage) -> None:
    given()
    result = usage()
    assert result.exit_code == 0
    assert result.stdout.startswith("No calls since ")


def test_rows_keeps_the_largest_groups_and_the_whole_total(usage: Usage) -> None:
    given(*(today(n, model=f"model-{n}", cost=n) for n in range(1, 6)))
    result = usage("--by", "model", "--rows", "2")
    _, *lines = table(result)
    assert [line[0] for line in lines[:3]] == ["model-5", "model-4", "total"]
    assert lines[2][1] == "5"
    assert "The total holds 3 more, see --rows." in result.stdout


def test_a_file_that_lacks_rows_does_not_say_so_itself(usage: Usage) -> None:
    given(*(today(n, model=f"model-{n}", cost=n) for n in range(1, 6)))
    result = usage("--by", "model", "--rows", "2", "--csv")
    assert [line.partition(",")[0] for line in result.stdout.splitlines()] == ["model", "model-5", "model-4"]
    assert result.stderr == "3 more left out, see --rows.\n"
    assert usage("--by", "model", "--rows", "5", "--csv").stderr == ""


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_a_name_no_key_has_is_a_slip_and_no_empty_report(usage: Usage, form: tuple[str, ...]) -> None:
    given(row(1, clock.wall() - timedelta(days=90), principal="of-old"))
    result = usage("--key", "nobody", *form)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "There is no key called nobody, and no call was ever made by one\n"
    assert usage("--key", "of-old", *form).exit_code == 0, "it called once"


def test_a_key_that_never_called_has_an_empty_report(usage: Usage) -> None:
    made = {"auth": {"keys": [{"name": "of-file", "key": "f" * 8 + "ile-secret-3141"}]}}
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "sqlite:///hapax.db"}, **made}))
    given()
    CliRunner().invoke(app, ["keys", "create", "stored"])
    for name in ("of-file", "stored"):
        result = usage("--key", name)
        assert (result.exit_code, result.stdout[:15]) == (0, "No calls since ")


def test_a_path_where_no_store_is_gets_none(usage: Usage) -> None:
    result = usage()
    assert (result.exit_code, result.stdout, os.listdir()) == (1, "", ["hapax.yaml"])
    assert result.stderr.startswith("There is no store at sqlite:///hapax.db; ")


def test_rows_keeps_the_latest_days(usage: Usage) -> None:
    now = clock.wall()
    given(*(row(n, now - timedelta(days=n), cost=n) for n in range(5)))
    shown = json.loads(usage("--by", "day", "--rows", "2", "--json").stdout)
    expected = [(now - timedelta(days=n)).date().isoformat() for n in (1, 0)]
    assert [line["group"] for line in shown["lines"]] == expected
    assert shown["total"]["requests"] == 5


def test_json_holds_exact_micro_dollars(usage: Usage) -> None:
    given(today(1, principal="web", cost=1_234_567), today(2, principal="web", team="a", cost=1))
    shown = json.loads(usage("--json", "--team", "a").stdout)
    assert (shown["total"]["cost_micro_usd"], shown["total"]["cost_usd"]) == (1, "0.000001")
    assert json.loads(usage("--json", "--key", "web").stdout)["total"]["cost_usd"] == "1.234568"


def test_csv_is_read_back_as_it_was_and_runs_no_formula(usage: Usage) -> None:
    given(today(1, model="=cmd|' /C calc'!A0", cost=2), today(2, model='a,"b"', cost=1))
    heading, *lines = csv.reader(io.StringIO(usage("--by", "model", "--csv").stdout))
    assert (heading[0], heading[1], heading[-1]) == ("model", "requests", "estimated")
    assert [line[0] for line in lines] == ["'=cmd|' /C calc'!A0", 'a,"b"']


def test_a_name_a_client_sent_does_not_command_the_terminal(usage: Usage) -> None:
    given(today(1, model="\x1b[2Jclear [bold]"))
    text = usage("--by", "model").stdout
    assert "\x1b" not in text
    assert "clear [bold]" in text


def test_since_and_until_bound_what_is_shown(usage: Usage) -> None:
    now = clock.wall()
    given(*(row(n, now - timedelta(days=n)) for n in (0, 3, 10, 40)))
    counted = [
        json.loads(usage("--json", *arguments).stdout)["total"]["requests"]
        for arguments in (("--since", "90d"), (), ("--since", "7d"), ("--since", "20d", "--until", "2d"))
    ]
    assert counted == [4, 3, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--by", "colour"), "--by must be"),
        (("--since", "yesterday"), "--since must be a duration such as 7d"),
        (("--since", "1d", "--until", "2d"), "--until must be after since."),
        (("--csv", "--json"), "Choose one of --csv and --json"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(usage: Usage, arguments: tuple[str, ...], complaint: str) -> None:
    result = usage(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr


def test_a_store_that_cannot_be_used_is_named_without_its_password(usage: Usage) -> None:
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "postgresql://hapax:hush-hush@127.0.0.1:1/x"}}))
    result = usage()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be used" in result.stderr
    assert "hush" not in result.stderr


def test_without_a_store_there_is_nothing_to_show(usage: Usage) -> None:
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": ""}}))
    result = usage()
    assert result.exit_code == 2
    assert "store.url is empty" in result.stderr
