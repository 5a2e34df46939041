"""`hapax keys` as an operator meets it: a secret on standard output once, everything else beside it."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.accounts.secret import looks_minted
from proxy.cli.command import app
from tests.accounts.test_usage import NOON, row
from tests.cli.test_usage import given

Keys = Callable[..., Result]


@pytest.fixture(autouse=True)
def _configured(quiet_machine: None) -> None:
    """A store in an empty folder."""
    configure({})


@pytest.fixture
def keys() -> Keys:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["keys", *arguments], prog_name="hapax")


def configure(settings: dict[str, object]) -> None:
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "sqlite:///hapax.db"}, **settings}))


def audited(result: Result) -> dict[str, Any]:
    """The line of the audit log, where there is no directory for it and nothing else was said."""
    (line,) = result.stderr.splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


def listed(keys: Keys) -> dict[str, dict[str, object]]:
    result = keys("list", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return {key["name"]: key for key in json.loads(result.stdout)["keys"]}


def test_create_prints_the_secret_alone_and_says_the_rest_beside_it(keys: Keys) -> None:
    result = keys("create", "web-app")
    assert result.exit_code == 0
    secret = result.stdout.removesuffix("\n")
    assert looks_minted(secret)
    assert secret not in result.stderr
    assert "it is not shown again" in result.stderr
    assert "http://127.0.0.1:8080/v1/models" in result.stderr


def test_create_with_quiet_says_nothing_but_the_secret_and_who_made_it(keys: Keys) -> None:
    result = keys("create", "web-app", "--quiet")
    assert (result.exit_code, audited(result)["key"]) == (0, "web-app")
    assert looks_minted(result.stdout.strip())


def test_create_takes_everything_a_key_can_be_given(keys: Keys) -> None:
    result = keys(
        *(
            "create",
            "web-app",
            "--json",
            "--team",
            "shop",
            "--model",
            "gpt-*",
            "--model",
            "o1",
            "--route",
            "/v1/chat/*",
        ),
        *("--requests-per-minute", "600", "--tokens-per-minute", "0", "--budget", "2.5usd/week"),
        *("--expires", "2099-01-31"),
    )
    assert (result.exit_code, audited(result)["after"]["team"]) == (0, "shop")
    made = json.loads(result.stdout)
    assert looks_minted(made.pop("key"))
    assert made == listed(keys)["web-app"]
    assert made["prefix"].startswith("hpx_")
    assert {name: made[name] for name in ("status", "team", "models", "routes", "limits", "budget", "expires")} == {
        "status": "active",
        "team": "shop",
        "models": ["gpt-*", "o1"],
        "routes": ["/v1/chat/*"],
        "limits": {"requests_per_minute": 600, "tokens_per_minute": 0, "concurrent": None},
        "budget": {"usd": 2.5, "per": "week"},
        "expires": "2099-01-31T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--budget", "5"], "--budget must be an amount and a period"),
        (["--budget", "5eur/day"], "--budget must be an amount and a period"),
        (["--budget", "1.5tokens/day"], "whole number of tokens"),
        (["--budget", "0tokens/day"], "must be more than 0"),
        (["--expires", "yesterday"], "expires must be a duration"),
        (["--expires", "2020-01-01"], "expires must be in the future"),
        (["--route", "v1/chat"], "begin with / or *"),
        (["--requests-per-minute", "-1"], "greater than or equal to 0"),
        (["--model", ""], "models"),
        (["--team", "x" * 65], "team"),
    ],
)
def test_create_refuses_what_cannot_be_in_one_sentence(keys: Keys, arguments: list[str], complaint: str) -> None:
    result = keys("create", "web-app", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("hapax.db").exists()


@pytest.mark.parametrize("name", ["", "admin", "Anonymous", "a b", "-x", "x" * 65, "ключ", "a\nb"])
def test_create_refuses_names_that_cannot_be(keys: Keys, name: str) -> None:
    result = keys("create", "--", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "name must" in result.stderr


def test_a_name_that_is_taken_is_refused_with_a_way_out(keys: Keys) -> None:
    keys("create", "web-app")
    result = keys("create", "web-app")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "hapax keys rotate web-app" in result.stderr


def test_the_list_shows_every_key_and_no_secret(keys: Keys) -> None:
    configure({"auth": {"keys": [{"name": "of-file", "key": "f" * 8 + "ile-secret-3141", "team": "ops"}]}})
    secret = keys("create", "web-app", "--quiet", "--budget", "5usd/day").stdout.strip()
    result = keys("list")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "file-secret" not in result.stdout
    assert secret not in result.stdout
    of_file, web = (line for line in result.stdout.splitlines() if "of-file" in line or "web-app" in line)
    assert "in the file" in of_file
    assert "ops" in of_file
    assert f"{secret[:10]}..." in web
    assert "5 usd/day" in web
    assert "expires" not in result.stdout, "a column that says nothing"
    assert {name: key["source"] for name, key in listed(keys).items()} == {"of-file": "file", "web-app": "store"}
    assert secret not in keys("list", "--json").stdout


def test_the_list_says_when_a_key_was_used_last_where_one_was(keys: Keys) -> None:
    keys("create", "web-app")
    keys("create", "idle")
    assert "last used" not in keys("list").stdout, "a column that says nothing"

    given(row(1, NOON, principal="web-app"))
    assert {name: key["last_used"] for name, key in listed(keys).items()} == {
        "web-app": "2026-10-25T12:00:00.000Z",
        "idle": None,
    }
    (line,) = (line for line in keys("list").stdout.splitlines() if "web-app" in line)
    assert line.rstrip().endswith("2026-10-25 12:00")


def test_an_empty_list_says_how_to_make_a_key(keys: Keys) -> None:
    given()
    result = keys("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "hapax keys create NAME" in result.stderr
    assert listed(keys) == {}


def test_rotate_gives_another_secret_and_says_until_when_the_old_one_works(keys: Keys) -> None:
    old = keys("create", "web-app", "--quiet").stdout.strip()
    result = keys("rotate", "web-app", "--overlap", "2h")
    assert result.exit_code == 0
    assert looks_minted(result.stdout.strip())
    assert result.stdout.strip() != old
    assert "The old one works until 20" in result.stderr
    key = listed(keys)["web-app"]
    assert key["status"] == "rotating"
    assert str(key["previous_expires"])[:16] in result.stderr


def test_rotate_without_overlap_ends_the_old_secret(keys: Keys) -> None:
    keys("create", "web-app")
    result = keys("rotate", "web-app", "--overlap", "0s", "--json")
    assert (result.exit_code, audited(result)["event"]) == (0, "key_rotated")
    rotated = json.loads(result.stdout)
    assert looks_minted(rotated["key"])
    assert (rotated["status"], rotated["previous_expires"]) == ("active", None)
    assert looks_minted(keys("rotate", "web-app", "--quiet").stdout.strip())


def test_rotate_refuses_an_overlap_that_is_no_duration(keys: Keys) -> None:
    keys("create", "web-app")
    result = keys("rotate", "web-app", "--overlap", "soon")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--overlap must be a duration" in result.stderr


def test_revoke_ends_a_key_and_can_be_said_twice(keys: Keys) -> None:
    keys("create", "web-app")
    result = keys("revoke", "web-app", "--yes")
    assert (result.exit_code, result.stdout) == (0, "")
    line, _, rest = result.stderr.partition("\n")
    assert (json.loads(line)["event"], rest) == ("key_revoked", "Revoked web-app\n")
    # Nothing has changed, so nothing is written to the audit log.
    result = keys("revoke", "web-app", "--yes")
    assert (result.exit_code, result.stderr) == (0, "web-app was revoked before; nothing has changed\n")
    assert listed(keys)["web-app"]["status"] == "revoked"
    again = keys("rotate", "web-app")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "was revoked" in again.stderr
    assert keys("create", "web-app").exit_code == 1


def test_a_script_says_that_it_means_to_revoke(keys: Keys) -> None:
    keys("create", "web-app")
    result = keys("revoke", "web-app")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "say so with --yes" in result.stderr
    assert listed(keys)["web-app"]["status"] == "active"


@pytest.mark.parametrize("command", [["list"], ["rotate", "x"], ["revoke", "x", "--yes"]])
def test_a_path_where_no_store_is_gets_none(keys: Keys, command: list[str]) -> None:
    result = keys(*command)
    assert (result.exit_code, result.stdout, os.listdir()) == (1, "", ["hapax.yaml"])
    assert result.stderr.startswith("There is no store at sqlite:///hapax.db; ")


def test_keys_of_the_configuration_are_shown_where_no_store_is(keys: Keys) -> None:
    configure({"auth": {"keys": [{"name": "of-file", "key": "f" * 8 + "ile-secret-3141"}]}})
    result = keys("list", "--json")
    assert (result.exit_code, [key["name"] for key in json.loads(result.stdout)["keys"]]) == (0, ["of-file"])
    assert result.stderr.startswith("There is no store at ")
    assert os.listdir() == ["hapax.yaml"]


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_name_no_key_has_is_refused(keys: Keys, command: str) -> None:
    keys("create", "somebody")
    result = keys(command, "nobody\x1b[31m", *(["--yes"] if command == "revoke" else []))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The store has no key called nobody" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("command", ["create", "rotate", "revoke"])
def test_a_key_of_the_configuration_is_changed_there(keys: Keys, command: str) -> None:
    configure({"auth": {"keys": [{"name": "of-file", "key": "f" * 8 + "ile-secret-3141"}]}})
    result = keys(command, "of-file")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "auth.keys" in result.stderr


@pytest.mark.parametrize("command", [["create", "x"], ["list"], ["rotate", "x"], ["revoke", "x", "--yes"]])
def test_a_store_that_cannot_be_used_is_named_without_its_password(keys: Keys, command: list[str]) -> None:
    configure({"store": {"url": "postgresql://me:hunter2@127.0.0.1:1/hapax"}})
    result = keys(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The store postgresql://me:**********@127.0.0.1:1/hapax cannot be used: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("url", ["", "sqlite:///:memory:"])
def test_where_there_is_no_store_it_says_so(keys: Keys, url: str) -> None:
    configure({"store": {"url": url}})
    result = keys("list")
    assert (result.exit_code, result.stdout) == (2 if not url else 1, "")
    assert "sqlite:///hapax.db" in result.stderr


def test_a_configuration_with_problems_is_told_and_nothing_done(keys: Keys) -> None:
    configure({"nonsense": 1})
    result = keys("create", "web-app")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nonsense" in result.stderr
    assert not Path("hapax.db").exists()


def test_the_store_is_no_other_users_to_read(keys: Keys) -> None:
    keys("create", "web-app")
    assert stat.S_IMODE(Path("hapax.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("command", [[], ["create"], ["list"], ["rotate"], ["revoke"]])
def test_every_command_has_an_example(keys: Keys, command: list[str]) -> None:
    result = keys(*command, "--help")
    assert result.exit_code == 0
    assert "Example: hapax keys" in " ".join(result.stdout.split())
