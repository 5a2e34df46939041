"""
The image, without the daemon that would build it: each of its steps that can be taken here is.

Its health check is run against gateways on other ports and with TLS, its own configuration is started, and what its
environment says is laid over a mounted file.
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from proxy.settings import load
from tests.conftest import GatewayFactory
from tests.deploy.serving import keyed, moved, serving, starting
from tests.rigs.built import ROOT
from tests.rigs.prometheus import DEPLOY
from tests.rigs.simulator import Simulator
from tests.spec.test_tls import served
from tests.spec.wire import ask, chat, get

ADMIN = "hpx_admin_0f2d9be1c5a877"
FILE = DEPLOY / "docker" / "Dockerfile"
CONFIG = DEPLOY / "docker" / "config.yaml"


def steps() -> list[tuple[str, str]]:
    """The instructions of the file, each with what it says."""
    lines = FILE.read_text().replace("\\\n", "").splitlines()
    words = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return [(name, rest) for name, rest in words]


def environment() -> dict[str, str]:
    """What the image sets, but for the path of programs."""
    (said,) = (rest for name, rest in steps() if name == "ENV")
    return {name: value for name, _, value in (each.partition("=") for each in said.split()) if name != "PATH"}


def test_it_is_of_one_python_in_both_stages_and_runs_as_a_user_without_rights() -> None:
    bases = [rest.split()[0] for name, rest in steps() if name == "FROM"]
    assert bases == ["python:3.14-slim-trixie"] * 2
    assert bases[0] in (ROOT / "docs" / "deploy.md").read_text()
    last = dict(steps())
    assert (last["USER"], last["WORKDIR"], last["VOLUME"], last["EXPOSE"]) == ("hapax", "/data", "/data", "8080")
    # /data is that user's home, so it may write there, and a named volume gets its owner from the image.
    (made,) = (rest for name, rest in steps() if name == "RUN" and rest.startswith("useradd"))
    assert made == "useradd --system --uid 10001 --create-home --home-dir /data hapax"
    assert [name for name, _ in steps()].index("USER") > [name for name, _ in steps()].index("VOLUME")


def test_what_it_copies_is_there_and_is_sent_to_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name, rest in steps():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(source == each or source.startswith(f"{each}/") for each in allowed), source


def test_the_extras_are_in_it() -> None:
    installed = {
        re.match(r"[\w.-]+", line)[0].lower()  # type: ignore[index]
        for line in (ROOT / "requirements" / "image.lock").read_text().splitlines()
        if re.match(r"[\w.-]+==", line)
    }
    always = {
        re.match(r"[\w.-]+", line)[0].lower()  # type: ignore[index]
        for line in (ROOT / "requirements" / "runtime.lock").read_text().splitlines()
        if re.match(r"[\w.-]+==", line)
    }
    assert installed > always
    assert {"opentelemetry-proto", "sentry-sdk", "aioquic"} <= installed
    assert any("requirements/image.lock" in rest for name, rest in steps() if name == "RUN")
    assert "--extra otlp --extra sentry --extra http3" in (ROOT / "scripts" / "lock.sh").read_text()


# What wins over what.


def test_nothing_it_sets_wins_over_a_mounted_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "server": {"host": "127.0.0.2", "port": 9000},
                "store": {"url": "sqlite:///mine.db"},
                "logging": {"level": "warn"},
                "providers": {"simulator": {}},
            }
        )
    )
    assert environment()["CONFIG_PATH"] == "/app/config.yaml"
    mounted = load(environ={**environment(), "CONFIG_PATH": str(file)})
    assert mounted.settings == load(file, environ={}).settings
    assert (mounted.warnings, mounted.overridden) == ([], [])


def test_what_the_operator_sets_wins_and_is_told_where_the_file_says_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server:\n  port: 9000\nproviders:\n  local-llama: {type: ollama, weight: 2}\n")
    set_there = {"HAPAX_SERVER__PORT": "9001", "HAPAX_SERVER__HOST": "127.0.0.2", "LOG_LEVEL": "warn"}
    set_there["HAPAX_PROVIDERS__LOCAL_LLAMA__WEIGHT"] = "3"
    loaded = load(environ={**environment(), **set_there, "CONFIG_PATH": str(file)})
    server = loaded.settings.server
    assert (server.host, server.port, loaded.settings.logging.level) == ("127.0.0.2", 9001, "warn")
    assert loaded.settings.providers["local-llama"].weight == 3
    assert loaded.overridden == [
        f"server.port: HAPAX_SERVER__PORT in the environment takes the place of what {file} (line 2, column 3) says",
        "providers.local-llama.weight: HAPAX_PROVIDERS__LOCAL_LLAMA__WEIGHT in the environment takes the place of what "
        f"{file} (line 4, column 31) says",
    ]
    # The command line, which wins over both, says itself what it wants.
    above = load(file, environ=set_there, overrides={"server.port": 1})
    assert (above.settings.server.port, len(above.overridden)) == (1, 1)


@pytest.mark.usefixtures("quiet_machine")
def test_check_and_serve_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("hapax.yaml").write_text("server: {port: 9000}\nproviders: {simulator: {}}\n")
    monkeypatch.setenv("HAPAX_SERVER__PORT", "70000")
    assert "server.port: must be at most 65535" in CliRunner().invoke(app, ["check"]).stderr
    monkeypatch.setenv("HAPAX_SERVER__PORT", "9001")
    said = "Warning: server.port: HAPAX_SERVER__PORT in the environment takes the place of what hapax.yaml (line 1"
    result = CliRunner().invoke(app, ["check"])
    assert (result.exit_code, said in result.stderr) == (0, True)
    monkeypatch.setattr("proxy.process.server.run", lambda loaded, read: 0)
    assert said in CliRunner().invoke(app, ["serve"]).stderr


@pytest.mark.usefixtures("quiet_machine")
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_mounted_file_that_lets_no_call_in_is_warned_of(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.process.server.run", lambda loaded, read: 0)
    Path("hapax.yaml").write_text("server: {port: 9000}\nproviders: {simulator: {}}\n")
    said = "Warning: server.host: is 127.0.0.1, which no published port of a container leads to"
    assert said not in CliRunner().invoke(app, [command]).stderr
    for name, value in environment().items():
        if name != "CONFIG_PATH":
            monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, [command])
    assert (result.exit_code, said in result.stderr) == (0, True)
    monkeypatch.setenv("HAPAX_ADMIN_KEY", ADMIN)
    Path("hapax.yaml").write_text("server: {host: 0.0.0.0}\nauth: {admin_key: '${HAPAX_ADMIN_KEY}'}\n")
    assert "server.host: is" not in CliRunner().invoke(app, [command]).stderr


# Started as it is.


async def test_its_own_configuration_serves_the_simulator_to_the_holder_of_a_key(tmp_path: Path) -> None:
    config = moved(CONFIG, tmp_path, "/data")
    said = {**environment(), "CONFIG_PATH": str(config), "HAPAX_ADMIN_KEY": ADMIN}
    async with serving(tmp_path, **said) as port:
        assert (await ask(port, get("/live"))).status == 200
        assert (await ask(port, chat("sim-fast"))).status == 401
        assert (await ask(port, chat("sim-fast", head=await keyed(port, ADMIN)))).status == 200
        assert (tmp_path / "hapax.db").exists()
    assert not (tmp_path / "hapax.db-wal").exists()


async def test_without_any_key_it_says_what_is_missing(tmp_path: Path) -> None:
    async with starting(tmp_path, CONFIG_PATH=str(moved(CONFIG, tmp_path, "/data"))) as process:
        _, said = await process.communicate()
        assert process.returncode == 2
        assert b"there is no key; make one with `hapax keys create NAME`" in said


# The health check.


def check(folder: Path, **settings: Any) -> Any:
    """What the HEALTHCHECK of the image comes to, with these settings in the place of the mounted file."""
    (said,) = (rest for name, rest in steps() if name == "HEALTHCHECK")
    command = yaml.safe_load(said.partition("CMD ")[2])
    assert command[0] == "hapax"
    (folder / "hapax.yaml").write_text(yaml.safe_dump({"store": {"url": ""}, **settings}))
    return CliRunner().invoke(app, [*command[1:], "--config", str(folder / "hapax.yaml")])


def test_it_has_more_time_than_the_command_takes_to_give_up() -> None:
    from proxy.cli.health import WITHIN

    (said,) = (rest for name, rest in steps() if name == "HEALTHCHECK")
    # To start takes a second or two where the machine is busy.
    assert int(re.search(r"--timeout=(\d+)s", said)[1]) >= WITHIN + 5  # type: ignore[index]


async def test_it_follows_the_port(gateway: GatewayFactory, simulator: Simulator, tmp_path: Path) -> None:
    auth = {"admin_key": ADMIN, "keys": [{"name": "web", "key": "hpx_client_4be19d0c77aa21"}]}
    running = await gateway({"auth": auth})
    for host in ("127.0.0.1", "0.0.0.0", "::"):
        server = {"host": host, "port": running.port}
        result = await asyncio.to_thread(check, tmp_path, server=server, auth=auth)
        assert (result.exit_code, result.stdout, result.stderr) == (0, "alive\n", "")
    result = await asyncio.to_thread(check, tmp_path, server={"port": 1})
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no gateway that answers at http://127.0.0.1:1 " in result.stderr


async def test_it_follows_tls(gateway: GatewayFactory, simulator: Simulator, tmp_path: Path) -> None:
    running = await served(gateway, tmp_path)
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    result = await asyncio.to_thread(check, tmp_path, server={"port": running.port, "tls": tls})
    assert (result.exit_code, result.stdout) == (0, "alive\n")
    assert (await asyncio.to_thread(check, tmp_path, server={"port": running.port})).exit_code == 1


def test_a_configuration_that_cannot_be_used_ends_it_with_2(tmp_path: Path) -> None:
    assert check(tmp_path, server={"port": -1}).exit_code == 2


async def test_it_sends_no_key_and_asks_whether_calls_are_taken_where_that_is_wanted(tmp_path: Path) -> None:
    heard = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"status": "not_ready"}'
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    file = tmp_path / "hapax.yaml"
    port = server.sockets[0].getsockname()[1]
    settings = {"server": {"port": port}, "auth": {"admin_key": ADMIN}, "store": {"url": ""}}
    file.write_text(yaml.safe_dump(settings))
    result = await asyncio.to_thread(CliRunner().invoke, app, ["health", "--ready", "--config", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"The gateway at http://127.0.0.1:{port} answered 503: not_ready" in result.stderr
    assert heard[0].startswith(b"GET /ready HTTP/1.1\r\n")
    assert ADMIN.encode() not in heard[0]
    server.close()
    await server.wait_closed()
