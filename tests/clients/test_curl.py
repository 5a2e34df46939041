"""The gateway as curl sees it: bytes as they come, HTTP/1.0, and an exit code that tells cut from whole."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.curl import curl, curl_command
from tests.rigs.simulator import Simulator

from .helpers import KEY, MODEL, asking, calls, chat_text, ended_by_client, settings

PARTIAL_FILE = 18  # curl: "transfer closed with outstanding read data remaining"


def chat(model: str, *, stream: bool = True) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Tell me something."}]}


@pytest.fixture
async def url(gateway: Any, simulator: Simulator) -> str:
    return (await gateway(settings(simulator.base_url))).base_url + "/chat/completions"


BEARER = ("--header", f"Authorization: Bearer {KEY}")


async def test_a_stream_ends_whole_with_exit_code_zero(url: str) -> None:
    done = await curl(url, *BEARER, body=chat(MODEL))
    assert (done.code, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"data: [DONE]\n\n")
    assert chat_text(done.stdout.decode())


async def test_events_arrive_while_the_answer_is_still_being_written(url: str, simulator: Simulator) -> None:
    process = await asyncio.create_subprocess_exec(
        *curl_command(url, *BEARER, body=chat(asking("forever", "pace=5ms"))), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        events = [await asyncio.wait_for(process.stdout.readuntil(b"\n\n"), 30) for _ in range(5)]
    finally:
        process.kill()
        await process.wait()
    assert all(event.startswith(b"data: {") for event in events)
    assert await ended_by_client(calls(simulator)[-1])


async def test_the_key_may_come_as_x_api_key(url: str) -> None:
    done = await curl(url, "--header", f"X-API-Key: {KEY}", "--fail", body=chat(MODEL, stream=False))
    assert done.code == 0
    assert json.loads(done.stdout)["choices"][0]["message"]["content"]


async def test_a_missing_key_is_told_in_json(url: str) -> None:
    done = await curl(url, "--write-out", "\n%{http_code} %{content_type}", body=chat(MODEL))
    body, _, facts = done.stdout.rpartition(b"\n")
    assert facts.startswith(b"401 application/json")
    assert json.loads(body)["error"]["code"] == "missing_api_key"


async def test_a_body_sent_as_a_form_is_refused_with_words_that_help(url: str) -> None:
    done = await curl(url, *BEARER, "--data", json.dumps(chat(MODEL)))  # what is typed first: no Content-Type
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "unsupported_media_type"
    assert "application/json" in error["message"]


async def test_a_large_upload_asks_before_it_sends_and_arrives(
    gateway: Any, simulator: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "lines.jsonl").write_bytes(b"{}\n" * 1_000_000)
    url = (await gateway(settings(simulator.base_url))).base_url + "/files"
    upload = ("--form", "purpose=batch", "--form", f"file=@{tmp_path / 'lines.jsonl'}")
    done = await curl(url, *BEARER, "--include", "--header", "Expect: 100-continue", *upload)
    interim, head, body = done.stdout.split(b"\r\n\r\n")
    assert b" 100 " in interim
    assert b" 200 " in head.splitlines()[0]
    assert json.loads(body)["bytes"] == 3_000_000


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_refusal_reaches_a_client_that_is_still_sending(
    gateway: Any, simulator: Simulator, tmp_path: Path, framing: str
) -> None:
    """A server that just closes here resets the connection, and its words are lost on the way."""
    (tmp_path / "body.json").write_text(json.dumps(chat(MODEL) | {"padding": "x" * 20_000_000}))
    running = await gateway(settings(simulator.base_url, server={"max_body_bytes": "64KiB"}))
    data = ("--data-binary", f"@{tmp_path / 'body.json'}", "--header", "Expect:")  # it sends without being asked to
    headers = ["--header", "Content-Type: application/json"]
    if framing == "chunked":
        headers += ["--header", "Transfer-Encoding: chunked"]
    done = await curl(running.base_url + "/chat/completions", *BEARER, *headers, *data)
    assert (done.code, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["error"]["code"] == "request_too_large"
    assert calls(simulator) == []


async def test_an_http_1_0_client_gets_the_whole_stream_and_then_the_end_of_the_connection(url: str) -> None:
    done = await curl(url, *BEARER, "--http1.0", "--include", body=chat(MODEL))
    assert (done.code, done.stderr) == (0, b"")
    head, _, stream = done.stdout.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"transfer-encoding" not in head.lower()  # HTTP/1.0 knows no chunks
    assert stream.endswith(b"data: [DONE]\n\n")
    assert chat_text(stream.decode())


@pytest.mark.parametrize("cut", ["fin@8", "rst@8", "end@8"])
async def test_a_stream_the_provider_cut_is_an_error_also_to_curl(url: str, cut: str) -> None:
    done = await curl(url, *BEARER, body=chat(asking(cut)))
    assert done.code == PARTIAL_FILE
    assert b"[DONE]" not in done.stdout
    events = [event for event in done.stdout.decode().split("\n\n") if event.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"]
