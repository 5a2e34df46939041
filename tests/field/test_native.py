"""The native endpoint: every option passes, its stream has a shape of its own, and what was cut says so."""

import json
from typing import Any

import pytest

from tests.field.build import DONE, ROLE, STOP, always, answer, ask, chat, chunk, data, of, one, rule, said, sse
from tests.field.play import Got, Play

PATHS = ["/v1/completion", "/v1/completions"]


def native(step: str = "call", path: str = "/v1/completion", **fields: Any) -> dict[str, Any]:
    return {"step": step, "request": f"POST {path}", "body": {"model": "m", "input": "hi", **fields}}


def events(got: Got) -> list[Any]:
    """The events of a native stream, without the mark of its end."""
    return [json.loads(each) for each in got.events if each != b"data:[DONE]" and each != b"[DONE]"]


def text(got: Got) -> str:
    return "".join(each.get("completion", "") for each in events(got))


# platform.openai.com/docs/api-reference/chat/create, in its order; below it what vLLM and OpenRouter take besides.
OPTIONS: dict[str, Any] = {
    "audio": {"format": "mp3", "voice": "alloy"},
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f", "parameters": {}}],
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 5,
    "max_tokens": 5,
    "metadata": {"a": "b"},
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": -0.5,
    "prompt_cache_key": "k",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "safety_identifier": "s",
    "seed": 7,
    "service_tier": "flex",
    "stop": ["\n", "END"],
    "store": False,
    "temperature": 0,
    "tool_choice": "none",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_logprobs": 2,
    "top_p": 0.1,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
    "top_k": 3,
    "min_p": 0.1,
    "chat_template_kwargs": {"enable_thinking": False},
    "provider": {"order": ["x"]},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_every_option_reaches_the_provider_by_its_name_and_nothing_else_does(
    play: Play, path: str, stream: bool
) -> None:
    played = await play(
        one(), {"a": always(said("x") if stream else chat("x"))}, [native(path=path, stream=stream, **OPTIONS)]
    )
    assert played["call"].status == 200
    (asked,) = played.asked("a")
    assert asked.target == "/v1/chat/completions"
    messages = [{"role": "user", "content": "hi"}]
    extra = {"stream_options": {"include_usage": True}} if stream else {}
    assert asked.json == {"model": "m", "messages": messages, "stream": stream, **OPTIONS, **extra}


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "user_config", "extra_headers"])
async def test_a_destination_is_refused_as_elsewhere(play: Play, name: str) -> None:
    played = await play(one(), {"a": always(chat("x"))}, [native(**{name: "http://127.0.0.1/"})])
    assert played["call"].status == 400
    assert played["call"].json["error"]["details"]["code"] == "unsupported_parameter"
    assert played.asked("a") == []


async def test_several_texts_are_refused_rather_than_thrown_away(play: Play) -> None:
    played = await play(one(), {"a": always(chat("x"))}, [native(n=2)])
    assert (played["call"].status, played["call"].json["error"]["details"]["code"]) == (400, "invalid_parameter")
    assert played.asked("a") == []


