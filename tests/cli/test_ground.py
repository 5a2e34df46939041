"""A database that cannot be opened: `check` and the start say so with the path and the remedy, and nothing is made."""

import os
import socket
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from proxy.cli.command import app
from proxy.settings import Settings


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(command: str, store: str, more: str = "") -> tuple[int, str]:
    Path("mine.yaml").write_text(f"providers: {{simulator: {{}}}}\nstore: {{url: '{store}'}}\n{more}")
    result = CliRunner().invoke(app, [command, "--config", "mine.yaml"], prog_name="hapax")
    assert "Traceback" not in result.output
    return result.exit_code, result.stderr


def _folder(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("keys and usage\n" * 4)


def _damaged(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (a)")
    database.close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 4000)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


UNUSABLE = [
    ("a/b/hapax.db", None, "a/b does not exist; make it (mkdir -p)"),
    ("hapax.db", _folder, "hapax.db is a folder; name a file in it"),
    ("hapax.db", _text, "hapax.db is no SQLite database"),
    ("hapax.db", _damaged, "hapax.db is damaged"),
    ("hapax.db", _pipe, "hapax.db is no ordinary file"),
    ("mine.yaml/hapax.db", None, "mine.yaml is a file, so nothing can lie below it"),
]


@pytest.mark.parametrize("command", ["check", "serve"])
@pytest.mark.parametrize(("path", "make", "words"), [pytest.param(*row, id=row[2]) for row in UNUSABLE])
def test_a_database_that_cannot_be_opened_is_a_problem(
    tmp_path: Path, command: str, path: str, make: object, words: str
) -> None:
    if callable(make):
        make(tmp_path / path)
    before = sorted(tmp_path.rglob("*"))
    code, error = said(command, f"sqlite:///{path}")
    assert code == 2
    assert f"store.url: {'the folder ' if 'mkdir' in words else ''}{tmp_path}/{words}" in error
    assert sorted(tmp_path.rglob("*")) == sorted({*before, tmp_path / "mine.yaml"})


def test_a_folder_and_a_file_of_another_user_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith(("closed", "theirs.db")))
    (tmp_path / "closed").mkdir()
    (tmp_path / "theirs.db").touch()
    assert "closed cannot be written by this user" in said("check", "sqlite:///closed/hapax.db")[1]
    assert "theirs.db cannot be read and written by this user" in said("check", "sqlite:///theirs.db")[1]
    (tmp_path / "closed" / "old.db").touch()
    assert "SQLite keeps its log beside old.db" in said("check", "sqlite:///closed/old.db")[1]


def test_a_database_that_is_there_or_can_be_made_is_none(tmp_path: Path) -> None:
    assert said("check", "sqlite:///new.db") == (0, "")
    assert not (tmp_path / "new.db").exists()
    with sqlite3.connect("used.db") as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("BEGIN EXCLUSIVE")
        assert said("check", "sqlite:///used.db") == (0, "")
    database.close()
    (tmp_path / "empty.db").touch()
    assert said("check", f"sqlite:///{tmp_path}/empty.db") == (0, "")


def test_a_server_that_does_not_answer_is_a_warning_without_its_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        answers = said("check", f"postgresql://hapax:hidden@127.0.0.1:{port}/hapax")
    assert answers == (0, "")
    code, error = said(
        "check",
        f"postgresql://hapax:hidden@127.0.0.1:{port}/hapax",
        f"state: {{url: 'redis://:hidden@127.0.0.1:{port}/0'}}\n",
    )
    assert code == 0
    assert f"Warning: store.url: nothing answers at 127.0.0.1:{port} (Connection refused)" in error
    assert f"Warning: state.url: nothing answers at 127.0.0.1:{port} (Connection refused)" in error
    assert "hidden" not in error


def test_the_default_database_stands_in_the_working_directory() -> None:
    assert Settings().store.url.get_secret_value() == "sqlite:///hapax.db"
