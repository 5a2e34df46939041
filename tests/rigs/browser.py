"""A headless Chromium that opens one page, and the little server of that page on an origin of its own.

The page is a module script of tests/clients/browser. It gets its options as JSON, imports what it needs unbundled (the
server also hands out node_modules), and posts its result back to where it came from. No driver speaks to the browser:
what the script can see is what the test sees, CORS included.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

from proxy.core.tasks import start

from .node import CLIENTS, MODULES
from .process import kill_group

SCENARIOS = CLIENTS / "browser"
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where the sandbox refuses
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
NO_QUIC = ("--disable-quic",)
LIFETIME = 90  # seconds; `timeout` ends a browser whose tests died without saying goodbye

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>hapax test page</title>
<link rel="icon" href="data:,">
<script type="importmap">{"imports": {"openai": "/node_modules/openai/index.mjs"}}</script>
<script type="module">
const options = %(options)s;
const report = (body) => fetch("/report", {method: "POST", body: JSON.stringify(body)});
try {
  const {default: scenario} = await import("/scenarios/%(name)s.mjs");
  await report({result: await scenario(options)});
} catch (error) {
  await report({failure: String(error && error.stack || error)});
}
</script>
"""


class PageServer:
    """Serves one scenario as a page and waits for what the page reports."""

    def __init__(self) -> None:
        self.url = ""
        self._page = ""
        self._report: asyncio.Future[Any] | None = None
        app = web.Application()
        app.router.add_get("/", self._serve_page)
        app.router.add_post("/report", self._take_report)
        app.router.add_static("/node_modules/", MODULES)
        app.router.add_static("/scenarios/", SCENARIOS)
        self._runner = web.AppRunner(app, access_log=None)

    @property
    def origin(self) -> str:
        return self.url

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def expect(self, name: str, options: dict[str, Any]) -> asyncio.Future[Any]:
        # A `<` in the options must not be able to end the script element.
        self._page = PAGE % {"name": name, "options": json.dumps(options).replace("<", "\\u003c")}
        self._report = asyncio.get_running_loop().create_future()
        return self._report

    async def _serve_page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._page, content_type="text/html")

    async def _take_report(self, request: web.Request) -> web.Response:
        report = await request.json()
        if self._report is not None and not self._report.done():
            self._report.set_result(report)
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def page_server() -> AsyncIterator[PageServer]:
    server = PageServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def visit(
    server: PageServer, scenario: str, *, timeout: float = 60, flags: Sequence[str] = NO_QUIC, **options: Any
) -> Any:
    """Open the scenario in a fresh browser, started with these *flags* too; returns what its page reported."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise RuntimeError("no chromium: run scripts/setup-tests.sh")
    report = server.expect(scenario, options)
    with tempfile.TemporaryDirectory(prefix="hapax-chromium-", ignore_cleanup_errors=True) as profile:
        browser = await asyncio.create_subprocess_exec(
            *("timeout", "--kill-after=5", str(LIFETIME)),
            *(chromium, *FLAGS, *flags, f"--user-data-dir={profile}", server.url + "/"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # its renderers end with it, by the group
        )
        try:
            # Whichever comes first: a browser that dies must not cost the whole timeout.
            died = start(browser.wait(), "exit of the browser")
            try:
                await asyncio.wait({report, died}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                died.cancel()
            assert report.done(), f"the page did not report within {timeout} s (browser: {browser.returncode})"
        finally:
            kill_group(browser.pid)
            await browser.wait()
    answer = report.result()
    assert "failure" not in answer, answer["failure"]
    return answer["result"]
