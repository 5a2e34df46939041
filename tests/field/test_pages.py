"""While there are no keys, names of other machines and pages of other sites are sent away."""

import pytest

from tests.conftest import GatewayFactory
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask as asked
from tests.spec.wire import calls, chat, get, request

PATHS = [
    "/v1/models",
    "/v1/files",
    "/admin/providers",
    "/admin/usage",
    "/metrics",
    "/debug",
    "/health",
    "/",
    "/v1/usage",
]
FOREIGN = [
    pytest.param("evil.example", id="a name of another site's"),
    pytest.param("evil.example:8080", id="with a port"),
    pytest.param("localhost.evil.example", id="a name that begins like ours"),
    pytest.param("evil-localhost", id="a name that ends like ours"),
    pytest.param("127.0.0.1.nip.io", id="a name that is resolved to its own first part"),
    pytest.param("192.168.1.7", id="another address"),
    pytest.param("0.0.0.0", id="the address of everything"),
    pytest.param("[2001:db8::1]:80", id="another IPv6 address"),
    pytest.param("127.0.0.1@evil.example", id="a user that looks like us"),
    pytest.param("gateway.local", id="a name of the local network"),
    pytest.param("", id="an empty name"),
]


def under(host: str, data: bytes) -> bytes:
    return data.replace(b"Host: 127.0.0.1", b"Host: " + host.encode(), 1)


@pytest.mark.parametrize("host", FOREIGN)
async def test_an_open_gateway_does_not_answer_to_a_name_of_another_machine(
    gateway: GatewayFactory, simulator: Simulator, host: str
) -> None:
    running = await gateway()
    for data in (chat(), *(get(path) for path in PATHS)):
        answer = await asked(running.port, under(host, data))
        assert (answer.status, answer.code) == (403, "host_not_allowed")
    assert calls(simulator) == []


@pytest.mark.parametrize(
    "host",
    [
        "LOCALHOST",
        "localhost.",
        "app.localhost:3000",
        "127.8.8.8",
        "[::ffff:127.0.0.1]:80",
        "host.docker.internal:8080",
    ],
)
async def test_every_name_of_this_machine_is_answered(gateway: GatewayFactory, host: str) -> None:
    """RFC 6761 section 6.3, RFC 1122 section 3.2.1.3, and what containers call their host."""
    running = await gateway()
    assert (await asked(running.port, under(host, chat()))).status == 200


async def test_the_address_that_was_configured_is_a_name_too(gateway: GatewayFactory) -> None:
    running = await gateway({"server": {"host": "localhost"}})
    assert (await asked(running.port, under("localhost:99", chat()))).status == 200


@pytest.mark.parametrize("path", ["/live", "/ready", "/health/live", "/health/ready"])
async def test_a_probe_may_ask_under_any_name(gateway: GatewayFactory, path: str) -> None:
    running = await gateway()
    await running.listener.gateway.checks.known.wait()
    answer = await asked(running.port, under("pod-7.cluster", get(path)))
    assert "error" not in answer.json


async def test_http_1_0_without_a_host_is_answered(gateway: GatewayFactory) -> None:
    """No browser sends that."""
    running = await gateway()
    assert (await asked(running.port, b"GET /v1/models HTTP/1.0\r\n\r\n")).status == 200


async def test_with_a_key_any_name_and_any_origin_are_answered(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": {"keys": [{"name": "a", "key": "good-key"}]}})
    data = chat(head="X-API-Key: good-key\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n")
    assert (await asked(running.port, under("gateway.example", data))).status == 200


PAGES = [
    pytest.param("Origin: https://evil.example", id="a page of another site"),
    pytest.param("Origin: null", id="a page in a sandbox, or a file"),
    pytest.param("Origin: http://localhost:3000", id="a page of another server on this machine"),
    pytest.param("Origin: http://127.0.0.1.evil.example", id="a site that begins like ours"),
    pytest.param("Origin: chrome-extension://abcdef", id="an extension of a browser"),
    pytest.param("Origin: file://127.0.0.1", id="a file that names us"),
    pytest.param("Origin:", id="an origin without a name"),
]


@pytest.mark.parametrize("line", PAGES)
async def test_a_page_of_another_site_may_not_call_an_open_gateway(
    gateway: GatewayFactory, simulator: Simulator, line: str
) -> None:
    """Whether or not it would have to ask first: a form and a text are sent without that."""
    running = await gateway()
    form = "Content-Type: multipart/form-data; boundary=x\r\n"
    for data in (
        chat(head=f"{line}\r\n"),
        request("/v1/files", b"--x--\r\n", head=f"{form}{line}\r\n"),
        request("/v1/chat/completions", b"{}", head=f"Content-Type: text/plain\r\n{line}\r\n"),
        *(get(path, head=f"{line}\r\n") for path in PATHS),
        request("/admin/keys", {"name": "a"}, head=f"{line}\r\n"),
    ):
        answer = await asked(running.port, data)
        assert (answer.status, answer.code) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.names
    assert calls(simulator) == []


async def test_a_page_of_ours_may_call(gateway: GatewayFactory) -> None:
    running = await gateway()
    head = f"Origin: http://localhost:{running.port}\r\nSec-Fetch-Site: same-origin\r\n"
    assert (await asked(running.port, under(f"localhost:{running.port}", chat(head=head)))).status == 200


@pytest.mark.parametrize("listed", ["http://localhost:3000", "http://localhost:*", "*"])
async def test_a_page_that_the_operator_listed_may_call(gateway: GatewayFactory, listed: str) -> None:
    running = await gateway({"server": {"cors": {"allow_origins": [listed]}}})
    answer = await asked(running.port, chat(head="Origin: http://localhost:3000\r\nSec-Fetch-Site: cross-site\r\n"))
    assert answer.status == 200
    credentials = None if listed == "*" else "true"
    assert answer.header("access-control-allow-credentials") == credentials


@pytest.mark.parametrize("path", ["/v1/models", "/admin/usage", "/metrics"])
async def test_a_link_or_an_image_of_another_site_opens_no_page_of_the_api(gateway: GatewayFactory, path: str) -> None:
    """Browsers name no origin with these: https://www.w3.org/TR/fetch-metadata."""
    running = await gateway()
    head = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"
    assert (await asked(running.port, get(path, head=head))).code == "origin_not_allowed"
    assert (await asked(running.port, get("/", head=head))).status == 200
    assert (await asked(running.port, get(path, head="Sec-Fetch-Site: none\r\n"))).status != 403


@pytest.mark.parametrize(
    ("listed", "granted"),
    [
        ("*", False),
        ("https://*", False),
        ("https://*.com", False),
        ("https://app.example.com", True),
        ("https://*.example.com", True),
    ],
)
async def test_a_private_network_and_credentials_are_for_origins_that_were_named(
    gateway: GatewayFactory, listed: str, granted: bool
) -> None:
    running = await gateway({"server": {"cors": {"allow_origins": [listed]}}})
    head = "Origin: https://app.example.com\r\nAccess-Control-Request-Method: POST\r\n"
    head += "Access-Control-Request-Private-Network: true\r\n"
    answer = await asked(running.port, request("/v1/chat/completions", method="OPTIONS", head=head))
    assert answer.status == 204
    assert answer.header("access-control-allow-origin") == "https://app.example.com"
    expected = "true" if granted else None
    assert answer.header("access-control-allow-credentials") == expected
    assert answer.header("access-control-allow-private-network") == expected
