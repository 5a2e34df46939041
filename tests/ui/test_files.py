"""`/ui` and what is below it: the page's files, what keeps a browser from other things there, and who is led to it."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.app import create_app
from proxy.settings import Settings
from proxy.ui.files import STATIC
from tests.conftest import GatewayFactory
from tests.spec.wire import ask, get

ROOT = Path(__file__).parent.parent.parent
BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"


async def test_a_browser_is_led_from_the_root_to_the_page(gateway: GatewayFactory) -> None:
    running = await gateway()
    led = await ask(running.port, get("/", head=BROWSER))
    assert (led.status, led.header("location"), led.header("vary")) == (302, "ui", "Accept")
    page = await ask(running.port, get("/ui", head=BROWSER))
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert page.body == (STATIC / "index.html").read_bytes()
    told = await ask(running.port, get("/", head="Accept: */*\r\n"))
    assert (told.status, told.json["page"]) == (200, "/ui")


async def test_nothing_but_the_gateway_may_be_loaded_and_nothing_inline(gateway: GatewayFactory) -> None:
    running = await gateway()
    for path in ("/ui", "/ui/main.js", "/ui/page.css", "/ui/mark.svg"):
        answer = await ask(running.port, get(path))
        assert answer.header("content-security-policy") == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        assert answer.header("x-content-type-options") == "nosniff"
        assert answer.header("referrer-policy") == "no-referrer"
        assert answer.header("cache-control") == "no-cache"


async def test_what_a_browser_has_already_is_not_sent_again(gateway: GatewayFactory) -> None:
    running = await gateway()
    first = await ask(running.port, get("/ui/main.js"))
    tag = first.header("etag")
    again = await ask(running.port, get("/ui/main.js", head=f"If-None-Match: {tag}\r\n"))
    assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    packed = await ask(running.port, get("/ui/main.js", head="Accept-Encoding: gzip\r\n"))
    assert (packed.header("content-encoding"), packed.header("etag")) == ("gzip", f"W/{tag}")
    again = await ask(running.port, get("/ui/main.js", head=f"If-None-Match: W/{tag}\r\nAccept-Encoding: gzip\r\n"))
    assert again.status == 304
    other = await ask(running.port, get("/ui/main.js", head='If-None-Match: "another"\r\n'))
    assert other.status == 200


async def test_a_slash_at_the_end_leads_to_the_page_and_other_names_nowhere(gateway: GatewayFactory) -> None:
    running = await gateway()
    slash = await ask(running.port, get("/ui/"))
    assert (slash.status, slash.header("location")) == (308, "../ui")
    for path in ("/ui/none.js", "/ui/files.py", "/ui/static/main.js", "/ui/../app.py"):
        assert (await ask(running.port, get(path))).status == 404


async def test_it_can_be_switched_off(gateway: GatewayFactory) -> None:
    running = await gateway({"ui": {"enabled": False}})
    assert (await ask(running.port, get("/ui"))).code == "unknown_url"
    assert (await ask(running.port, get("/ui/main.js"))).code == "unknown_url"
    root = await ask(running.port, get("/", head=BROWSER))
    assert root.status == 200
    assert "page" not in root.json


async def test_the_page_is_shown_without_a_key_where_keys_are_needed(gateway: GatewayFactory) -> None:
    running = await gateway({"auth": {"keys": [{"name": "me", "key": "hapax-client-4b1e9d7730aa65c2"}]}})
    assert (await ask(running.port, get("/ui"))).status == 200
    assert (await ask(running.port, get("/v1/models"))).status == 401


async def test_a_link_of_another_site_leads_to_the_page_of_an_open_gateway_and_no_further(
    gateway: GatewayFactory,
) -> None:
    running = await gateway()
    head = "Sec-Fetch-Site: cross-site\r\n"
    assert (await ask(running.port, get("/ui", head=head))).status == 200
    assert (await ask(running.port, get("/admin/providers", head=head))).code == "origin_not_allowed"


def test_no_html_is_ever_made_of_a_text() -> None:
    """The one way from a text to an element is `h` in dom.js, which makes text nodes and attributes."""
    for path in STATIC.glob("*.js"):
        code = re.sub(r"(?m)//.*$", "", path.read_text())
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
        ):
            assert way not in code, f"{path.name}: {way}"
        # Where code could come from: its own files alone.
        for module in re.findall(r'(?m)^import .*from "([^"]+)"', code):
            assert (STATIC / module).is_file(), f"{path.name}: {module}"


def test_no_file_outgrows_one_noun() -> None:
    for path in STATIC.glob("*.js"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path.name
        assert lines[0].startswith("//"), f"{path.name} does not say what it is"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_brings_the_page(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if name.startswith("proxy/ui/static/")}
    assert names == {f"proxy/ui/static/{path.name}" for path in STATIC.iterdir()}
    assert "proxy/ui/static/index.html" in names


async def test_below_a_path_of_another_application_it_is_found_all_the_same(aiohttp_client: Any) -> None:
    settings = Settings.model_validate({"store": {"url": ""}, "health_check": {"enabled": False}})
    above = web.Application()
    above.add_subapp("/llm", create_app(settings))
    client = await aiohttp_client(above)
    led = await client.get("/llm/", headers={"Accept": "text/html"})
    assert (led.status, led.url.path) == (200, "/llm/ui")
    page = await led.text()
    assert page == (STATIC / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="(ui/[^"]+)"', page):
        assert (await client.get(f"/llm/{name}")).status == 200, name
    slash = await client.get("/llm/ui/")
    assert (slash.status, slash.url.path) == (200, "/llm/ui")
