"""When a certificate expires, as its file says, and as the figure of a gateway that shows it does."""

import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.process.certificate import expiry
from tests.conftest import GatewayFactory
from tests.rigs.certificates import issue


def made(folder: Path, days: int) -> tuple[str, float]:
    """A certificate in PEM that is good for so long, and until when, as OpenSSL reads it."""
    command = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    named = ("-keyout", "key.pem", "-out", "cert.pem", "-days", str(days), "-subj", "/CN=localhost")
    subprocess.run([*command, *named], check=True, capture_output=True, cwd=folder)
    return (folder / "cert.pem").read_text(), enddate(folder / "cert.pem")


def enddate(file: Path) -> float:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate", "-in", str(file)], check=True, capture_output=True, text=True
    )
    date = " ".join(shown.stdout.partition("=")[2].split())
    return datetime.strptime(date, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("days", [1, 400, 20_000])
def test_a_certificate_tells_when_it_expires_in_either_form_of_a_date(tmp_path: Path, days: int) -> None:
    """Behind 2049 the year has four digits."""
    pem, until = made(tmp_path, days)
    assert expiry(pem) == until


def test_it_may_stand_behind_its_key_and_before_those_of_its_chain(tmp_path: Path) -> None:
    pem, until = made(tmp_path, 3)
    key = (tmp_path / "key.pem").read_text()
    other, _ = made(tmp_path, 30)
    assert expiry(f"for localhost\n{key}{pem}{other}") == until


def test_a_file_without_a_certificate_tells_nothing() -> None:
    assert expiry("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n") is None


@pytest.mark.parametrize("date", [b"\x17\x0b2612312359Z", b"\x17\x0d261331235959Z", b"\x17\x01\xff", b"\x17", b""])
def test_a_date_that_cannot_be_read_tells_nothing_and_stops_no_start(date: bytes) -> None:
    def within(tag: int, content: bytes) -> bytes:
        return bytes((tag, len(content))) + content

    fields = within(0x02, b"\x01") + within(0x30, b"") + within(0x30, b"")
    der = within(0x30, within(0x30, fields + within(0x30, within(0x17, b"260101000000Z") + date)))
    assert expiry(ssl.DER_cert_to_PEM_cert(der)) is None


async def test_a_gateway_shows_the_end_of_the_certificate_in_use(gateway: GatewayFactory, tmp_path: Path) -> None:
    issue(tmp_path, "first")
    tls = {"cert_file": str(tmp_path / "server.pem"), "key_file": str(tmp_path / "server.key")}
    running = await gateway({"server": {"tls": tls}})
    first = enddate(tmp_path / "server.pem")
    name, labels = "hapax_certificate_expiry_timestamp_seconds", {"listener": "https"}
    assert running.metric(name, **labels) == first
    pem, later = made(tmp_path, 90)
    (tmp_path / "server.pem").write_text(pem)
    (tmp_path / "key.pem").rename(tmp_path / "server.key")
    # Replaced, and not yet in use.
    assert running.metric(name, **labels) == first
    await running.reload(server={"tls": tls})
    assert running.metric(name, **labels) == later
