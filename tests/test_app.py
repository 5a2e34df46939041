"""The gateway as an application of aiohttp's: tested in process, mounted, and served by servers that are not ours."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.pytest_plugin import AiohttpClient

from proxy.app import GATEWAY, create_app
from proxy.settings import Settings

ROOT = Path(__file__).parent.parent
SETTINGS = {"server": {"port": 0}, "store": {"url": ""}, "providers": {"sim": {"type": "simulator"}}}
CHAT = {"model": "sim-fast", "messages": [{"role": "user", "content": "Hello"}]}


def application(**sections: Any) -> web.Application:
    """The gateway in front of its own simulator."""
    return create_app(Settings.model_validate({**SETTINGS, **sections}))


async def test_it_is_tested_like_any_application(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(application())
    answer = await client.post("/v1/chat/completions", json=CHAT, headers={"X-Request-ID": "one"})
    assert (answer.status, answer.headers["X-Request-ID"], answer.headers["X-Hapax-Provider"]) == (200, "one", "sim")
    assert (await answer.json())["choices"][0]["finish_reason"] == "stop"
    streamed = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
    assert (await streamed.read()).endswith(b"data: [DONE]\n\n")
    page = await client.get("/live")
    assert (page.status, (await page.json())["status"]) == (200, "alive")
    assert (page.headers["Cache-Control"], "Server" in page.headers) == ("no-store", False)


async def test_what_it_does_not_know_is_refused_in_our_words(aiohttp_client: AiohttpClient) -> None:
    client = await aiohttp_client(application())
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "unknown_url"),
        ("PUT", "/live", 405, "method_not_allowed"),
        ("DELETE", "/v1/chat/completions", 405, "method_not_allowed"),
    ):
        answer = await client.request(method, path)
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)


async def test_what_it_keeps_is_found_in_it_and_closed_with_it(aiohttp_client: AiohttpClient) -> None:
    app = application()
    client = await aiohttp_client(app)
    assert (await client.post("/v1/chat/completions", json=CHAT)).status == 200
    gateway = app[GATEWAY]
    gateway.records.hand_over()
    assert gateway.metrics.registry.get_sample_value("hapax_exchanges_total", {"outcome": "ok"}) == 1
    await client.close()
    assert gateway.under_way.draining
    assert gateway.under_way.count == 0


async def test_mounted_below_a_path_it_answers_there_alone(aiohttp_client: AiohttpClient) -> None:
    async def ours(_: web.Request) -> web.Response:
        return web.Response(text="ours")

    whole = web.Application()
    whole.router.add_get("/live", ours)
    whole.add_subapp("/llm", application())
    client = await aiohttp_client(whole)
    assert await (await client.get("/live")).text() == "ours"
    assert (await (await client.get("/llm/live")).json())["status"] == "alive"
    assert (await (await client.get("/llm/")).json())["name"] == "hapax"
    for path in (
        "/llm/v1/chat/completions",
        "/llm/v1/chat/completions/",
        "/llm/openai/deployments/sim-fast/chat/completions",
    ):
        answer = await client.post(path, json=CHAT)
        assert (answer.status, (await answer.json())["model"]) == (200, "sim-fast")
    refused = await client.get("/llm/nowhere")
    assert (refused.status, (await refused.json())["error"]["code"]) == (404, "unknown_url")


async def test_a_middleware_of_others_sees_what_it_answers(aiohttp_client: AiohttpClient) -> None:
    seen: list[tuple[str, int]] = []

    @web.middleware
    async def watching(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        seen.append((request.path, response.status))
        return response

    whole = web.Application(middlewares=[watching])
    whole.add_subapp("/llm", application())
    client = await aiohttp_client(whole)
    await client.post("/llm/v1/chat/completions", json={**CHAT, "stream": True})
    await client.get("/llm/nowhere")
    assert seen == [("/llm/v1/chat/completions", 200), ("/llm/nowhere", 404)]


async def test_a_middleware_within_it_may_answer_in_aiohttps_way(aiohttp_client: AiohttpClient) -> None:
    @web.middleware
    async def guarding(request: web.Request, handler: Any) -> web.StreamResponse:
        if "X-Team" not in request.headers:
            raise web.HTTPForbidden(text="Which team?")
        response: web.StreamResponse = await handler(request)
        return response

    app = application()
    app.middlewares.append(guarding)
    client = await aiohttp_client(app)
    refused = await client.post("/v1/chat/completions", json=CHAT, headers={"X-Request-ID": "one"})
    assert (refused.status, await refused.text(), refused.headers["X-Request-ID"]) == (403, "Which team?", "one")
    assert (await client.post("/v1/chat/completions", json=CHAT, headers={"X-Team": "a"})).status == 200
    gateway = app[GATEWAY]
    gateway.records.hand_over()
    counted = gateway.metrics.registry.get_sample_value
    assert [counted("hapax_exchanges_total", {"outcome": outcome}) for outcome in ("ok", "refused")] == [1, 1]


async def test_a_middleware_within_it_sees_a_call_however_its_path_is_spelled(aiohttp_client: AiohttpClient) -> None:
    seen: list[str] = []

    @web.middleware
    async def watching(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append(request.path)
        response: web.StreamResponse = await handler(request)
        return response

    app = application()
    app.middlewares.append(watching)
    client = await aiohttp_client(app)
    spelled = [
        "/v1/chat/completions",
        "/v1/chat/completions/",
        "/openai/deployments/sim-fast/chat/completions",
        "/live/",
    ]
    for path in spelled:
        answer = await (client.get(path) if path == "/live/" else client.post(path, json=CHAT))
        assert answer.status == 200, path
    assert seen == spelled


@asynccontextmanager
async def served(tmp_path: Path, listening: socket.socket, *command: str) -> AsyncIterator[str]:
    """The base URL of *command*, which serves `served.py` on *listening*; it has ended well by the end."""
    (tmp_path / "served.py").write_text(
        "import socket, sys\n"
        "from aiohttp import web\n"
        "from proxy.app import create_app\n"
        "from proxy.settings import Settings\n"
        f"settings = Settings.model_validate({SETTINGS!r})\n"
        "async def application():\n"
        "    return create_app(settings)\n"
        "if __name__ == '__main__':\n"
        "    web.run_app(application(), sock=socket.socket(fileno=int(sys.argv[1])), handler_cancellation=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        pass_fds=[listening.fileno()],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        process.send_signal(signal.SIGTERM)
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("server", ["run_app", "GunicornWebWorker", "GunicornUVLoopWebWorker"])
async def test_it_is_served_by(server: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = ["served.py", str(listening.fileno())]
        if server != "run_app":
            command = ["-m", "gunicorn", "served:application", "--worker-class", f"aiohttp.{server}"]
            command += ["--bind", f"fd://{listening.fileno()}", "--graceful-timeout", "5"]
        async with served(tmp_path, listening, *command) as url, ClientSession() as client:
            # The socket listens already, so that the first call waits for the server.
            async with client.post(f"{url}/v1/chat/completions", json={**CHAT, "stream": True}) as streamed:
                assert (streamed.status, streamed.headers["X-Hapax-Provider"]) == (200, "sim")
                assert (await streamed.read()).endswith(b"data: [DONE]\n\n")
            async with client.get(f"{url}/nowhere") as refused:
                assert (refused.status, (await refused.json())["error"]["code"]) == (404, "unknown_url")


def test_there_is_no_other_server_of_http_for_clients() -> None:
    """What speaks HTTP to a client is aiohttp; the simulator, which plays a provider, writes its own faulty bytes."""
    makers = ("create_server(", "HttpRequestParser(", "start_server(", "BaseHTTPRequestHandler")
    found = {
        str(path.relative_to(ROOT / "proxy"))
        for path in (ROOT / "proxy").rglob("*.py")
        if any(maker in path.read_text() for maker in makers)
    }
    assert {path for path in found if not path.startswith("simulator/")} == set()
