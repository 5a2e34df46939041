"""
The units, as they are installed: into a root of their own, verified by systemd, and what they start is started.

systemd itself does not run here; its programs that read units and users without it do.
"""

import configparser
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from proxy.settings import load
from tests.deploy.serving import moved, serving
from tests.rigs.built import ROOT
from tests.rigs.process import run
from tests.rigs.prometheus import DEPLOY
from tests.spec.wire import ask, chat

UNITS = DEPLOY / "systemd"
PAGE = (ROOT / "docs" / "deploy.md").read_text()
COMMANDS = re.search(r"## A service of systemd\n\n```sh\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()  # type: ignore[index]


def unit(name: str) -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(UNITS / name)
    return read


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with what `make install` puts there, and the programs that the units start."""
    folder = tmp_path_factory.mktemp("root")
    command = shlex.split(COMMANDS[2])
    assert command == ["sudo", "make", "-C", "deploy/systemd", "install"]
    subprocess.run([*command[1:], f"DESTDIR={folder}"], cwd=ROOT, check=True, capture_output=True)
    for name, runs in (("opt/hapax/bin/hapax", f"{sys.executable} -m proxy"), ("bin/kill", "/bin/kill")):
        program = folder / name
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {runs} "$@"\n')
        program.chmod(0o755)
    return folder


def test_the_first_installation_is_four_commands() -> None:
    assert COMMANDS == [
        "sudo python3 -m venv /opt/hapax",
        "sudo /opt/hapax/bin/pip install '.[otlp,sentry]'",
        "sudo make -C deploy/systemd install",
        "sudo systemctl enable --now hapax hapax-backup.timer",
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"hapax": "proxy.cli:main"}
    assert {"otlp", "sentry"} <= project["optional-dependencies"].keys()
    # Both ways of installing end where the units look.
    assert "UV_TOOL_DIR=/opt UV_TOOL_BIN_DIR=/usr/local/bin uv tool install '.[otlp,sentry]'" in PAGE
    for name in ("hapax.service", "hapax-backup.service"):
        assert unit(name)["Service"]["ExecStart"].startswith("/opt/hapax/bin/hapax ")


def test_it_puts_everything_in_its_place_and_secrets_where_root_alone_reads(root: Path) -> None:
    placed = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
    assert [name for name in placed if "bin/" not in name] == [
        "etc/hapax/environment",
        "etc/hapax/hapax.yaml",
        "etc/systemd/system/hapax-backup.service",
        "etc/systemd/system/hapax-backup.timer",
        "etc/systemd/system/hapax.service",
        "usr/lib/sysusers.d/hapax.conf",
    ]
    assert stat.S_IMODE((root / "etc/hapax/environment").stat().st_mode) == 0o600
    assert stat.S_IMODE((root / "etc/hapax/hapax.yaml").stat().st_mode) == 0o640


def test_a_second_installation_keeps_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "etc/hapax").mkdir(parents=True)
    for name in ("hapax.yaml", "environment"):
        (tmp_path / "etc/hapax" / name).write_text("mine")
    subprocess.run(["make", "-C", str(UNITS), "install", f"DESTDIR={tmp_path}"], check=True, capture_output=True)
    assert [(tmp_path / "etc/hapax" / name).read_text() for name in ("hapax.yaml", "environment")] == ["mine", "mine"]


@pytest.mark.parametrize("name", ["hapax.service", "hapax-backup.service", "hapax-backup.timer"])
def test_systemd_finds_no_fault_with_a_unit(root: Path, name: str) -> None:
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", f"--root={root}", name],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in checked.stderr.splitlines() if "hapax" in line]
    assert (checked.returncode, told) == (0, []), checked.stderr


def test_the_last_command_enables_both(root: Path) -> None:
    command = shlex.split(COMMANDS[3])
    assert command[:4] == ["sudo", "systemctl", "enable", "--now"]
    done = subprocess.run(
        ["systemctl", f"--root={root}", "enable", *command[4:]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    wanted = root / "etc/systemd/system"
    assert (wanted / "multi-user.target.wants/hapax.service").is_symlink()
    assert (wanted / "timers.target.wants/hapax-backup.timer").is_symlink()
    for link in (wanted / "multi-user.target.wants", wanted / "timers.target.wants"):
        shutil.rmtree(link)


def test_the_timer_comes_every_hour() -> None:
    timer = unit("hapax-backup.timer")["Timer"]
    told = subprocess.run(
        ["systemd-analyze", "calendar", timer["OnCalendar"]], capture_output=True, text=True, check=True
    ).stdout
    assert "Normalized form: *-*-* *:00:00" in told
    assert timer["Persistent"] == "true"


def test_the_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "hapax.sysusers")], check=True)
    (user,) = (line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("hapax:"))
    assert user.split(":")[5] == "/var/lib/hapax"
    for name in ("hapax.service", "hapax-backup.service"):
        assert (unit(name)["Service"]["User"], unit(name)["Service"]["Group"]) == ("hapax", "hapax")


def test_the_folders_they_write_to_are_made_by_systemd() -> None:
    service, backup = unit("hapax.service")["Service"], unit("hapax-backup.service")["Service"]
    assert (service["StateDirectory"], service["LogsDirectory"]) == ("hapax", "hapax")
    assert service["ProtectSystem"] == backup["ProtectSystem"] == "strict"
    settings = load(UNITS / "hapax.yaml", environ={}).settings
    assert settings.store.url.get_secret_value() == "sqlite:////var/lib/hapax/hapax.db"
    assert settings.logging.dir == "/var/log/hapax"
    assert backup["StateDirectory"].split() == ["hapax", "hapax/backups"]
    assert backup["ExecStart"].endswith(" --keep 24 /var/lib/hapax/backups")
    assert (
        int(service["TimeoutStopSec"].removesuffix("s"))
        > settings.server.drain_delay + settings.server.shutdown_timeout
    )


def test_nothing_the_environment_file_names_is_a_setting() -> None:
    named = re.findall(r"^#?(\w+)=", (UNITS / "environment").read_text(), re.MULTILINE)
    assert named == ["HAPAX_ADMIN_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"]


async def test_what_the_units_start_serves_and_makes_backups_of_it(root: Path, tmp_path: Path) -> None:
    config = moved(root / "etc/hapax/hapax.yaml", tmp_path, "/var/lib/hapax", "/var/log/hapax")
    async with serving(tmp_path, CONFIG_PATH=str(config)) as port:
        for _ in range(3):
            assert (await ask(port, chat("sim-fast"))).status == 200
        backups = tmp_path / "backups"
        backups.mkdir()
        command = unit("hapax-backup.service")["Service"]["ExecStart"]
        for here, there in (
            ("/opt/hapax/bin/hapax", str(root / "opt/hapax/bin/hapax")),
            ("/etc/hapax/hapax.yaml", str(config)),
            ("/var/lib/hapax/backups", str(backups)),
        ):
            assert here in command
            command = command.replace(here, there)
        made = await run(*command.split(), env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert made.code == 0, made.stderr
        (file,) = os.listdir(backups)
        assert re.fullmatch(rb"\S+" + re.escape(file).encode() + rb" holds 0 keys and \d calls?, .*\n", made.stdout)
        assert "access.log" in " ".join(os.listdir(tmp_path))
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("hapax.db")) == ["hapax.db"]
