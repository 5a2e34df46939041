"""
A headless Chromium that a test looks at and clicks in, by the Chrome DevTools Protocol over aiohttp's WebSocket.

`browser.py` runs a page's own script on another origin and asks it; here the page is the gateway's, and the test is its
user. What the browser complains of, and every host it asked, is kept for the test to judge.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientWebSocketResponse

from proxy.core.tasks import start

from .browser import FLAGS
from .process import kill_group

LIFETIME = 900  # seconds; `timeout` ends a browser whose tests died without saying goodbye
PATIENCE = 20.0  # seconds until something on a page is taken as missing

_WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) =>
  violations.push(`${violatedDirective} ${blockedURI}`));
"""
_STAND_IN = """
window.asked = [];
const answers = %s, real = window.fetch;
window.fetch = (url, options = {}) => {
  const what = `${options.method ?? "GET"} ${new URL(url).pathname}`;
  if (!(what in answers)) return real(url, options);
  asked.push(what + new URL(url).search);
  return Promise.resolve(new Response(JSON.stringify(answers[what]), {status: 200}));
};
"""
_UNTIL = """
(async () => {
  const deadline = performance.now() + %(milliseconds)d;
  for (;;) {
    let found = null;
    try { found = (%(expression)s); } catch (error) { found = null; }
    if (found) return found instanceof Node ? true : found;
    if (performance.now() > deadline) return null;
    await new Promise((wake) => setTimeout(wake, 15));
  }
})()
"""


@contextmanager
def chromium() -> Iterator[str]:
    """A browser without a page; the address of its protocol."""
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("no chromium: run scripts/setup-tests.sh")
    with tempfile.TemporaryDirectory(prefix="hapax-chromium-", ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen(
            [
                *("timeout", "--kill-after=5", str(LIFETIME), program, *FLAGS),
                *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # its renderers end with it, by the group
        )
        try:
            told = Path(profile) / "DevToolsActivePort"
            deadline = time.monotonic() + PATIENCE
            while not (told.exists() and told.read_text().count("\n")):
                assert browser.poll() is None, "the browser ended"
                assert time.monotonic() < deadline, "the browser does not start"
                time.sleep(0.02)
            port, path = told.read_text().split("\n")[:2]
            yield f"ws://127.0.0.1:{port}{path}"
        finally:
            kill_group(browser.pid)
            browser.wait()


class Tab:
    """One page, in a session of its own: no storage and no cache is another's."""

    def __init__(self, line: ClientWebSocketResponse, root: str) -> None:
        """*root*: the only place that the page has any business with."""
        self.root = root
        self.complaints: list[str] = []
        """Errors in the console, exceptions that nothing caught, and violations of the policy."""
        self.hosts: set[str] = set()
        """Every host and port that was asked for something."""
        self.session = ""
        self._line = line
        self._number = 0
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Take what the browser says, until it is gone."""
        async for message in self._line:
            told = json.loads(message.data)
            if "id" in told:
                waiting = self._asked.pop(told["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(told)
            else:
                self._note(told["method"], told.get("params", {}))

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(each.get("value")) for each in params["args"]))
        elif method == "Log.entryAdded":
            entry = params["entry"]
            # That an answer of the API was a 401 is told as an error too; whether it may be is the test's to say.
            if entry["level"] == "error" and entry["source"] != "network":
                self.complaints.append(entry["text"])
        elif method == "Network.requestWillBeSent":
            url = urlsplit(params["request"]["url"])
            if url.scheme not in ("data", "blob"):
                self.hosts.add(url.netloc)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; its result."""
        self._number += 1
        answer = self._asked[self._number] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self.session} if self.session else {}
        await self._line.send_json({"id": self._number, "method": method, "params": params, **session})
        async with asyncio.timeout(PATIENCE + 10):
            told = await answer
        assert "error" not in told, f"{method}: {told.get('error')}"
        result: dict[str, Any] = told["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, awaited."""
        told = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str, patience: float = PATIENCE) -> Any:
        """Wait until *expression* is true in the page; its value."""
        found = await self.evaluate(_UNTIL % {"milliseconds": patience * 1000, "expression": expression})
        assert found is not None, f"never true: {expression}\n{await self.evaluate('document.body.innerText')}"
        return found

    async def remember(self, values: dict[str, str]) -> None:
        """What the tab's session storage holds whenever a page is loaded from now on."""
        source = f"if (location.protocol.startsWith('http')) Object.assign(sessionStorage, {json.dumps(values)});"
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=source)

    async def answer(self, answers: dict[str, Any]) -> None:
        """
        What the page is answered instead of the gateway from its next load on, by method and path: `{"GET /x": {...}}`.
        What it asked so stands in `window.asked`.
        """
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=_STAND_IN % json.dumps(answers))

    async def open(self, path: str) -> None:
        """Load the page at *path* below the root."""
        await self.send("Page.navigate", url="about:blank")
        await self.send("Page.navigate", url=self.root + path)
        await self.until(f"location.href.startsWith({json.dumps(self.root)}) && document.readyState == 'complete'")

    async def text(self, selector: str = "body") -> str:
        """What a reader sees there."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def click(self, selector: str, text: str = "") -> None:
        """Press the mouse on the first thing that is seen and says *text*."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})].filter((each) => each.checkVisibility()"
            f" && (each.textContent + ' ' + each.getAttribute('aria-label')).includes({json.dumps(text)}))[0]"
        )
        x, y = await self.until(
            f"(() => {{ const it = {found}; it.scrollIntoView({{block: 'nearest'}});"
            " const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def fill(self, selector: str, text: str) -> None:
        """Put *text* into a field, in the place of what is there."""
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self.evaluate(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)}); it.focus(); it.select?.(); }})()"
        )
        await self.send("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """A key, such as Enter or Tab."""
        code = {"Enter": 13, "Tab": 9, "Escape": 27}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    async def size(self, width: int, height: int, dark: bool = False) -> None:
        """The window, and which colours its user likes."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        await self.send(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    async def picture(self) -> bytes:
        """What is seen now, as a PNG."""
        return base64.b64decode((await self.send("Page.captureScreenshot"))["data"])

    async def found(self) -> list[str]:
        """Everything that a page must not do: complaints, violations, requests to other hosts."""
        violations: list[str] = await self.evaluate("window.violations")
        return self.complaints + violations + sorted(self.hosts - {urlsplit(self.root).netloc})


@asynccontextmanager
async def tab(address: str, root: str) -> AsyncIterator[Tab]:
    """A new one in the browser at *address*, wide and light, on nothing yet."""
    # Pictures and long texts come in one message.
    async with ClientSession() as session, session.ws_connect(address, max_msg_size=0) as line:
        page = Tab(line, root)
        reading = start(page.read(), "reader of the browser")
        try:
            context = (await page.send("Target.createBrowserContext"))["browserContextId"]
            target = await page.send("Target.createTarget", url="about:blank", browserContextId=context)
            attached = await page.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.send(f"{domain}.enable")
            await page.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
            await page.size(1280, 860)
            yield page
            page.session = ""
            await page.send("Target.disposeBrowserContext", browserContextId=context)
        finally:
            await line.close()
            await reading
