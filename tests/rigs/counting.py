"""A provider that never says the same twice: each answer repeats its question and has a number of its own."""

import json
from types import TracebackType
from typing import Any

from aiohttp import web


class Counting:
    """A server at a port of loopback; POSTs are answered whole, or as a stream where they ask for one."""

    def __init__(self) -> None:
        self.asked = 0

    async def __aenter__(self) -> "Counting":
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        await self._runner.cleanup()

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of a provider that is this server."""
        return {"type": "compatible", "base_url": self.base_url, "models": ["*"], **more}

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            return web.Response(status=404)
        question = await request.json()
        self.asked += 1
        text = f"{self.asked} {question['messages'][0]['content']}"
        if not question.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return web.json_response({"id": str(self.asked), "object": "chat.completion", "choices": [choice]})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for delta, finish in (({"role": "assistant", "content": text}, None), ({}, "stop")):
            chunk = {"id": str(self.asked), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
            await answer.write(b"data: %b\n\n" % json.dumps(chunk).encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer
