"""The gateway as a page in a real browser meets it over QUIC."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.conftest import GatewayFactory, RunningGateway
from tests.rigs.browser import PageServer, visit
from tests.rigs.quic import issue
from tests.rigs.simulator import Simulator

from .helpers import KEY, MODEL, asking, calls, chat_text, ended_by_client, settings

pytestmark = pytest.mark.timeout(300)


class Served:
    """A gateway with both doors, and how a browser is told to trust them."""

    def __init__(self, running: RunningGateway, certificate: Path) -> None:
        self.running = running
        assert running.listener.door is not None
        self.port = running.listener.door.port
        key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.flags = (
            f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}",
            # The gateway of the rig is at this address alone, and a browser tries ::1 first.
            "--host-resolver-rules=MAP localhost 127.0.0.1",
        )
        self.forced = (*self.flags, f"--origin-to-force-quic-on=localhost:{self.port}")

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}/v1"


@pytest.fixture
async def served(gateway: GatewayFactory, simulator: Simulator, pages: PageServer, tmp_path: Path) -> Served:
    """It allows the origin of the page."""
    files = issue(tmp_path)
    server: dict[str, Any] = {
        "cors": {"allow_origins": [pages.origin]},
        "tls": {"cert_file": files["tls_cert_file"], "key_file": files["tls_key_file"]},
        "http3": {"enabled": True, "port": 0, **files},
    }
    running = await gateway(settings(simulator.base_url, server=server))
    return Served(running, Path(files["tls_cert_file"]))


async def test_a_page_streams_a_chat_over_quic(pages: PageServer, served: Served) -> None:
    ended = served.running.observed()
    seen = await visit(pages, "fetch_chat", flags=served.forced, base_url=served.base_url, api_key=KEY, model=MODEL)
    assert seen["status"] == 200
    assert seen["type"].startswith("text/event-stream")
    assert seen["request_id"]
    assert seen["text"].endswith("data: [DONE]\n\n")
    assert chat_text(seen["text"])
    served.running.caught_up()
    # The preflight too.
    assert [(each.method, each.protocol, each.outcome.value) for each in ended] == [
        ("OPTIONS", "h3", "ok"),
        ("POST", "h3", "ok"),
    ]


async def test_a_page_does_not_take_a_broken_answer_for_a_whole_one(pages: PageServer, served: Served) -> None:
    seen = await visit(
        pages, "cut_chat", flags=served.forced, base_url=served.base_url, api_key=KEY, model=asking("rst@5")
    )
    assert (seen["status"], seen["end"]) == (200, "TypeError")
    assert '"error"' in seen["text"].split("\n\n")[-2]
    assert "[DONE]" not in seen["text"]


async def test_a_page_that_stops_reading_ends_the_call_upstream(
    pages: PageServer, served: Served, simulator: Simulator
) -> None:
    seen = await visit(
        pages,
        "fetch_chat",
        flags=served.forced,
        base_url=served.base_url,
        api_key=KEY,
        model=asking("forever", "pace=5ms"),
        read_all=False,
    )
    assert seen["status"] == 200
    await ended_by_client(calls(simulator)[-1])


async def test_a_browser_finds_the_door_by_what_answers_over_tcp_say(pages: PageServer, served: Served) -> None:
    ended = served.running.observed()
    url = f"https://localhost:{served.running.port}/live"
    # Of a certificate that no known root has signed QUIC wants to be told as well, which is done by naming an origin.
    flags = (*served.flags, "--origin-to-force-quic-on=localhost:1")
    assert await visit(pages, "come_again", flags=flags, url=url, times=30) == [200] * 30
    served.running.caught_up()
    assert (ended[0].protocol, ended[-1].protocol) == ("http/1.1", "h3")
