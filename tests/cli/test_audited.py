"""What commands change stands in the audit log: who did it, how it was before and how it is now."""

import getpass
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.command import app

STORE = {"url": "sqlite:///hapax.db"}


@pytest.fixture(autouse=True)
def _configured(quiet_machine: None) -> None:
    """A store and a directory for logs in an empty folder."""
    configure(dir="logs")


def configure(**logging: Any) -> None:
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": STORE, "logging": logging}))


def hapax(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), prog_name="hapax")
    assert result.exit_code == 0, result.stderr
    return result


def audit() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("logs/audit.log").read_text().splitlines()]


def test_a_key_that_is_made_rotated_and_revoked_leaves_a_line_each_with_user_before_and_after() -> None:
    secret = hapax("keys", "create", "web", "--team", "shop", "--quiet").stdout.strip()
    rotated = hapax("keys", "rotate", "web", "--overlap", "0s", "--quiet").stdout.strip()
    assert hapax("keys", "revoke", "web", "--yes").stderr == "Revoked web\n"
    made, turned, ended = audit()
    assert [each["event"] for each in (made, turned, ended)] == ["key_created", "key_rotated", "key_revoked"]
    for each in (made, turned, ended):
        assert (each["by"], each["user"], each["key"]) == ("command line", getpass.getuser(), "web")
        assert (each["logger"], each["level"], each["stage"]) == ("hapax.audit", "info", "change")
    assert made["before"] is None
    assert (made["after"]["team"], made["after"]["status"]) == ("shop", "active")
    assert (turned["before"]["prefix"], turned["after"]["prefix"]) == (secret[:10], rotated[:10])
    assert (ended["before"]["status"], ended["after"]["status"]) == ("active", "revoked")
    text = Path("logs/audit.log").read_text()
    assert secret not in text
    assert rotated not in text


def test_a_store_that_is_restored_is_told_with_what_came_into_it() -> None:
    hapax("keys", "create", "web", "--quiet")
    hapax("backup", "copy.db")
    Path("hapax.db").unlink()
    hapax("restore", "copy.db")
    line = audit()[-1]
    assert (line["event"], line["by"], line["file"], line["merged"]) == (
        "store_restored",
        "command line",
        "copy.db",
        False,
    )
    assert line["after"]["keys"] == 1


def test_where_audit_is_no_stream_of_the_log_nothing_is_written() -> None:
    configure(dir="logs", streams=["application"])
    assert hapax("keys", "create", "web", "--quiet").stderr == ""
    assert not Path("logs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_line_that_cannot_be_written_there_is_told_by_the_command() -> None:
    Path("logs").mkdir(mode=0o500)
    assert json.loads(hapax("keys", "create", "web", "--quiet").stderr)["event"] == "key_created"


def test_a_line_for_which_the_directory_is_a_file_is_told_by_the_command() -> None:
    Path("logs").write_text("")
    assert json.loads(hapax("keys", "create", "web", "--quiet").stderr)["event"] == "key_created"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_that_root_makes_belongs_to_the_owner_of_its_directory() -> None:
    Path("logs").mkdir()
    os.chown("logs", 1234, 1234)
    hapax("keys", "create", "web", "--quiet")
    assert Path("logs/audit.log").stat().st_uid == 1234
