"""Where lines go and what stands on them: every ending once, files that rotate, readers that stall, nothing secret."""

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.exchange import Exchange
from proxy.observe.access import fields
from proxy.observe.lines import Json, base_fields
from proxy.observe.log import Logs
from proxy.observe.redaction import without_pii, without_secrets
from proxy.observe.sink import CAPACITY, DirectSink, File, Sink, Stream
from proxy.settings import Logging
from tests.rigs.clock import at_most
from tests.rigs.hapax import hapax
from tests.rigs.simulator import Simulator
from tests.spec.wire import ask, becomes, chat, connect, request, target

KEY, ADMIN = "hpx_client_4be19d0c77aa21", "hpx_admin_0f2d9be1c5a877"
HEAD = f"X-API-Key: {KEY}\r\n"


def settings(simulator: Simulator, **logging: Any) -> dict[str, Any]:
    return {
        "server": {"drain_delay": "0s"},
        "providers": {"sim": target(simulator)},
        "failover": {"retries": 0},
        "store": {"url": ""},
        "auth": {"keys": [{"name": "web", "key": KEY, "limits": {"requests_per_minute": 1000}}], "admin_key": ADMIN},
        "logging": {"dir": "logs", "level": "info", **logging},
    }


def test_what_a_client_says_of_itself_is_cut_after_it_is_masked() -> None:
    exchange = Exchange("id")
    exchange.user_agent = "a" * 190 + " sk-abcdefghijklmnop"
    exchange.referer = "https://app.example/" + "b" * 400
    told = fields(exchange, None)
    assert told["user_agent"] == "a" * 190 + " [REDACTED"
    assert told["referer"] == "https://app.example/" + "b" * 180


def lines(folder: Path, stream: str) -> list[dict[str, Any]]:
    file = folder / "logs" / f"{stream}.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def test_each_call_has_one_line_that_says_how_it_ended_and_by_whom(simulator: Simulator, tmp_path: Path) -> None:
    said = "User-Agent: client/1 sk-abcdefghijklmnop\r\nReferer: https://me:pass@app.example/chat?user=eve#top\r\n"
    async with hapax(tmp_path, settings(simulator)) as running:
        port = running.port
        await ask(port, chat("sim-1:tokens=5", head=HEAD + said, stream=True))
        await ask(port, chat("nobody-has-it", head=HEAD))
        await ask(port, chat("sim-fault:status=503", head=HEAD))
        async with connect(port) as wire:
            wire.send(chat("sim-1:tokens=9,rst@4", head=HEAD, stream=True))
            await wire.to_end()
        async with connect(port) as wire:
            wire.send(chat("sim-1:tokens=900,pace=20ms", head=HEAD, stream=True))
            await wire.until(b"data: ")
        # That the client has left is noticed a little later.
        await becomes(lambda: len(lines(tmp_path, "access")) == 5)
        await ask(port, b"GET / HTTP/1.1\r\nbroken\r\n\r\n")
        await becomes(lambda: len(lines(tmp_path, "access")) == 6)
        running.signal(signal.SIGTERM)
        code, _ = await running.ended()
    assert code == 0
    told = lines(tmp_path, "access")
    assert [(each["outcome"], each["ended_by"], each["phase"]) for each in told] == [
        ("ok", "", "last"),
        ("refused", "gateway", "request"),
        ("failed", "upstream", "first_token"),
        ("cut", "upstream", "stream"),
        ("client_gone", "client", "stream"),
        ("refused", "gateway", "request"),
    ]
    first = told[0]
    assert (first["user_agent"], first["referer"]) == ("client/1 [REDACTED]", "https://[REDACTED]@app.example/chat")
    assert (told[1]["user_agent"], told[1]["referer"]) == ("", "")
    assert first["tokens"] == {"prompt": 2, "completion": 5, "total": 7}
    assert (first["emitted"], first["operation"], first["method"], first["provider"]) == (
        True,
        "/v1/chat/completions",
        "POST",
        "sim",
    )
    assert first["latency_ms"] >= first["time_to_first_token_ms"] > 0
    assert {"service", "version", "env", "hostname", "pid", "timestamp", "level", "logger", "message"} <= first.keys()
    assert first["timestamp"].endswith("Z")
    assert [each["message"] for each in lines(tmp_path, "application")][-1] == "shutdown complete"
    # Those that failed by the provider's fault, and none of a client's.
    assert [(each["event"], each["error_code"]) for each in lines(tmp_path, "error")] == [
        ("calls_failed", told[2]["error_code"]),
        ("calls_failed", told[3]["error_code"]),
    ]


