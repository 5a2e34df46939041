"""Which pages go out compressed, for whom, and what their heads say."""

import asyncio
import gzip
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.compression import WORTHWHILE, compress_where_asked, size_to_compress
from tests.conftest import GatewayFactory, RunningGateway, provider
from tests.rigs.ports import free_port
from tests.rigs.simulator import Simulator
from tests.spec.wire import Response, ask, chat, connect, get, request

ADMIN, KEY = "hpx_admin_5b1e77d0c2a94f", "hpx_client_90c3f1aa7be2d4"
AUTH = {"admin_key": ADMIN, "keys": [{"name": "web", "key": KEY}]}
GZIP = "Accept-Encoding: gzip\r\n"
TEXT = "x" * 5000


def coded(answer: Response) -> tuple[str | None, str | None]:
    return answer.header("content-encoding"), answer.header("vary")


async def crowded(gateway: GatewayFactory, simulator: Simulator, **sections: Any) -> RunningGateway:
    """A gateway with enough models for long pages."""
    models = [f"sim-{number}" for number in range(40)]
    providers = {f"sim{number}": provider(simulator, models=models) for number in range(5)}
    return await gateway({"providers": providers, "auth": AUTH, **sections})


# What an Accept-Encoding asks for (RFC 9110 section 12.5.3).


@pytest.mark.parametrize(
    "accepted",
    [
        *(
            "gzip",
            "GZIP",
            "x-gzip",
            "*",
            "deflate, gzip;q=1.0, *;q=0.5",
            "gzip, deflate, br, zstd",
            "br;q=1, gzip;q=0.001",
        ),
        *(
            "gzip;q=0.5, identity;q=0.5",
            " gzip ; q=1 ",
            "\tgzip;Q=1.000",
            "compress, gzip",
            "gzip;q=1., deflate",
            ",gzip,,",
        ),
        *("identity;q=0.5, *", "gzip;q=2, *", "deflate;q=0, gzip"),
    ],
)
def test_gzip_is_right_for_a_client_that_asks_for_it(accepted: str) -> None:
    assert size_to_compress(accepted) == WORTHWHILE


@pytest.mark.parametrize(
    "accepted",
    [
        *(
            "",
            " ",
            "identity",
            "deflate, br",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "identity, gzip;q=0.9",
        ),
        *("gzip;q=2", "gzip;q=0.1234", "gzip;q=-1", "gzip;q=", "gzip q=1", "gzip;level=9", "gzip\xff", "identity;q=0"),
        *("br;q=1, identity;q=0", "identity, *;q=0.5"),
    ],
)
def test_a_page_stays_plain_where_gzip_is_not_asked_for_or_liked_less(accepted: str) -> None:
    assert size_to_compress(accepted) is None


@pytest.mark.parametrize("accepted", ["gzip, identity;q=0", "identity;q=0, *", "gzip, *;q=0"])
def test_a_client_that_refuses_plain_bytes_gets_short_pages_compressed_as_well(accepted: str) -> None:
    assert size_to_compress(accepted) == 0


@given(st.text(st.sampled_from("gzipxdentyq=;,* \t01.-\xff"), max_size=40))
def test_any_bytes_of_a_client_have_a_meaning(accepted: str) -> None:
    assert size_to_compress(accepted) in (None, 0, WORTHWHILE)


# What it is done to.


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "text/csv; charset=utf-8",
        "text/plain; version=0.0.4",
        "application/openmetrics-text; version=1",
        "application/vnd.google.protobuf; encoding=delimited",
    ],
)
def test_texts_are_compressed_and_depend_on_what_was_accepted(kind: str) -> None:
    page = web.Response(body=TEXT.encode(), headers={"Content-Type": kind, "Vary": "Origin", "ETag": '"a"'})
    compress_where_asked(page, ["br", "gzip"])
    assert page.compression
    assert (page.headers["Vary"], page.headers["ETag"]) == ("Origin, Accept-Encoding", 'W/"a"')


@pytest.mark.parametrize(("length", "compressed"), [(WORTHWHILE, False), (WORTHWHILE + 1, True)])
def test_pages_up_to_a_kibibyte_are_left_as_they_are(length: int, compressed: bool) -> None:
    page = web.Response(body=b"x" * length, headers={"Content-Type": "text/plain", "ETag": '"a"'})
    compress_where_asked(page, ["gzip"])
    assert page.compression == compressed
    assert (page.headers["Vary"], page.headers["ETag"]) == ("Accept-Encoding", 'W/"a"' if compressed else '"a"')


@pytest.mark.parametrize(
    "page",
    [
        web.Response(body=TEXT.encode(), content_type="image/png"),
        web.Response(body=TEXT.encode(), content_type="text/event-stream"),
        web.Response(body=TEXT.encode(), headers={"Content-Type": "text/plain", "Content-Encoding": "br"}),
        web.Response(status=204),
        web.StreamResponse(headers={"Content-Type": "text/plain"}),
    ],
    ids=["an image", "an event stream", "compressed already", "nothing", "written by its handler"],
)
def test_what_is_no_whole_text_is_left_alone(page: web.StreamResponse) -> None:
    compress_where_asked(page, ["gzip, identity;q=0"])
    assert not page.compression
    assert "Vary" not in page.headers


# The gateway's own pages.