async def test_an_option_that_the_provider_refuses_is_named_without_its_words(play: Play) -> None:
    error = {"message": "temperature: 9 is too hot for 'hi'", "type": "invalid_request_error", "param": "temperature"}
    played = await play(one(), {"a": always(answer(400, {"error": error}))}, [native(temperature=9)])
    assert played["call"].status == 400
    assert played["call"].json["error"]["details"]["param"] == "temperature"
    assert b"too hot" not in played["call"].body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    "words",
    [
        {"error": {"message": "m", "type": "invalid_request_error", "param": None, "code": "context_length_exceeded"}},
        {"object": "error", "message": "This model's maximum context length is 8192 tokens.", "code": 400},
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
            }
        },
    ],
    ids=["OpenAI", "vLLM", "llama.cpp"],
)
async def test_a_prompt_that_is_too_long_is_told_by_its_code(play: Play, words: Any, stream: bool) -> None:
    played = await play(one(), {"a": always(answer(400, words))}, [native(stream=stream)])
    error = played["call"].json["error"]
    assert (played["call"].status, error["details"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("path", PATHS)
async def test_a_stream_has_the_native_shape_and_ends_with_how_it_ended_and_what_it_used(play: Play, path: str) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    stream = sse(
        ROLE, chunk({"content": "Hel"}), chunk({"content": "lo"}), STOP, data({"choices": [], "usage": usage}), DONE
    )
    played = await play(one(), {"a": always(stream)}, [native(path=path, stream=True)])
    got = played["call"]
    assert (got.status, got.whole) == (200, True)
    assert (got.header("content-type") or "").startswith("text/event-stream")
    id = got.header("x-request-id")
    assert events(got) == [
        {"completion": "Hel", "content": "Hel", "request_id": id},
        {"completion": "lo", "content": "lo", "request_id": id},
        {"completion": "", "content": "", "request_id": id, "finish_reason": "stop", "usage": usage},
    ]
    assert got.body.endswith(b"data: [DONE]\n\n")


async def test_usage_that_the_client_asked_for_itself_is_the_providers_own(play: Play) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "cost": 0.1}
    stream = sse(ROLE, chunk({"content": "x"}), STOP, data({"choices": [], "usage": usage}), DONE)
    played = await play(one(), {"a": always(stream)}, [native(stream=True, stream_options={"include_usage": True})])
    assert events(played["call"])[-1]["usage"] == usage


HIGH = 'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":null}]}\n\n'
LOW = 'data: {"choices":[{"index":0,"delta":{"content":"\\ude00!"},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize(
    ("stream", "whole"),
    [
        pytest.param([chunk({"content": "  Hello "}), chunk({"content": "there \n"})], "Hello there", id="space"),
        pytest.param(
            [chunk({"content": " \n"}), chunk({"content": " a"}), chunk({"content": "  b"})], "a  b", id="held"
        ),
        pytest.param([chunk({"content": "a"}), HIGH, LOW], "a\U0001f600!", id="half a character in each of two events"),
        pytest.param([chunk({"content": "a"}), HIGH], "a\ufffd", id="half a character and no more"),
        pytest.param(
            [": comment\r\n\r\n", 'data: {"choices":[{"index":0,\r\ndata: "delta":{"content":"x"}}]}\r\n\r\n'],
            "x",
            id="CRLF and two lines",
        ),
    ],
)
async def test_a_text_in_pieces_ends_up_as_it_would_have_whole(play: Play, stream: list[str], whole: str) -> None:
    played = await play(one(), {"a": always(sse(*stream, STOP, DONE))}, [native(stream=True)])
    assert played["call"].whole
    assert text(played["call"]) == whole


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("said_", "most", "left", "cut"),
    [
        ("hello world", 5, "hello", True),
        ("1234\U0001f600", 7, "1234", True),
        ("1234\U0001f600", 8, "1234\U0001f600", False),
        ("hello", 5, "hello", False),
        ("hello   ", 5, "hello", False),
    ],
)
async def test_what_was_cut_to_max_length_says_so(
    play: Play, stream: bool, said_: str, most: int, left: str, cut: bool
) -> None:
    pieces = [chunk({"content": letter}) for letter in said_]
    script = sse(ROLE, *pieces, STOP, DONE) if stream else chat(said_)
    configuration = one() | {"processing": {"response_formatting": {"max_length": most}}}
    played = await play(configuration, {"a": always(script)}, [native(stream=stream)])
    got = played["call"]
    last = events(got)[-1] if stream else got.json
    assert (text(got) if stream else got.json["completion"]) == left
    assert last.get("truncated", False) is cut
    assert last.get("finish_reason") == ("length" if cut else "stop" if stream else None)
    assert got.whole
    if not stream:
        assert got.header("x-hapax-truncated") == ("true" if cut else None)


async def test_an_answer_that_max_tokens_cut_says_so_too(play: Play) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hel"}, "finish_reason": "length"}
    played = await play(one(), {"a": always(chat("", choices=[choice]))}, [native(max_tokens=1)])
    value = played["call"].json
    assert (value["completion"], value["finish_reason"]) == ("Hel", "length")
    assert "truncated" not in value


CALL = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


async def test_a_call_of_a_tool_is_an_answer(play: Play) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": CALL}}
    whole = chat("", choices=[{**choice, "finish_reason": "tool_calls"}])
    stream = sse(ROLE, chunk({"tool_calls": [{"index": 0, **CALL[0]}]}), chunk({}, "tool_calls"), DONE)
    provider = {"models": ["m"], "rules": [rule(stream, stream=True), rule(whole)]}
    played = await play(one(), {"a": provider}, [native(tools=[]), native("streamed", tools=[], stream=True)])
    value = played["call"].json
    assert (value["completion"], value["tool_calls"], value["finish_reason"]) == ("", CALL, "tool_calls")
    first, last = events(played["streamed"])
    assert first["tool_calls"] == [{"index": 0, **CALL[0]}]
    assert last["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "end",
    [
        pytest.param([], id="cut without a word"),
        pytest.param([data({"error": {"message": "sk-secret is overloaded", "code": 503}})], id="an error event"),
    ],
)
async def test_a_stream_that_breaks_off_is_a_visible_cut_and_never_a_clean_end(
    play: Play, path: str, end: list[str]
) -> None:
    broken = [*sse(ROLE, chunk({"content": "Hel"}), *end, end=False), {"then": "close"}]
    played = await play(one() | {"failover": {"retries": 0}}, {"a": always(broken)}, [native(path=path, stream=True)])
    got = played["call"]
    assert (got.status, got.whole) == (200, False)
    *said_, last = events(got)
    assert [each["completion"] for each in said_] == ["Hel"]
    error = last["error"]
    assert error["request_id"] == got.header("x-request-id")
    assert error["type"] == ("ProcessingError" if path == "/v1/completion" else "server_error")
    assert b"[DONE]" not in got.body
    assert b"sk-secret" not in got.body


