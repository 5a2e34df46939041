"""HTTPS: calls and WebSockets over TLS, handshakes that are none, and certificates that change."""

import asyncio
import errno
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, TCPConnector, WSMsgType, web
from aiohttp.pytest_plugin import AiohttpServer

from proxy.settings import SettingsError
from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.certificates import issue
from tests.spec.loop import until

CHAT = {"model": "sim-fast", "messages": [{"role": "user", "content": "Hello"}], "stream": True}


async def served(gateway: GatewayFactory, folder: Path, **sections: Any) -> RunningGateway:
    """A gateway that serves TLS with the certificate in *folder*."""
    issue(folder, "first")
    tls = {"cert_file": str(folder / "server.pem"), "key_file": str(folder / "server.key")}
    return await gateway({"server": {"tls": tls}, **sections})


def trusting(folder: Path) -> ssl.SSLContext:
    """A client's settings that trust the certificate in *folder* and no other."""
    return ssl.create_default_context(cafile=str(folder / "server.pem"))


async def shown(port: int, context: ssl.SSLContext) -> str:
    """Whose certificate a new connection is shown."""
    _, writer = await asyncio.open_connection("localhost", port, ssl=context)
    (name,) = [value for ((_, value),) in writer.get_extra_info("peercert")["subject"]]
    writer.close()
    return str(name)


async def test_a_stream_over_tls_is_whole(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await served(gateway, tmp_path)
    assert running.listener.url == f"https://127.0.0.1:{running.port}"
    async with (
        ClientSession(connector=TCPConnector(ssl=trusting(tmp_path))) as client,
        client.post(f"https://localhost:{running.port}/v1/chat/completions", json=CHAT) as answer,
    ):
        assert (answer.status, answer.version) == (200, (1, 1))
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")


async def test_a_websocket_over_tls_is_relayed(
    gateway: GatewayFactory, tmp_path: Path, aiohttp_server: AiohttpServer
) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        other = web.WebSocketResponse()
        await other.prepare(request)
        async for message in other:
            await other.send_str(f"heard {message.data}")
        return other

    provider = web.Application()
    provider.router.add_get("/v1/realtime", echo)
    server = await aiohttp_server(provider)
    sim = {"type": "compatible", "base_url": str(server.make_url("/v1")), "models": ["sim-*"]}
    running = await served(gateway, tmp_path, providers={"sim": sim})
    async with (
        ClientSession(connector=TCPConnector(ssl=trusting(tmp_path))) as client,
        client.ws_connect(f"wss://localhost:{running.port}/v1/realtime?model=sim-fast") as other,
    ):
        await other.send_str("one")
        message = await other.receive()
        assert (message.type, message.data) == (WSMsgType.TEXT, "heard one")


@pytest.mark.parametrize("name", ["unknown.example", None], ids=["an unknown name", "no name"])
async def test_whatever_name_a_client_asks_for_it_is_shown_the_one_certificate(
    gateway: GatewayFactory, tmp_path: Path, name: str | None
) -> None:
    """RFC 6066 section 3: a server that does not know the name may go on, and the client judges."""
    running = await served(gateway, tmp_path)
    asking = trusting(tmp_path)
    asking.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = asking.wrap_bio(incoming, outgoing, server_hostname=name)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    async with asyncio.timeout(30):
        while True:
            try:
                handshake.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
    writer.close()
    certificate_shown = handshake.getpeercert()
    assert certificate_shown is not None
    assert certificate_shown["subject"] == ((("commonName", "first"),),)


async def test_a_client_that_asks_for_another_name_does_not_go_on(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await served(gateway, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unknown\.example"):
        await asyncio.open_connection(
            "127.0.0.1", running.port, ssl=trusting(tmp_path), server_hostname="unknown.example"
        )
    assert await shown(running.port, trusting(tmp_path)) == "first"


async def test_outdated_versions_are_refused(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await served(gateway, tmp_path)
    old = trusting(tmp_path)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with ClientSession(connector=TCPConnector(ssl=old)) as client:
        with pytest.raises(ClientConnectorError):
            await client.get(f"https://localhost:{running.port}/live")


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /live HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"],
    ids=["nothing", "http", "half"],
)
async def test_a_handshake_that_is_none_costs_no_other_client(
    gateway: GatewayFactory, tmp_path: Path, said: bytes
) -> None:
    running = await served(gateway, tmp_path)
    for linger in (b"\x00" * 8, b"\x01\x00\x00\x00\x00\x00\x00\x00"):
        with socket.create_connection(("127.0.0.1", running.port)) as other:
            other.sendall(said)
            # With the second it ends by a reset.
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    async with ClientSession(connector=TCPConnector(ssl=trusting(tmp_path))) as client:
        assert (await client.get(f"https://localhost:{running.port}/live")).status == 200
    await until(lambda: not running.listener.gateway.served.open)


async def test_a_certificate_whose_files_have_changed_is_shown_to_new_connections(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    running = await served(gateway, tmp_path)
    assert await shown(running.port, trusting(tmp_path)) == "first"
    old = trusting(tmp_path)
    async with ClientSession(connector=TCPConnector(ssl=old)) as client:
        assert (await client.get(f"https://localhost:{running.port}/live")).status == 200
        issue(tmp_path, "second")
        await running.reload()
        assert await shown(running.port, trusting(tmp_path)) == "second"
        # One that is open keeps what it began with.
        assert (await client.get(f"https://localhost:{running.port}/live")).status == 200


async def test_a_pair_that_does_not_fit_changes_nothing(gateway: GatewayFactory, tmp_path: Path) -> None:
    running = await served(gateway, tmp_path)
    trusted = trusting(tmp_path)
    shutil.copy(tmp_path / "server.key", tmp_path / "kept.key")
    issue(tmp_path, "second")
    shutil.copy(tmp_path / "kept.key", tmp_path / "server.key")
    with pytest.raises(SettingsError, match=r"^server\.tls: the certificate cannot be used: "):
        await running.reload()
    assert await shown(running.port, trusted) == "first"


async def test_without_descriptors_for_another_certificate_nothing_changes(
    gateway: GatewayFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await served(gateway, tmp_path)
    trusted = trusting(tmp_path)
    issue(tmp_path, "second")

    def none_left(self: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as without:
        without.setattr(socket.socket, "dup", none_left)
        with pytest.raises(SettingsError, match="Too many open files"):
            await running.reload(logging={"level": "error"})
    assert running.listener.gateway.settings.logging.level != "error"
    assert await shown(running.port, trusted) == "first"


async def test_tls_comes_goes_and_takes_other_files_without_a_refused_client(
    gateway: GatewayFactory, tmp_path: Path
) -> None:
    issue(tmp_path, "first")
    other = tmp_path / "other"
    other.mkdir()
    issue(other, "second")
    running = await gateway({})
    plain = f"http://localhost:{running.port}/live"
    async with ClientSession() as client:
        assert (await client.get(plain)).status == 200
        for folder, name in ((tmp_path, "first"), (other, "second")):
            tls = {"cert_file": str(folder / "server.pem"), "key_file": str(folder / "server.key")}
            await running.reload(server={"tls": tls})
            assert running.listener.url == f"https://127.0.0.1:{running.port}"
            assert await shown(running.port, trusting(folder)) == name
            # One that was open before there was any goes on without.
            assert (await client.get(plain)).status == 200
        await running.reload(server={"tls": None})
    async with ClientSession() as client:
        assert (await client.get(plain)).status == 200
    await running.listener.drain(0.0, 1.0)
    # A reload that comes so late opens no door again.
    await running.reload(server={"tls": tls})
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", running.port)
