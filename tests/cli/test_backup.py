"""`hapax backup` and `hapax restore` as an operator meets them: what they say, and that a slip destroys nothing."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.command import app
from tests.cli.test_usage import given, today

Hapax = Callable[..., Result]


@pytest.fixture(autouse=True)
def _configured(quiet_machine: None) -> None:
    """Two stores in an empty folder."""
    for name in ("hapax", "other"):
        Path(f"{name}.yaml").write_text(yaml.safe_dump({"store": {"url": f"sqlite:///{name}.db"}}))


@pytest.fixture
def hapax() -> Hapax:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments), prog_name="hapax")


def test_a_store_goes_into_a_file_and_from_there_into_another(hapax: Hapax) -> None:
    assert hapax("keys", "create", "web").exit_code == 0
    given(*(today(n, principal="web", cost=n) for n in range(1, 1501)))
    result = hapax("backup", "copy.db")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("copy.db holds 1 key and 1,500 calls, ")
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o600
    result = hapax("restore", "copy.db", "--config", "other.yaml")
    assert (result.exit_code, result.stdout) == (0, "1 key and 1,500 calls restored from copy.db.\n")
    totals = [
        json.loads(hapax("usage", "--json", "--config", f"{name}.yaml").stdout)["total"] for name in ("hapax", "other")
    ]
    assert totals[0] == totals[1]
    assert totals[0]["cost_micro_usd"] == 1500 * 1501 // 2
    keys = json.loads(hapax("keys", "list", "--json", "--config", "other.yaml").stdout)["keys"]
    assert [key["name"] for key in keys] == ["web"]


def test_a_file_that_exists_is_kept_unless_force_is_given(hapax: Hapax) -> None:
    given(today(1))
    Path("copy.db").write_text("precious")
    result = hapax("backup", "copy.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Copy.db exists; choose another name, or replace it with --force.\n"
    assert Path("copy.db").read_text() == "precious"
    assert hapax("backup", "copy.db", "--force").exit_code == 0


def test_a_store_in_use_is_kept_unless_merge_is_given(hapax: Hapax) -> None:
    given(today(1, cost=1), today(2, cost=1))
    assert hapax("backup", "copy.db").exit_code == 0
    given(today(3, cost=1))
    result = hapax("restore", "copy.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The store holds keys or usage already; add what it lacks with --merge." in result.stderr
    result = hapax("restore", "copy.db", "--merge")
    assert (result.exit_code, result.stdout) == (0, "0 keys and 0 calls restored from copy.db.\n")
    assert json.loads(hapax("usage", "--json").stdout)["total"]["requests"] == 3


def test_what_is_no_backup_is_refused_with_a_sentence(hapax: Hapax) -> None:
    Path("copy.db").write_text("no database at all" * 100)
    result = hapax("restore", "copy.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be used: file is not a database" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_path_where_no_store_is_gets_none(hapax: Hapax) -> None:
    result = hapax("backup", "copy.db")
    assert (result.exit_code, result.stdout, os.listdir()) == (1, "", ["hapax.yaml", "other.yaml"])
    assert result.stderr.startswith("There is no store at sqlite:///hapax.db; ")


def test_a_store_that_is_away_leaves_no_file(hapax: Hapax) -> None:
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "postgresql://hapax:hush-hush@127.0.0.1:1/x"}}))
    result = hapax("backup", "copy.db")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be used" in result.stderr
    assert "hush" not in result.stderr
    assert not [name for name in os.listdir() if "copy" in name]
