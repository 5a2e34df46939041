"""`hapax top` as an operator runs it: in a terminal, before a gateway that serves a simulated provider."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from proxy.cli.command import app
from proxy.process.listener import Listener
from proxy.settings import Settings
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.built import python_path
from tests.rigs.ports import free_port
from tests.rigs.simulator import Simulator
from tests.rigs.terminal import ALTERNATE, HIDDEN, INTERRUPT, NORMAL, SHOWN, Terminal, environment, in_terminal
from tests.spec.test_tls import served
from tests.spec.wire import ask, becomes, chat

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
ENTER, ESCAPE, DOWN = "\r", "\x1b", "\x1b[B"


@asynccontextmanager
async def top(
    url: str, folder: Path, *more: str, width: int = 80, height: int = 24, **env: str
) -> AsyncIterator[Terminal]:
    """The command in a terminal; *env*: variables beside those it needs."""
    command = (sys.executable, "-m", "proxy", "top", "--url", url, *more)
    variables = environment(**{"HAPAX_ADMIN_KEY": ADMIN, **env})
    async with in_terminal(*command, env=variables, width=width, height=height, cwd=folder) as terminal:
        yield terminal


async def call(port: int, name: str, model: str = "sim-fast") -> None:
    await ask(port, chat(model, head=f"X-API-Key: {KEY}\r\nX-Request-ID: {name}\r\n"))


async def test_a_call_is_shown_as_it_ends_and_the_terminal_is_as_before_when_it_is_left(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway({"auth": AUTH})
    await call(running.port, "before")
    async with top(running.url, tmp_path) as terminal:
        before = terminal.modes
        await terminal.shows("live")
        # One that had ended before, and one that ends now.
        await terminal.shows("sim-fast")
        await call(running.port, "now", "sim-1")
        screen = await terminal.shows("sim-1")
        assert "2/min" in screen
        assert "healthy" in screen
        assert terminal.modes != before
        terminal.press("q")
        assert await terminal.ended() == 0
        assert terminal.modes == before
    for begun, over in ((ALTERNATE, NORMAL), (HIDDEN, SHOWN)):
        assert begun in terminal.written
        assert terminal.written.rindex(over) > terminal.written.rindex(begun)


async def test_keys_sort_filter_pause_and_open_a_trail(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path, width=120, height=40) as terminal:
        await terminal.shows("live")
        await call(running.port, "one", "sim-fast")
        await call(running.port, "two", "sim-fault:status=400")
        await terminal.shows("sim-fault")
        terminal.press("/FAST")
        await terminal.becomes(lambda screen: "sim-fault" not in screen and "with FAST" in screen)
        terminal.press(ESCAPE)
        await terminal.shows("sim-fault")
        terminal.press("f")
        await terminal.becomes(lambda screen: "failing only" in screen and "sim-fast" not in screen)
        terminal.press("fs")
        await terminal.shows("Calls, slowest first")
        terminal.press("p")
        await terminal.shows("paused")
        await call(running.port, "three", "sim-1")
        terminal.press("S")
        drawn = terminal.frames
        # Drawn again and again, and still without it.
        await terminal.becomes(lambda screen: terminal.frames > drawn + 3)
        assert "sim-1" not in await terminal.shows("Calls, newest first")
        terminal.press("p")
        await terminal.shows("sim-1")
        terminal.press(DOWN + ENTER)
        screen = await terminal.shows("waiting for content")
        assert "Call three" in screen
        assert "sim/sim-1" in screen
        terminal.press(ESCAPE)
        await terminal.shows("Calls, newest first")
        terminal.press("\t\t")
        await terminal.becomes(lambda screen: "breakers" in screen and "Calls," not in screen)
        terminal.press("q")
        assert await terminal.ended() == 0


@asynccontextmanager
async def serving(port: int, simulator: Simulator, auth: dict[str, Any] = AUTH) -> AsyncIterator[RunningGateway]:
    """A gateway at a port that another one may have had."""
    settings = {
        "server": {"host": "127.0.0.1", "port": port},
        "providers": {"sim": provider(simulator)},
        "store": {"url": ""},
        "auth": auth,
    }
    listener = Listener(Settings.model_validate(settings))
    await listener.start()
    try:
        yield RunningGateway(listener)
    finally:
        await listener.stop()


async def test_it_goes_on_when_the_gateway_was_restarted(simulator: Simulator, tmp_path: Path) -> None:
    port = free_port()
    async with serving(port, simulator) as running, top(running.url, tmp_path) as terminal:
        await terminal.shows("live")
        await call(port, "one")
        await terminal.shows("sim-fast")
        await running.listener.stop()
        await terminal.shows("reconnecting")
        async with serving(port, simulator):
            # Before it is known again, so that it has to be asked for.
            await call(port, "two", "sim-1")
            screen = await terminal.becomes(lambda screen: "live" in screen and "sim-1" in screen)
            assert "sim-fast" in screen
            terminal.press("q")
            assert await terminal.ended() == 0


async def test_a_key_that_is_refused_after_a_restart_ends_it_with_a_sentence(
    simulator: Simulator, tmp_path: Path
) -> None:
    port = free_port()
    async with serving(port, simulator) as running, top(running.url, tmp_path) as terminal:
        await terminal.shows("live")
        await running.listener.stop()
        async with serving(port, simulator, {**AUTH, "admin_key": "hapax-admin-another-c27b1d0e"}):
            assert await terminal.ended() == 1
    assert "does not know this key: give its auth.admin_key" in " ".join(terminal.written.rpartition(NORMAL)[2].split())
    assert terminal.written.count(NORMAL) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
async def test_a_signal_leaves_the_terminal_as_it_was(
    gateway: GatewayFactory, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path) as terminal:
        before = terminal.modes
        await terminal.shows("live")
        if number is signal.SIGINT:
            terminal.press(INTERRUPT)
        else:
            terminal.process.send_signal(number)
        assert await terminal.ended() == code
        assert terminal.modes == before
    assert "Traceback" not in terminal.written
    assert terminal.written.rindex(NORMAL) > terminal.written.rindex(ALTERNATE)


async def test_a_crash_leaves_the_terminal_as_it_was(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH})
    (tmp_path / "sitecustomize.py").write_text(
        "import proxy.cli.top.frame as frame\ndrawn = frame._calls\n"
        "def broken(picture, view, width, room):\n"
        "    if view.bad_only: raise ZeroDivisionError('a fault')\n"
        "    return drawn(picture, view, width, room)\n"
        "frame._calls = broken\n"
    )
    async with top(running.url, tmp_path, PYTHONPATH=f"{tmp_path}:{python_path()}") as terminal:
        before = terminal.modes
        await terminal.shows("live")
        terminal.press("f")
        assert await terminal.ended() == 1
        assert terminal.modes == before
    # What is wrong is said on the screen that stays.
    assert "ZeroDivisionError: a fault" in terminal.written.rpartition(NORMAL)[2]
    assert SHOWN in terminal.written.rpartition(HIDDEN)[2]


async def test_a_stop_gives_the_terminal_back_and_going_on_takes_it_again(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path) as terminal:
        before = terminal.modes
        await terminal.shows("live")
        terminal.press("\x1a")
        await becomes(lambda: terminal.modes == before)
        await becomes(
            lambda: Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        )
        terminal.process.send_signal(signal.SIGCONT)
        await becomes(lambda: terminal.modes != before)
        terminal.press("q")
        assert await terminal.ended() == 0
        assert terminal.modes == before
    assert terminal.written.count(ALTERNATE) == 2


async def test_a_window_that_changes_is_filled(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path) as terminal:
        await terminal.shows("q quit")
        terminal.resize(200, 60)
        await terminal.becomes(lambda screen: screen.count("\n") == 59 and "q quit" in screen.split("\n")[-1])
        terminal.press("q")
        assert await terminal.ended() == 0


async def test_without_colours_none_is_drawn(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path, NO_COLOR="1") as terminal:
        await terminal.shows("healthy")
        terminal.press("q")
        assert await terminal.ended() == 0
    assert "\x1b[32m" not in terminal.written
    assert "\x1b[31m" not in terminal.written


async def test_letters_that_the_terminal_does_not_have_are_replaced(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await gateway({"auth": AUTH})
    async with top(running.url, tmp_path, PYTHONIOENCODING="ascii") as terminal:
        assert "?? choose" in await terminal.shows("q quit")
        terminal.press("q")
        assert await terminal.ended() == 0


async def asked(*arguments: str, key: str | None = ADMIN) -> Any:
    """The result of the command without a terminal."""
    env = {"HAPAX_ADMIN_KEY": key}
    return await asyncio.to_thread(CliRunner(env=env).invoke, app, ["top", *arguments])


async def test_one_snapshot_for_scripts_is_json(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = [{"name": "web", "key": KEY, "limits": {"requests_per_minute": 10}, "budget": {"usd": 5, "per": "day"}}]
    running = await gateway({"auth": {**AUTH, "keys": keys}, "store": {"url": f"sqlite:///{tmp_path}/hapax.db"}})
    await call(running.port, "one")
    await call(running.port, "two", "sim-fault:status=400")
    result = await asked("--once", "--json", "--url", running.url)
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert (told["url"], told["span_seconds"], told["workers"]) == (running.url, 60.0, 1)
    assert told["figures"]["calls"] == 2
    assert [each["request_id"] for each in told["latest"]] == ["two", "one"]
    assert [each["request_id"] for each in told["failing"]] == ["two"]
    [sim] = told["providers"]
    assert (sim["name"], sim["state"], sim["attempts"]) == ("sim", "healthy", 2)
    assert {(use["of"], use["amount"]) for use in told["keys"]} == {("calls/min", 10), ("usd/day", 5.0)}


async def test_one_frame_is_printed_without_a_terminal(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = await gateway({"auth": AUTH})
    await call(running.port, "one")
    result = await asked("--once", "--url", running.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "sim-fast" in result.stdout
    assert "\x1b" not in result.stdout
    assert not any(line.endswith(" ") for line in result.stdout.splitlines())


async def test_what_is_wrong_is_said_in_a_sentence_with_what_to_do(
    gateway: GatewayFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = await gateway({"auth": AUTH})
    give = "give its auth.admin_key in HAPAX_ADMIN_KEY or with --admin-key\n"
    for key, said in (
        (None, f"The gateway at {running.url} asks for its admin key: {give}"),
        ("hapax-client-7c20dd5b19e84f36", f"The gateway at {running.url} does not know this key: {give}"),
        (KEY, f"This is not the admin key of the gateway at {running.url}: {give}"),
    ):
        result = await asked("--once", "--url", running.url, key=key)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)
    nowhere = f"http://127.0.0.1:{free_port()}"
    result = await asked("--once", "--url", nowhere)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"There is no gateway that answers at {nowhere} (")
    assert result.stderr.count("\n") == 1


async def test_what_answers_but_is_no_gateway_is_said(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = await asked("--once", "--url", simulator.base_url.removesuffix("/v1"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("There is no gateway that answers at http://127.0.0.1:")


async def test_over_tls_its_certificate_is_the_configured_one(gateway: GatewayFactory, tmp_path: Path) -> None:
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    running = await served(gateway, tmp_path, auth=AUTH)
    file = tmp_path / "hapax.yaml"
    file.write_text(yaml.safe_dump({"server": {"port": running.port, "tls": tls}, "auth": AUTH, "store": {"url": ""}}))
    assert (await asked("--once", "--config", str(file), key=None)).exit_code == 0
    result = await asked("--once", "--config", str(file), "--url", running.url)
    assert (result.exit_code, "ClientConnectorCertificateError" in result.stderr) == (1, True)


async def test_a_gateway_without_keys_is_looked_at_without_one(
    gateway: GatewayFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = await gateway()
    assert (await asked("--once", "--url", running.url, key=None)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--json",), "--json goes with --once\n"),
        ((), "There is no terminal to draw on; use --once, or --once --json in a script\n"),
        (("--once", "--url", "ftp://127.0.0.1"), "--url must be a URL such as http://127.0.0.1:8080\n"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = await asked(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", said)