async def test_a_stream_that_fails_before_its_first_content_comes_from_the_next_provider(play: Play) -> None:
    configuration = {
        "providers": {"a": of(models=["m"]), "b": of(name="b", models=["m"])},
        "provider_preference": ["a", "b"],
    }
    played = await play(
        configuration,
        {"a": always([*sse(ROLE, end=False), {"then": "close"}]), "b": always(said("Hello"))},
        [native(stream=True)],
    )
    assert text(played["call"]) == "Hello"
    assert played["call"].header("x-hapax-provider") == "b"
    assert played["call"].header("x-hapax-attempts") == "2"


@pytest.mark.parametrize(
    ("script", "status", "type"),
    [
        pytest.param(answer(400, {"error": {"message": "no", "code": "bad"}}), 400, "ValidationError", id="a refusal"),
        pytest.param(answer(500, ""), 502, "ProcessingError", id="a failure"),
        pytest.param(chat("Hello"), 502, "ProcessingError", id="an answer that is no stream"),
    ],
)
async def test_a_stream_that_never_begins_is_an_error_with_its_status(
    play: Play, script: list[Any], status: int, type: str
) -> None:
    played = await play(one() | {"failover": {"retries": 0}}, {"a": always(script)}, [native(stream=True)])
    assert (played["call"].status, played["call"].json["error"]["type"]) == (status, type)


@pytest.mark.parametrize("stream", ["true", 1, "yes"])
async def test_a_stream_option_of_another_type_is_refused(play: Play, stream: Any) -> None:
    played = await play(one(), {"a": always(chat("x"))}, [native(stream=stream)])
    assert (played["call"].status, played["call"].json["error"]["details"]["code"]) == (400, "invalid_type")


async def test_the_older_path_of_another_shape_still_refuses_to_stream(play: Play) -> None:
    asked = {"step": "call", "request": "POST /api/generate", "body": {"prompt": "x", "model": "m", "stream": True}}
    played = await play(one(), {"a": always(chat("x"))}, [asked])
    assert (played["call"].status, played["call"].json["code"]) == (400, "invalid_parameter")


async def test_templates_and_formats_are_counted(play: Play) -> None:
    formatting = {"clean_json": True, "max_length": 8}
    script = {
        "models": ["m"],
        "rules": [
            rule(chat("```json\n[1]\n```"), has="fence"),
            rule(chat("far too long"), has="long"),
            rule(chat("", choices=[{"index": 0, "message": {"content": 7}, "finish_reason": "stop"}]), has="none"),
            rule(said(" pieces "), stream=True),
            rule(chat(" x ")),
        ],
    }
    played = await play(
        one() | {"processing": {"response_formatting": formatting}, "failover": {"retries": 0}},
        {"a": script},
        [
            native("1", input="fence"),
            native("2", input="long", function_description="f"),
            native("3", input="none"),
            native("4", stream=True),
            native("5", input=None, messages=[{"role": "user", "content": "a"}]),
            native("6", path="/v1/completion?type=chat", messages=[{"role": "user", "content": "a"}]),
            ask(step="7"),
            {"step": "metrics", "request": "GET /metrics"},
        ],
    )
    assert [played[str(number)].status for number in range(1, 8)] == [200, 200, 502, 200, 200, 200, 200]
    lines = played["metrics"].body.decode().splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if line.startswith("hapax_processing_"))
    assert {name: float(count) for name, count in counts.items() if "_seconds_" not in name} == {
        'hapax_processing_templates_total{template="default"}': 3,
        'hapax_processing_templates_total{template="function"}': 1,
        'hapax_processing_templates_total{template="chat"}': 1,
        'hapax_processing_templates_total{template="none"}': 1,
        'hapax_processing_answers_total{outcome="ok"}': 5,
        'hapax_processing_answers_total{outcome="invalid"}': 1,
        'hapax_processing_changes_total{change="clean_json"}': 1,
        'hapax_processing_changes_total{change="trim_whitespace"}': 3,
        'hapax_processing_changes_total{change="max_length"}': 1,
    }
    for phase in ("template", "format"):
        assert float(counts[f'hapax_processing_seconds_total{{phase="{phase}"}}']) > 0
