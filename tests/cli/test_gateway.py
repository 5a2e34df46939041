"""Where commands find a gateway: what is no address or key is refused, and whose certificate is believed."""

import asyncio
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli.command import app
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.certificates import expire, issue
from tests.rigs.ports import free_port

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
COMMANDS = {
    "log": ("log", "show"),
    "cache": ("cache", "clear"),
    "top": ("top", "--once"),
    "chat": ("chat", "sim-fast", "Hello?"),
}


def hapax(*arguments: str, **variables: str) -> Result:
    return CliRunner(env=variables).invoke(app, list(arguments), prog_name="hapax")


async def asked(*arguments: str, **variables: str) -> Result:
    """The same beside a gateway that runs in this process."""
    return await asyncio.to_thread(hapax, *arguments, **variables)


@pytest.fixture
async def expired(gateway: GatewayFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningGateway:
    """A gateway over TLS whose certificate has expired, with its `hapax.yaml` in the working directory."""
    monkeypatch.chdir(tmp_path)
    issue(tmp_path, "first")
    expire(tmp_path)
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    auth = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
    running = await gateway({"server": {"tls": tls}, "auth": auth})
    settings = {"server": {"port": running.port, "tls": tls}, "auth": auth, "store": {"url": ""}}
    (tmp_path / "hapax.yaml").write_text(yaml.safe_dump(settings))
    return running


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "url", ["http://[::1", "http://", "https:///v1", "http://127.0.0.1:99999", "http://127.0.0.1:port", "127.0.0.1"]
)
def test_what_is_no_url_is_refused(quiet_machine: None, command: str, url: str) -> None:
    result = hapax(*COMMANDS[command], "--url", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "--url must be a URL such as http://127.0.0.1:8080\n"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("end", ["\n", "\r", "\0", "\u201d"])
def test_what_can_be_no_key_is_refused_without_being_shown(quiet_machine: None, command: str, end: str) -> None:
    url = ("--url", f"http://127.0.0.1:{free_port()}")
    result = hapax(*COMMANDS[command], *url, "--admin-key", ADMIN + end)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "--admin-key holds what no key does, such as the end of a line\n"


def test_the_same_of_a_key_from_the_environment(quiet_machine: None) -> None:
    result = hapax("log", "show", HAPAX_ADMIN_KEY=f"{ADMIN}\n")
    assert (result.exit_code, result.stderr) == (2, "--admin-key holds what no key does, such as the end of a line\n")


async def test_a_gateway_whose_certificate_has_expired_lives_and_is_asked(expired: RunningGateway) -> None:
    for arguments, said in (
        (("health",), "alive\n"),
        (("health", "--ready"), "ready\n"),
        (("log", "show"), "Level info, no traces, as configured.\n"),
        (("top", "--once", "--json"), '{\n  "url": "https://127.0.0.1:'),
    ):
        result = await asked(*arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(said)


async def test_an_expired_certificate_is_none_where_the_gateway_is_named(expired: RunningGateway) -> None:
    result = await asked("log", "show", "--url", f"https://127.0.0.1:{expired.port}")
    assert (result.exit_code, "ClientConnectorCertificateError" in result.stderr) == (1, True)


async def test_another_certificate_is_not_believed_though_the_configured_one_has_expired(
    expired: RunningGateway, tmp_path: Path
) -> None:
    issue(tmp_path, "another")
    expire(tmp_path)
    result = await asked("health")
    assert (result.exit_code, "ClientConnectorCertificateError" in result.stderr) == (1, True)
