"""The commands as a user meets them: what is printed where, and the exit code."""

import http.server
import os
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import proxy
from proxy.cli.command import app, main
from proxy.cli.ollama import ollama_answers
from proxy.settings import Loaded

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("quiet_machine")


@pytest.fixture
def hapax():
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments), prog_name="hapax")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A server and a simulator that only note what they were started with."""
    calls: list[object] = []
    names = ("proxy.process.server", "proxy.process.supervisor", "proxy.simulator")

    def run(*arguments: object) -> int:
        calls.append(arguments[0] if len(arguments) == 1 else arguments)
        return 0

    for name in names:
        module = types.ModuleType(name)
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return calls


@pytest.mark.as_python
def test_version_prints_the_version(hapax) -> None:
    result = hapax("--version")
    assert (result.exit_code, result.stdout) == (0, f"hapax {proxy.__version__}\n")


@pytest.mark.parametrize("arguments", [("check",), ("--validate",)])
def test_a_valid_configuration_is_called_valid(hapax, arguments) -> None:
    Path("mine.yaml").write_text("server: {port: 9}\n")
    result = hapax(*arguments, "--config", "mine.yaml")
    assert result.exit_code == 0
    assert result.stdout == "Configuration is valid (mine.yaml and the embedded simulator)\n"
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [("check",), ("--validate",)])
def test_every_problem_is_printed_to_standard_error(hapax, arguments) -> None:
    Path("mine.yaml").write_text(
        "server: {port: -1}\nauth: {keys: [{name: a}, {key: sk-hidden, name: [sk-hidden]}]}\ncircuitBreaker: {}\n"
    )
    result = hapax(*arguments, "--config", "mine.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "The configuration has 3 problems:" in result.stderr
    assert "  server.port: must be at least 0, not -1 (line 1, column 10)\n" in result.stderr
    assert "  auth.keys[0].key: is required\n" in result.stderr
    assert "Warning: circuitBreaker" in result.stderr
    assert "sk-hidden" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_terminal_gets_a_table(hapax, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    Path("hapax.yaml").write_text("server: {port: -1}\n")
    result = hapax("check")
    assert result.exit_code == 2
    assert "setting" in result.stderr
    assert "server.port" in result.stderr


def test_check_warns_of_what_is_probably_a_mistake(hapax) -> None:
    Path("hapax.yaml").write_text("providers: {openai: {api_key: changeme}}\n")
    result = hapax("check")
    assert result.exit_code == 0
    assert "Warning: providers.openai.api_key: looks like a placeholder" in result.stderr


def test_a_missing_file_is_said_in_one_sentence(hapax) -> None:
    result = hapax("check", "--config", "nope.yaml")
    assert result.exit_code == 2
    assert "nope.yaml does not exist; give the file with --config" in result.stderr


def test_serve_starts_the_server_with_the_loaded_settings(hapax, started) -> None:
    Path("hapax.yaml").write_text(
        "server: {port: 1, workers: 1}\nauth: {keys: [{name: a, key: hpx_k1_3f9a81c7d2e5}]}\n"
    )
    result = hapax("serve", "--host", "0.0.0.0", "--port", "2", "--workers", "3")
    assert result.exit_code == 0, result.output
    [(loaded, read)] = started  # type: ignore[misc]
    assert isinstance(loaded, Loaded)
    assert read().settings == loaded.settings
    server = loaded.settings.server
    assert (server.host, server.port, server.workers) == ("0.0.0.0", 2, 3)
    assert loaded.source == "hapax.yaml and the embedded simulator"


def test_serve_hands_on_the_servers_exit_code(hapax, started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["proxy.process.server"], "run", lambda loaded, read: 3)
    assert hapax("serve").exit_code == 3


@pytest.mark.parametrize("arguments", [("--port", "70000"), ("--config", "nope.yaml")])
def test_serve_does_not_start_with_a_problem(hapax, started, arguments) -> None:
    result = hapax("serve", *arguments)
    assert result.exit_code == 2
    assert started == []
    assert "problem" in result.stderr


def test_simulate_starts_the_simulator(hapax, started) -> None:
    assert hapax("simulate").exit_code == 0
    assert hapax("simulate", "--host", "::1", "--port", "0").exit_code == 0
    assert started == [("127.0.0.1", 8081), ("::1", 0)]


@pytest.mark.parametrize("command", ["serve", "check", "simulate"])
def test_every_command_explains_itself_with_an_example(hapax, command: str) -> None:
    result = hapax(command, "--help")
    assert result.exit_code == 0
    assert f"Example: hapax {command}" in result.stdout


def test_hapax_alone_shows_what_it_can_do(hapax) -> None:
    result = hapax()
    assert result.exit_code == 2
    assert "simulate" in result.stderr


def test_a_config_without_a_command_says_what_to_write(hapax) -> None:
    result = hapax("--config", "x.yaml")
    assert result.exit_code == 2
    assert "hapax serve --config x.yaml" in result.stderr
    result = hapax("--config", "x.yaml", "check")
    assert result.exit_code == 2
    assert "hapax check --config x.yaml" in result.stderr


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_an_interrupted_command_ends_quietly(monkeypatch: pytest.MonkeyPatch, error, code) -> None:
    def interrupted(**_: object) -> None:
        raise error

    monkeypatch.setattr("proxy.cli.command.app", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code


def test_the_module_runs_like_the_command(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, f"hapax {proxy.__version__}\n")


def test_check_does_not_load_the_gateway(tmp_path: Path) -> None:
    script = "import sys, proxy.cli; print({'proxy.process.server', 'proxy.simulator', 'aiohttp'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert result.stdout == "set()\n"


class _Ollama(http.server.BaseHTTPRequestHandler):
    answer = b'{"version":"0.9.0"}'

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/version" else 404)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


class _SomethingElse(_Ollama):
    answer = b"hello"


@pytest.fixture
def listening() -> Iterator[object]:
    servers: list[http.server.HTTPServer] = []

    def start(handler: type[_Ollama]) -> tuple[str, int]:
        server = http.server.HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return ("127.0.0.1", server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_ollama_is_known_by_its_answer(listening) -> None:
    assert ollama_answers(listening(_Ollama)) is True
    assert ollama_answers(listening(_SomethingElse)) is False


def test_no_answer_is_no_ollama() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        address = silent.getsockname()
        assert ollama_answers(address) is False
        silent.listen()
        assert ollama_answers(address) is False