@pytest.mark.parametrize(
    ("path", "key", "kind"),
    [
        ("/v1/models", KEY, "application/json; charset=utf-8"),
        ("/metrics", ADMIN, "text/plain; version=0.0.4; charset=utf-8"),
        ("/metrics/json", ADMIN, "application/json"),
        ("/admin/providers", ADMIN, "application/json; charset=utf-8"),
        ("/health", ADMIN, "application/json; charset=utf-8"),
    ],
)
async def test_a_page_is_compressed_where_that_is_asked_for(
    simulator: Simulator, gateway: GatewayFactory, path: str, key: str, kind: str
) -> None:
    running = await crowded(gateway, simulator)
    await running.listener.gateway.checks.known.wait()
    head = f"X-API-Key: {key}\r\n"
    plain = await ask(running.port, get(path, head=head))
    assert (coded(plain), len(plain.body) > WORTHWHILE) == ((None, "Accept-Encoding"), True)
    async with connect(running.port) as wire:
        wire.send(get(path, head=head + GZIP))
        packed = await wire.response("GET")
        assert (packed.status, coded(packed)) == (200, ("gzip", "Accept-Encoding"))
        assert packed.header("content-type") == plain.header("content-type")
        assert len(packed.body) < len(plain.body) / 2
        opened = gzip.decompress(packed.body)
        assert opened[:20] == plain.body[:20]
        # The connection can be used again, and HEAD says what GET would.
        wire.send(request(path, method="HEAD", head=head + GZIP))
        told = await wire.response("HEAD")
        assert (told.status, coded(told)) == (200, ("gzip", "Accept-Encoding"))
        if path == "/v1/models":
            assert opened == plain.body
            assert told.header("content-length") == str(len(packed.body))
        wire.send(get("/live"))
        assert coded(await wire.response("GET")) == (None, "Accept-Encoding")


async def test_usage_is_compressed_as_json_and_as_csv(
    simulator: Simulator, gateway: GatewayFactory, sqlite_url: str
) -> None:
    models = {f"{'m' * 40}-{number}": {"targets": ["sim0/sim-1"]} for number in range(20)}
    running = await crowded(gateway, simulator, models=models, store={"url": sqlite_url})
    head = f"X-API-Key: {KEY}\r\n"
    for model in models:
        assert (await ask(running.port, chat(model, head=head))).status == 200
    running.caught_up()
    for form in ("json", "csv"):
        path = f"/v1/usage?by=model&format={form}"
        while (plain := await ask(running.port, get(path, head=head))).body.count(b"m" * 40) < len(models):
            running.caught_up()
        packed = await ask(running.port, get(path, head=head + GZIP))
        assert (plain.status, coded(packed)) == (200, ("gzip", "Accept-Encoding"))
        assert gzip.decompress(packed.body)[:20] == plain.body[:20]


async def test_for_pages_of_other_origins_both_are_named_that_an_answer_depends_on(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    running = await crowded(gateway, simulator, server={"cors": {"allow_origins": ["https://app.example.com"]}})
    head = f"X-API-Key: {KEY}\r\nOrigin: https://app.example.com\r\n{GZIP}"
    assert coded(await ask(running.port, get("/v1/models", head=head))) == ("gzip", "Origin, Accept-Encoding")


async def test_the_metrics_port_compresses_its_pages(gateway: GatewayFactory) -> None:
    running = await gateway({"metrics": {"port": (port := free_port())}})
    assert running.port != port
    for path, start in (("/metrics", b"# HELP "), ("/metrics/json", b"[{")):
        plain, packed = await ask(port, get(path)), await ask(port, get(path, head=GZIP))
        assert (coded(plain), coded(packed)) == ((None, "Accept-Encoding"), ("gzip", "Accept-Encoding"))
        assert plain.body.startswith(start)
        assert gzip.decompress(packed.body).startswith(start)


async def test_a_long_page_is_compressed_by_a_thread_and_not_by_the_loop(
    simulator: Simulator, gateway: GatewayFactory
) -> None:
    class Watched(ThreadPoolExecutor):
        def submit(self, work: Callable[..., Any], /, *of: Any, **more: Any) -> Future[Any]:
            if getattr(work, "__name__", "") == "compress":
                sizes.append(len(of[0]))
            return super().submit(work, *of, **more)

    sizes: list[int] = []
    asyncio.get_running_loop().set_default_executor(Watched())
    running = await crowded(gateway, simulator)
    page = await ask(running.port, get("/metrics", head=f"X-API-Key: {ADMIN}\r\n{GZIP}"))
    assert sizes == [len(gzip.decompress(page.body))]


# What stays as it is.


async def test_what_is_relayed_is_passed_on_as_it_came(simulator: Simulator, gateway: GatewayFactory) -> None:
    running = await gateway()
    long = "sim-1:tokens=400"
    for fields in ({}, {"stream": True}):
        answer = await ask(running.port, chat(long, head=GZIP, **fields))
        assert (answer.status, coded(answer)) == (200, (None, None))
        assert len(answer.body) > WORTHWHILE
        assert b"content" in answer.body
    made = await ask(running.port, request("/api/generate", {"prompt": "hello", "model": long}, head=GZIP))
    assert (made.status, coded(made), len(made.body) > WORTHWHILE) == (200, (None, None), True)


async def test_errors_and_the_feed_are_not_compressed(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": AUTH})
    gone = await ask(running.port, get("/v1/models/" + "x" * 3000, head=f"X-API-Key: {KEY}\r\n{GZIP}"))
    assert (gone.status, coded(gone)) == (404, (None, None))
    async with connect(running.port) as wire:
        wire.send(get("/admin/events", head=f"X-API-Key: {ADMIN}\r\nAccept-Encoding: gzip, identity;q=0\r\n"))
        assert b"ncoding: gzip" not in await wire.until(b"\r\n\r\n")
        await wire.until(b": events of calls")
