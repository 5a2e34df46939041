"""`hapax backup --keep N DIR`, as a timer runs it: beside a gateway that writes, and with an exit code that is true."""

import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.command import app
from proxy.core import tasks
from tests.cli.test_usage import given, today
from tests.rigs.built import ROOT
from tests.rigs.hapax import hapax as serving
from tests.rigs.process import run
from tests.spec.wire import ask, chat

Hapax = Callable[..., Result]
SAID = re.compile(
    r"(backups/hapax-\d{8}T\d{6}\.\d{3}Z\.db) holds 0 keys and (\d+) calls?, \d+\.\d MB\. "
    r"(\d+) backups? kept(?:, (\d+) older ones? removed)?\. Keep them as safe as the store\.\n"
)


@pytest.fixture
def hapax(quiet_machine: None) -> Hapax:
    """The command, in a folder with a store of two calls and an empty folder for backups."""
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "sqlite:///hapax.db"}}))
    Path("backups").mkdir()
    given(today(1, cost=1), today(2, cost=1))
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments), prog_name="hapax")


def test_the_newest_are_kept_and_each_run_says_so(hapax: Hapax) -> None:
    told = []
    for _ in range(4):
        result = hapax("backup", "--keep", "2", "backups")
        assert (result.exit_code, result.stderr) == (0, "")
        said = SAID.fullmatch(result.stdout)
        assert said is not None, result.stdout
        told.append(said)
    assert [(said[2], said[3], said[4]) for said in told] == [
        ("2", "1", None),
        ("2", "2", None),
        ("2", "2", "1"),
        ("2", "2", "1"),
    ]
    assert [f"backups/{name}" for name in sorted(os.listdir("backups"))] == [told[2][1], told[3][1]]
    Path("other.yaml").write_text(yaml.safe_dump({"store": {"url": "sqlite:///other.db"}}))
    assert hapax("restore", told[3][1], "--config", "other.yaml").exit_code == 0


def test_an_older_one_that_cannot_be_removed_is_a_warning_and_the_others_go(hapax: Hapax) -> None:
    first, second, third = (f"hapax-2020010{day}T000000.000Z.db" for day in (1, 2, 3))
    # No file: what is in it keeps it there, for root too.
    Path("backups", first).mkdir()
    for name in (second, third):
        Path("backups", name).write_bytes(b"older")
    result = hapax("backup", "--keep", "2", "backups")
    said = SAID.fullmatch(result.stdout)
    assert said is not None, result.output
    assert (result.exit_code, said[3], said[4]) == (0, "3", "1")
    told = f"Warning: older backups in backups cannot be removed ({first}: Is a directory)"
    assert " ".join(result.stderr.split()) == told
    assert sorted(os.listdir("backups")) == [first, third, Path(said[1]).name]


def test_the_store_is_one_file_after_a_backup_of_a_gateway_that_does_not_run(hapax: Hapax) -> None:
    assert hapax("backup", "--keep", "2", "backups").exit_code == 0
    assert sorted(os.listdir()) == ["backups", "hapax.db", "hapax.yaml"]


def test_a_look_at_the_configuration_leaves_nothing_beside_the_store(hapax: Hapax) -> None:
    assert hapax("check").exit_code == 0
    assert sorted(os.listdir()) == ["backups", "hapax.db", "hapax.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--keep", "2", "away"), 1, "Away is no folder that is there; make it (mkdir -p away)"),
        (("--keep", "2", "hapax.yaml"), 2, "hapax.yaml is a file; --keep takes the folder that dated backups go to"),
        (("--keep", "2", "--force", "backups"), 2, "--force replaces a FILE; with --keep every backup has a name"),
        (("backups",), 2, "backups is a folder; name a file in it, or have dated ones there: --keep 24 backups"),
        (("--keep", "0", "backups"), 2, "Invalid value for '--keep'"),
        (("--keep", "2", "backups", "--config", "none.yaml"), 2, "none.yaml does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_with_an_exit_code_and_removes_nothing(
    hapax: Hapax, arguments: tuple[str, ...], code: int, said: str
) -> None:
    Path("backups/hapax-20200101T000000.000Z.db").write_bytes(b"older")
    result = hapax("backup", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.split())
    assert os.listdir("backups") == ["hapax-20200101T000000.000Z.db"]


def test_a_store_that_is_away_ends_with_1_and_removes_nothing(hapax: Hapax) -> None:
    Path("backups/hapax-20200101T000000.000Z.db").write_bytes(b"older")
    Path("hapax.yaml").write_text(yaml.safe_dump({"store": {"url": "postgresql://hapax:hush-hush@127.0.0.1:1/x"}}))
    result = hapax("backup", "--keep", "1", "backups")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be used" in result.stderr
    assert "hush" not in result.stderr
    assert os.listdir("backups") == ["hapax-20200101T000000.000Z.db"]


def test_the_help_has_an_example_for_a_timer_and_a_word_on_postgresql(hapax: Hapax) -> None:
    shown = " ".join(hapax("backup", "--help").stdout.split())
    assert "hapax backup --keep 24 /var/lib/hapax/backups" in shown
    assert "The file is a SQLite database, also when the store is PostgreSQL" in shown
    assert "pg_dump" in shown


async def test_backups_are_whole_while_the_gateway_writes(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    settings = {"server": {"drain_delay": "0s"}, "providers": {"sim": {"type": "simulator"}}}
    async with serving(tmp_path, {**settings, "store": {"url": f"sqlite:///{tmp_path}/hapax.db"}}) as gateway:

        async def write() -> None:
            while True:
                assert (await ask(gateway.port, chat("sim-fast"))).status == 200

        writing = tasks.start(write(), "calls")
        command = (sys.executable, "-m", "proxy", "backup", "--keep", "2", str(folder))
        config, found = ("--config", str(tmp_path / "hapax.yaml")), []
        while len(found) < 4 or found[-1] <= found[0]:
            ended = await run(*command, *config, env={**os.environ, "PYTHONPATH": str(ROOT)})
            assert ended.code == 0, ended.stderr
            newest = max(folder.iterdir())
            database = sqlite3.connect(newest)
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            found.append(database.execute("SELECT count(*) FROM usage").fetchone()[0])
            database.close()
        assert found == sorted(found)
        assert len(os.listdir(folder)) == 2
        assert not writing.done()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
