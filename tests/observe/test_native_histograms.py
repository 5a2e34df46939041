"""Native histograms, and the protobuf page that a Prometheus reads them from."""

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.observe.merged import Merged, Snapshot, snapshot
from proxy.observe.native import ZERO
from proxy.observe.protobuf_page import CONTENT_TYPE, is_preferred, written
from proxy.observe.tally import Buckets, histogram
from tests.conftest import GatewayFactory
from tests.rigs.hapax import hapax
from tests.rigs.prometheus import prometheus
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, chat, get, target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
AUTH = {"keys": [{"name": "web", "key": KEY}], "admin_key": ADMIN}
NATIVE = {"prometheus": {"native_histograms": True}}
PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 asks for with its native histograms on."""


def test_a_value_is_in_the_bucket_that_ends_at_it_or_above() -> None:
    buckets = Buckets()
    for value in (1, 1.0905, 1.0906, 2, 0.5, 0.0, -0.1, 0.001):
        buckets.observe(value)
    assert buckets.native == {0: 1, 1: 1, 2: 1, 8: 1, -8: 1, ZERO: 2, -79: 1}


def registry_of(*values: float) -> CollectorRegistry:
    buckets = Buckets((1.0,))
    for value in values:
        buckets.observe(value)

    class One:
        def collect(self) -> list[object]:
            return [histogram("h_seconds", "H.", ("a",), [(("b",), buckets)])]

    registry = CollectorRegistry()
    registry.register(One())  # type: ignore[arg-type]  # it collects, which is all there is to a collector
    return registry


def of_worker(*values: float) -> Snapshot:
    return snapshot(registry_of(*values))


def test_a_family_is_a_message_with_its_length_before_it() -> None:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", ["a"], registry=registry).labels("b").inc(2)
    Gauge("running", "R.", registry=registry).set(1.5)
    assert written(registry) == (
        b"\x2e\x0a\x0bcalls_total\x12\x06Calls.\x18\x00\x22\x13\x0a\x06\x0a\x01a\x12\x01b\x1a\x09\x09\0\0\0\0\0\0\x00\x40\x2a\x00"
        b"\x1e\x0a\x07running\x12\x02R.\x18\x01\x22\x0b\x12\x09\x09\0\0\0\0\0\0\xf8\x3f\x2a\x00"
    )


def test_a_histogram_has_its_buckets_and_beside_them_runs_of_native_ones() -> None:
    # 0.5, twice 1.0 and 1.05 are in the buckets -8, 0, 0 and 1: two runs, of one and of two.
    assert written(registry_of(0.5, 1.0, 1.0, 1.05, 0.0)) == (
        b"\x63\x0a\x09h_seconds\x12\x02H.\x18\x04\x22\x4e\x0a\x06\x0a\x01a\x12\x01b\x3a\x44"
        b"\x1a\x0b\x08\x04\x11\0\0\0\0\0\0\xf0\x3f\x1a\x0b\x08\x05\x11\0\0\0\0\0\0\xf0\x7f"
        b"\x08\x05\x11\x66\x66\x66\x66\x66\x66\x0c\x40"
        b"\x28\x06\x31\0\0\0\0\0\0\xf0\x37\x38\x01"
        b"\x62\x04\x08\x0f\x10\x01\x62\x04\x08\x0e\x10\x02"
        b"\x68\x02\x68\x02\x68\x01"
        b"\x2a\x00"
    )


def test_the_native_buckets_of_several_workers_are_added_up_and_told_on() -> None:
    merged = Merged([of_worker(0.5, 1.0), of_worker(1.0, 1.0)])
    merged.add(of_worker(0.5), gone=True)
    again = Merged([merged.snapshot()])
    assert written(again) == written(registry_of(0.5, 0.5, 1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (PROTOBUF, True),
        (PROTOBUF.replace(";proto", " ; proto").upper(), True),
        (PROTOBUF.replace("delimited", "text"), False),
        (PROTOBUF.replace("io.prometheus", "io.other"), False),
        (PROTOBUF.replace("delimited,", "delimited;q=0.6,"), False),
        (PROTOBUF.replace("delimited,", "delimited;q=high,"), False),
        ("text/plain;q=0," + PROTOBUF.partition(",")[0] + ";q=0", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_protobuf_is_written_only_for_those_that_would_rather_have_it(accept: str, preferred: bool) -> None:
    assert is_preferred(accept) is preferred


async def test_without_the_setting_it_is_text_as_before_and_with_it_protobuf_after_a_reload(
    gateway: GatewayFactory,
) -> None:
    running = await gateway({})
    asked = get("/metrics", head=f"Accept: {PROTOBUF}\r\n")
    assert (await ask(running.port, asked)).header("content-type").startswith("application/openmetrics-text")
    await running.reload(metrics=NATIVE)
    page = await ask(running.port, asked)
    assert page.header("content-type") == CONTENT_TYPE
    assert b"\x0a\x21hapax_time_to_first_token_seconds\x12" in page.body


async def test_prometheus_reads_native_histograms_and_all_the_rest_from_it(
    simulator: Simulator, gateway: GatewayFactory, tmp_path: Path
) -> None:
    running = await gateway({"auth": AUTH, "metrics": NATIVE})
    head = f"X-API-Key: {KEY}\r\n"
    for _ in range(5):
        assert (await ask(running.port, chat("sim-1:tokens=3,pace=20ms", stream=True, head=head))).status == 200
    text = (await ask(running.port, get("/metrics", head=f"X-API-Key: {ADMIN}\r\n"))).body.decode()
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    address = f"127.0.0.1:{running.port}"
    async with prometheus(tmp_path, address, ADMIN, features="native-histograms") as server:
        async with asyncio.timeout(60):
            while not await server.query('hapax_time_to_first_token_seconds{provider="sim"}'):  # noqa: ASYNC110 - it scrapes
                await asyncio.sleep(0.05)
        [count] = await server.query('histogram_count(hapax_time_to_first_token_seconds{provider="sim"})')
        assert count["value"][1] == "5"
        [quantile] = await server.query("histogram_quantile(0.5, hapax_time_to_first_token_seconds)")
        assert 0 < float(quantile["value"][1]) < 60
        [calls] = await server.query('hapax_exchanges_total{outcome="ok"}')
        assert calls["value"][1] == "5"
        found = {each["metric"]["__name__"] for each in await server.query('{__name__=~".+",job="hapax"}')}
    of_prometheus = {name for name in found if name == "up" or name.startswith("scrape_") or ":" in name}
    assert found - of_prometheus == {name for name in families if re.search(rf"^{name}(_bucket)?[ {{]", text, re.M)}


async def test_several_workers_write_one_page(simulator: Simulator, tmp_path: Path) -> None:
    settings = {"server": {"workers": 2}, "providers": {"sim": target(simulator)}, "metrics": NATIVE}
    async with hapax(tmp_path, settings) as running:
        for _ in range(20):
            assert (await ask(running.port, chat())).status == 200
        page = await ask(running.port, get("/metrics", head=f"Accept: {PROTOBUF}\r\n"))
        assert page.header("content-type") == CONTENT_TYPE
        assert b"\x0a\x0d\x0a\x07outcome\x12\x02ok\x1a\x09\x09\0\0\0\0\0\0\x34\x40" in page.body  # 20.0
        assert b"\x28\x06\x31\0\0\0\0\0\0\xf0\x37\x38" in page.body  # schema 3
