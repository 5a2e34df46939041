"""What commands change stands in the audit log: who did it, how it was before and how it is now."""

import io
import json
import os
import pwd
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli import audited
from proxy.cli.command import app
from proxy.settings import Settings

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
    user = pwd.getpwuid(os.getuid()).pw_name
    secret = hapax("keys", "create", "web", "--team", "shop", "--quiet").stdout.strip()
    rotated = hapax("keys", "rotate", "web", "--overlap", "0s", "--quiet").stdout.strip()
    assert hapax("keys", "revoke", "web", "--yes").stderr == "Revoked web\n"
    made, turned, ended = audit()
    assert [each["event"] for each in (made, turned, ended)] == ["key_created", "key_rotated", "key_revoked"]
    for each in (made, turned, ended):
        assert (each["by"], each["user"], each["key"]) == ("command line", user, "web")
        assert (each["logger"], each["level"], each["stage"]) == ("hapax.audit", "info", "change")
    assert made["before"] is None
    assert (made["after"]["team"], made["after"]["status"]) == ("shop", "active")
    assert (turned["before"]["prefix"], turned["after"]["prefix"]) == (secret[:10], rotated[:10])
    assert (ended["before"]["status"], ended["after"]["status"]) == ("active", "revoked")
    text = Path("logs/audit.log").read_text()
    assert secret not in text
    assert rotated not in text


def test_the_user_is_that_of_the_process_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "mallory")
    hapax("keys", "create", "web", "--quiet")
    assert audit()[0]["user"] == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_that_no_file_names_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    hapax("keys", "create", "web", "--quiet")
    assert audit()[0]["user"] == "3999999999"


def test_text_that_is_asked_for_is_text_in_the_file_too() -> None:
    configure(dir="logs", format="text")
    hapax("keys", "create", "web", "--quiet")
    assert ' key web created by="command line" user=' in Path("logs/audit.log").read_text()


def test_a_line_for_standard_error_is_json_where_only_standard_output_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    told = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", told)
    audited.audit(Settings.model_validate({"logging": {"output": "stdout"}}), "key_created", "made", None, {})
    assert json.loads(told.getvalue())["event"] == "key_created"


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_that_root_rotates_belongs_to_the_owner_of_its_directory() -> None:
    configure(dir="logs", max_bytes=1)
    Path("logs").mkdir()
    Path("logs/audit.log").write_text("an older line\n")
    for path in ("logs", "logs/audit.log"):
        os.chown(path, 1234, 1234)
    hapax("keys", "create", "web", "--quiet")
    assert Path("logs/audit.log.1").read_text() == "an older line\n"
    assert Path("logs/audit.log").stat().st_uid == 1234
    assert len(audit()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_left_to_that_user() -> None:
    Path("logs").mkdir()
    Path("logs/audit.log").touch()
    os.chown("logs/audit.log", 1234, 1234)
    hapax("keys", "create", "web", "--quiet")
    assert Path("logs/audit.log").stat().st_uid == 1234


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_a_link_leads_to_is_not_given_away() -> None:
    Path("logs").mkdir()
    Path("of-root").touch()
    Path("logs/audit.log").symlink_to("../of-root")
    os.chown("logs", 1234, 1234)
    hapax("keys", "create", "web", "--quiet")
    assert Path("of-root").stat().st_uid == 0