@pytest.mark.parametrize("told", [{}, {"status": 200}, {"status": 200, "nested": {"a": [1, None]}}])
def test_a_line_is_one_json_object_with_what_it_is_about_between_its_head_and_whose_it_is(told: dict[str, Any]) -> None:
    line = Json().line("2026-01-02T03:04:05.678Z", "info", "hapax", "said", told)
    head = {"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "logger": "hapax", "message": "said"}
    assert line.endswith(b"}\n")
    assert list(json.loads(line).items()) == [*head.items(), *told.items(), *base_fields().items()]


async def test_a_sigterm_loses_no_line(simulator: Simulator, tmp_path: Path) -> None:
    async with hapax(tmp_path, settings(simulator)) as running:
        await asyncio.gather(*(ask(running.port, chat(head=HEAD)) for _ in range(50)))
        running.signal(signal.SIGTERM)
        await running.ended()
    assert len({each["request_id"] for each in lines(tmp_path, "access")}) == 50


async def test_audit_lines_tell_of_keys_reloads_and_where_asked_of_calls(simulator: Simulator, tmp_path: Path) -> None:
    whole = settings(simulator, audit_calls=True, streams=["application", "access", "error", "audit", "metrics"])
    whole["store"] = {"url": "sqlite:///hapax.db"}
    async with hapax(tmp_path, whole) as running:
        made = await ask(running.port, request("/admin/keys", {"name": "new"}, head=f"X-API-Key: {ADMIN}\r\n"))
        assert made.status == 201
        await ask(running.port, chat("sim-1:tokens=5", head=HEAD))
        running.signal(signal.SIGHUP)
        await becomes(lambda: len(lines(tmp_path, "audit")) == 5)
        running.signal(signal.SIGTERM)
        await running.ended()
    audit = lines(tmp_path, "audit")
    assert sorted(each["message"] for each in audit) == [
        "Audit: inference_complete",
        "Audit: inference_start",
        "Audit: model_load",
        "configuration reloaded",
        "key new created",
    ]
    start, complete = (each for each in audit if each["message"].startswith("Audit: inference"))
    assert start["timestamp"] <= complete["timestamp"]
    metrics = {each["metric"]["name"]: each["metric"]["value"] for each in lines(tmp_path, "metrics")}
    assert sorted(metrics) == ["inference_latency", "model_load_duration", "tokens_generated"]
    assert metrics["tokens_generated"] == 5
    assert made.json["key"] not in "".join(file.read_text() for file in (tmp_path / "logs").iterdir())


@pytest.mark.parametrize("stream", [True, False])
async def test_content_is_logged_where_asked_and_without_what_is_personal(
    simulator: Simulator, tmp_path: Path, stream: bool
) -> None:
    async with hapax(tmp_path, settings(simulator, log_content=True, redact_pii=True)) as running:
        question = {"messages": [{"role": "user", "content": "I am eve@example.com, key sk-abcdefghijklmnop"}]}
        body = {"model": "sim-1:echo", "stream": stream, **question}
        await ask(running.port, request("/v1/chat/completions", body, head=HEAD))
        await becomes(lambda: any(each["message"] == "content" for each in lines(tmp_path, "application")))
        running.signal(signal.SIGTERM)
        await running.ended()
    (content,) = (each for each in lines(tmp_path, "application") if each["message"] == "content")
    assert "I am [EMAIL], key [REDACTED]" in content["request"]
    assert content["response"]
    assert "data:" not in content["response"]
    assert "eve@" not in "".join(file.read_text() for file in (tmp_path / "logs").iterdir())


async def test_a_reader_that_stalls_costs_lines_and_no_call(simulator: Simulator, tmp_path: Path) -> None:
    """Standard error is a pipe its reader does not empty: what does not fit is dropped and counted, and calls go on."""
    reading, writing = os.pipe()
    try:
        sink = Sink(Stream(writing))
        line = b"x" * 1023 + b"\n"
        for _ in range(3 * CAPACITY // len(line)):
            sink.put(line)
        assert sink.dropped_total > CAPACITY // len(line)
    finally:
        os.close(reading)
    # The reader is gone: the thread goes on to the end, each line counted.
    sink.stop()
    os.close(writing)
    whole = settings(simulator, dir="", output="stderr")
    async with hapax(tmp_path, whole) as running:
        answers = await asyncio.gather(*(ask(running.port, chat(head=HEAD)) for _ in range(300)))
        assert {answer.status for answer in answers} == {200}


def test_a_file_is_rotated_at_its_size_and_the_oldest_goes(tmp_path: Path) -> None:
    file = File(tmp_path / "access.log", max_bytes=100, backup_count=2)
    for number in range(8):
        file.write(b"%d" % number * 49 + b"\n")
    file.close()
    kept = {each.name: each.read_bytes()[:1] for each in tmp_path.iterdir()}
    assert kept == {"access.log": b"6", "access.log.1": b"4", "access.log.2": b"2"}
    assert (tmp_path / "access.log").stat().st_mode & 0o777 == 0o640


def test_two_processes_rotate_one_file_without_losing_a_line(tmp_path: Path) -> None:
    ours, theirs = (File(tmp_path / "access.log", max_bytes=1000, backup_count=100) for _ in range(2))
    for number in range(400):
        (ours, theirs)[number % 2].write(b"%04d" % number * 10 + b"\n")
    for file in (ours, theirs):
        file.close()
    kept = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert sorted(kept.splitlines()) == [b"%04d" % number * 10 for number in range(400)]
    sizes = [each.stat().st_size for each in tmp_path.iterdir()]
    # The last may have been begun by the other one in the second before it looks.
    assert max(sizes) <= 1000 + 41


def test_lines_of_several_processes_are_not_mixed_in_a_pipe() -> None:
    reading, writing = os.pipe()
    lines = [bytes((97 + number,)) * 1500 + b"\n" for number in range(4)] + [b"z" * 5000 + b"\n", b"end\n"]
    parts: list[bytes] = []

    def read() -> None:
        parts.append(os.read(reading, 65536))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.observe.sink._write_all", lambda descriptor, data: (os.write(descriptor, data), read()))
        Stream(writing, shared=True).write(b"".join(lines))
    os.close(reading)
    os.close(writing)
    assert parts == [lines[0] + lines[1], lines[2] + lines[3], lines[4], lines[5]]


def test_a_process_without_threads_drops_what_would_have_to_wait() -> None:
    reading, writing = os.pipe()
    sink = DirectSink(Stream(writing))
    sink.put(b"one\n")
    assert os.read(reading, 100) == b"one\n"
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"x" * 4096):
            pass
    os.set_blocking(writing, True)
    sink.put(b"two\n")
    assert sink.dropped_total == 1
    os.close(reading)
    os.close(writing)


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = File(tmp_path / "access.log", max_bytes=10_000, backup_count=1)
    file.write(b"before\n")
    (tmp_path / "access.log").rename(tmp_path / "moved")
    monkeypatch.setattr("proxy.observe.sink.LOOK", 0.0)
    file.write(b"after\n")
    file.close()
    assert ((tmp_path / "moved").read_bytes(), (tmp_path / "access.log").read_bytes()) == (b"before\n", b"after\n")


def test_a_full_disk_is_counted_and_survived() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(Stream(descriptor))
    sink.put(b"one\ntwo\n", 2)
    sink.stop()
    os.close(descriptor)
    assert sink.dropped_total == 2


def test_text_lines_leave_out_what_is_empty(tmp_path: Path) -> None:
    logs = Logs(Logging(format="text", dir=str(tmp_path)))
    logs.tell(
        "audit", "key web created", {"event": "key_created", "model": "", "tokens": None}, "2026-11-25T07:00:00.000Z"
    )
    logs.stop()
    told = (tmp_path / "audit.log").read_text()
    assert told == "2026-11-25T07:00:00.000Z info    key web created\n"


SECRETS = [
    "sk-proj-abcdefghijkl",
    "hpx_0123456789abcdef",
    "Bearer abcdefgh12345678",
    "AKIAABCDEFGHIJKLMNOP",
    "AIzaSyA1234567890123456789012345678901",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_DEF",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
]


@given(st.sampled_from(SECRETS), st.text(max_size=30), st.text(max_size=30))
def test_no_secret_survives_whatever_stands_around_it(secret: str, before: str, after: str) -> None:
    assert secret not in without_secrets(f"{before} {secret} {after}")


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ,.", max_size=200))
def test_plain_words_pass_unchanged(text: str) -> None:
    assert without_pii(without_secrets(text)) == text


def test_personal_data_is_masked_by_its_kind_and_other_numbers_stay() -> None:
    assert without_pii("mail a.b+c@mail.example.org now") == "mail [EMAIL] now"
    assert without_pii("card 4111 1111 1111 1111.") == "card [CARD]."
    assert without_pii("order 4111 1111 1111 1112.") == "order 4111 1111 1111 1112."
    assert without_pii("IBAN DE89 3704 0044 0532 0130 00!") == "IBAN [IBAN]!"
    assert without_pii("ssn 123-45-6789") == "ssn [SSN]"
    assert without_pii("from 192.168.0.17 and 2001:db8:0:1:1:1:1:1") == "from [IP] and [IP]"
    assert without_pii("call +49 30 901820 or +4930901820") == "call [PHONE] or [PHONE]"
    assert without_pii("call (030) 901820, 212-555-0134") == "call [PHONE], [PHONE]"
    assert without_pii("on 2026-11-25 there were 42 of 1000") == "on 2026-11-25 there were 42 of 1000"


@pytest.mark.parametrize("hostile", ["a@" * 500_000, "1-" * 500_000, "eyJ" * 300_000, "A" * 1_000_000, "::" * 500_000])
def test_hostile_text_takes_time_by_its_length_alone(hostile: str) -> None:
    began = time.monotonic()
    without_pii(without_secrets(hostile))
    assert time.monotonic() - began < at_most(5)
