"""`hapax cache clear`: a running gateway is asked, and what it says is said."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from proxy.cli.command import app
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.simulator import Simulator
from tests.spec.test_tls import issue, served
from tests.spec.wire import ask, becomes, chat

KEY, ADMIN = "hapax-client-4b1e9d7730aa65c2", "hapax-admin-9f2b6c1de04a7788"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}


async def filled(gateway: GatewayFactory, **more: Any) -> RunningGateway:
    running = await gateway({"cache": {"enabled": True}, "auth": AUTH, **more})
    for model in ("sim-fast", "sim-1"):
        await ask(running.port, chat(model, head=f"X-API-Key: {KEY}\r\n"))
    await becomes(lambda: running.listener.gateway.under_way.count == 0)
    return running


async def clear(folder: Path, port: int, *more: str, auth: dict[str, Any] = AUTH, **server: Any) -> Any:
    settings = {"server": {"port": port, **server}, "auth": auth, "store": {"url": ""}}
    (folder / "hapax.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["cache", "clear", "--config", str(folder / "hapax.yaml"), *more]
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_all_are_cleared_or_those_of_a_model_or_a_key(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await filled(gateway)
    for arguments, said in (
        (("--key", "cron"), "0 stored answers cleared.\n"),
        (("--key", "web", "--model", "sim-1"), "1 stored answer cleared.\n"),
        ((), "1 stored answer cleared.\n"),
        ((), "0 stored answers cleared.\n"),
    ):
        result = await clear(tmp_path, running.port, *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (0, said, "")


async def test_another_gateway_is_named_with_its_key(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    running = await filled(gateway)
    result = await clear(tmp_path, 1, "--url", running.url + "/", "--admin-key", ADMIN, auth={})
    assert (result.exit_code, result.stdout) == (0, "2 stored answers cleared.\n")


async def test_what_the_gateway_refuses_is_said(gateway: GatewayFactory, simulator: Simulator, tmp_path: Path) -> None:
    running = await filled(gateway)
    for key, said in (
        (KEY, "403: This path needs the admin key."),
        ("hapax-client-7c20dd5b19e84f36", "401: The API key is not valid."),
    ):
        result = await clear(tmp_path, running.port, "--admin-key", key)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"The gateway at {running.url} answered {said}\n"
    result = await clear(tmp_path, running.port, "--model", "")
    assert (result.exit_code, "answered 400" in result.stderr) == (1, True)


async def test_over_tls_its_certificate_is_the_configured_one_or_nothing_is_told_it(
    gateway: GatewayFactory, simulator: Simulator, tmp_path: Path
) -> None:
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    running = await served(gateway, tmp_path, auth=AUTH)
    result = await clear(tmp_path, running.port, tls=tls)
    assert (result.exit_code, result.stdout) == (0, "0 stored answers cleared.\n")
    # Named by the caller, it is judged by its name and by who has signed it.
    result = await clear(tmp_path, running.port, "--url", running.url, tls=tls)
    assert (result.exit_code, "ClientConnectorCertificateError" in result.stderr) == (1, True)
    issue(tmp_path, "another")
    result = await clear(tmp_path, running.port, tls=tls)
    assert (result.exit_code, "ClientConnectorCertificateError" in result.stderr) == (1, True)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8080", ""])
async def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str, unused_tcp_port: int) -> None:
    result = await clear(tmp_path, unused_tcp_port, "--url", url)
    if url:
        assert (result.exit_code, "--url must be a URL" in result.stderr) == (2, True)
    else:
        assert (result.exit_code, "There is no gateway that answers at" in result.stderr) == (1, True)
    assert ADMIN not in result.output


async def test_the_key_goes_to_no_address_that_it_is_led_to(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]], tmp_path: Path
) -> None:
    paths = []

    async def lead_on(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        return web.json_response({}, status=307, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", lead_on)
    server = await aiohttp_server(application)
    result = await clear(tmp_path, 1, "--url", str(server.make_url("/")), "--admin-key", ADMIN)
    assert (result.exit_code, "answered 307" in result.stderr) == (1, True)
    assert paths == ["/admin/cache"]
