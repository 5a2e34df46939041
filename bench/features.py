"""
`python -m bench.features`: what single flight, stored answers and HTTP/3 cost a call, and that switched off they cost
nothing, told in a minute: the CPU of the gateway for each call, in short turns one after the other, the least of each.
And what the feed of events costs a call while it has no reader, by itself: turns of a gateway differ by more.

The gateway is the one `bench` measures, with its keys, limits, ledger and log.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from bench import subjects
from bench.guard import CONNECTIONS, MODEL, turn
from bench.http3 import ask_for
from bench.load import request
from bench.subjects import GATEWAY, Subject
from proxy.admin.feed import MOST_KEPT, Feed
from proxy.core.exchange import Exchange
from proxy.core.peers import NoPeers

TURNS = 12
QUIC_TURNS, QUIC_SECONDS = 4, 2.0
"""Fewer and longer ones over HTTP/3: its client, of Python, asks much more slowly."""
FEED_MOST = 1e-6
"""Seconds that the feed may cost a call while it has no reader."""
HANDED_OVER = 4
"""Calls that end together, as a gateway with a few hundred calls a second hands them to its observers."""
NO_FLIGHT = "deduplication: {{mode: 'off'}}\n"
CACHE = NO_FLIGHT + "cache: {{enabled: true}}\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to ask, and what has to be switched on for it."""

    what: str
    settings: str
    asking: tuple[bytes, ...]


def ask(temperature: float, headers: str = "", different: bool = False) -> tuple[bytes, ...]:
    """A question for each connection, or one for all of them."""
    prompts = [f"Question {number}" for number in range(CONNECTIONS)] if different else ["One question"]
    return tuple(request(MODEL, False, headers, prompt=prompt, temperature=temperature) for prompt in prompts)


CASES = (
    Case("everything off", NO_FLIGHT, ask(0.7)),
    Case("deduplication: deterministic, a call that may not share", "", ask(0.7)),
    Case("the same, one that may and is alone with its question", "", ask(0, different=True)),
    Case(f"the same, {CONNECTIONS} at once with one question", "", ask(0)),
    Case("cache: an answer that is stored", CACHE, ask(0.7)),
    Case("cache: an answer that takes its place", CACHE, ask(0.7, "Cache-Control: no-cache\r\n")),
)


async def measure(scratch: Path) -> list[tuple[str, float]]:
    """Microseconds a call, by case."""
    subject_core, load_core = subjects.cores()
    with contextlib.ExitStack() as running:
        running.enter_context(subjects.on_core(load_core))
        provider = running.enter_context(subjects.provider(load_core, scratch))
        gateways = {}
        for number, case in enumerate(CASES):
            gateway = subjects.hapax(f"case{number}", GATEWAY + case.settings, provider.url, {subject_core}, scratch)
            gateways[case] = running.enter_context(gateway)
        least = dict.fromkeys(CASES, float("inf"))
        for _ in range(TURNS):
            for case, gateway in gateways.items():
                least[case] = min(least[case], await turn(gateway, case.asking))
        found = [(case.what, seconds * 1e6) for case, seconds in least.items()]
        quic, port, trusted = _http3(provider.url, subject_core, scratch)
        running.enter_context(quic)
        seconds = min([await ask_for(port, trusted, quic.cpu, QUIC_SECONDS) for _ in range(QUIC_TURNS)])
        return [*found, ("HTTP/3, everything else off", seconds * 1e6)]


def _http3(upstream: str, core: int, scratch: Path) -> tuple[Subject, int, str]:
    """A gateway that speaks HTTP/3, its UDP port, and the file with its certificate."""
    certificate, key, port = scratch / "h3.pem", scratch / "h3.key", subjects.free_port()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    http3 = f"enabled: true, port: {port}, tls_cert_file: {certificate}, tls_key_file: {key}"
    settings = GATEWAY.replace("drain_delay: 0s}}", "drain_delay: 0s, http3: {{" + http3 + "}}}}") + NO_FLIGHT
    return subjects.hapax("http3", settings, upstream, {core}, scratch), port, str(certificate)


def feed_without_reader() -> float:
    """Seconds that the feed costs a call which nothing follows: the least of some turns."""
    feed = Feed(lambda exchange: {}, dict, NoPeers(), "bench")
    exchanges = [Exchange(str(number)) for number in range(2 * MOST_KEPT)]
    for exchange in exchanges:
        exchange.route = "/v1/chat/completions"
    together = [exchanges[first : first + HANDED_OVER] for first in range(0, len(exchanges), HANDED_OVER)]
    least = float("inf")
    for _ in range(10 * TURNS):
        began = time.perf_counter()
        for ended in together:
            feed.ended(ended)
        least = min(least, (time.perf_counter() - began) / len(exchanges))
    return least


def main() -> int:
    """The command: 1 where the feed costs more than it may, else 0."""
    feed = feed_without_reader()
    with tempfile.TemporaryDirectory(prefix="hapax-features-") as scratch:
        found = uvloop.run(measure(Path(scratch)))
    table = Table("", "us of CPU a call", "more than off")
    for what, microseconds in found:
        table.add_row(what, f"{microseconds:.1f}", f"{microseconds - found[0][1]:+.1f}")
    Console().print(table)
    verdict = "more than" if feed > FEED_MOST else "within"
    Console().print(
        f"/admin/events without a reader: {feed * 1e6:.2f} us a call, {verdict} {FEED_MOST * 1e6:.0f}",
        highlight=False,
    )
    return 1 if feed > FEED_MOST else 0


if __name__ == "__main__":
    sys.exit(main())
