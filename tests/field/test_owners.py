"""
What an account made lives there alone: every call that names it goes to the provider and key that made it, and nothing
another account says of it is ever shown.
"""

from typing import Any

import pytest

from proxy.relay import kept
from proxy.settings import Settings
from tests.field.build import KEY_A, KEY_A2, answer, chat, event, message, one, response, rule, sse, two
from tests.field.play import Play, Played, exchange, filled, request_bytes

WEB, SHOP, DESK = ("hapax-field-web-7d2c1f0a", "hapax-field-shop-55e1b9c3", "hapax-field-desk-0b6fa4d8")
KEYS = [
    {"name": "web", "key": WEB, "team": "front"},
    {"name": "shop", "key": SHOP, "team": "front"},
    {"name": "desk", "key": DESK},
]
FAMILIES = (
    # What a POST at each makes: https://github.com/openai/openai-python/blob/main/api.md
    *("files", "batches", "responses", "conversations", "vector_stores", "assistants", "threads", "evals", "uploads"),
    *("fine_tuning/jobs", "containers", "videos", "skills", "chatkit/sessions", "agents", "live/sessions", "vaults"),
    # https://github.com/anthropics/anthropic-sdk-python/blob/main/api.md
    "messages/batches",
)
AWAY = {"provider": "a", "from_now_on": "refuses connections"}
BACK = {"provider": "a", "from_now_on": "as before"}
ILL = {"provider": "a", "from_now_on": "answers by rules_when.ill"}
NONE = answer(
    404, {"error": {"message": "No such object.", "type": "invalid_request_error", "param": "id", "code": None}}
)
NOT_FOUND = {"message": "Previous response with id 'x' not found.", "type": "invalid_request_error"}


def account(mark: str, *more: dict[str, Any], key: str | None = None) -> list[dict[str, Any]]:
    """The rules of an account whose ids end in *mark*: it knows those and no others, in paths and bodies."""
    only = {} if key is None else {"key": key}
    rules = [{**each, "when": {**each["when"], **only}} for each in more]
    rules.append(rule(answer(400, {"error": NOT_FOUND}), has="_id", lacks=mark, method="POST", **only))
    made = response("Hello", id=f"responses-{mark}")
    rules.append(rule(made, method="POST", path="/v1/responses", **only))
    for family in FAMILIES:
        thing = answer(200, {"id": f"{family.replace('/', '')}-{mark}", "object": family, "status": "completed"})
        rules.append(rule(thing, method="POST", path=f"/v1/{family}", **only))
    rules.append(rule(answer(200, {"object": "thing", "of": mark}), path=f"*{mark}*", **only))
    rules.append(rule(NONE, **only))
    return rules


def pair(*more: dict[str, Any]) -> dict[str, Any]:
    """Two providers, each an account of its own; *more*: rules that come first at `b`."""
    ill = [rule(answer(503, {"error": {"message": "Overloaded.", "type": "server_error"}}))]
    return {
        "a": {"models": ["m"], "rules": account("aa1"), "rules_when": {"ill": ill}},
        "b": {"models": ["m"], "rules": account("bb1", *more)},
    }


def make(family: str, step: str = "make", **body: Any) -> dict[str, Any]:
    return {"step": step, "request": f"POST /v1/{family}", "body": body or {"model": "m"}}


def get(path: str, step: str = "read", **more: Any) -> dict[str, Any]:
    return {"step": step, "request": f"GET /v1/{path}", **more}


def post(path: str, step: str = "call", **body: Any) -> dict[str, Any]:
    return {"step": step, "request": f"POST /v1/{path}", "body": body}


async def again(played: Played, step: dict[str, Any], **ids: Any) -> Any:
    """One more step, after something was done to the gateway."""
    names = {f"id:{name}": got.json["id"] for name, got in played.got.items() if got.status == 200 and "id" in got.json}
    return await exchange(played.gateway.port, request_bytes(filled(step, names), played.gateway.port))


BELOW = [
    pytest.param("files", "GET /v1/files/{id:make}/content", id="a file's content"),
    pytest.param("batches", "POST /v1/batches/{id:make}/cancel", id="a batch is cancelled"),
    pytest.param("responses", "GET /v1/responses/{id:make}/input_items?limit=2", id="what a response was asked"),
    pytest.param("conversations", "GET /v1/conversations/{id:make}/items/msg_7", id="an item of a conversation"),
    pytest.param("vector_stores", "POST /v1/vector_stores/{id:make}/search", id="a vector store is searched"),
    pytest.param("vector_stores", "GET /v1/vector_stores/{id:make}/file_batches/vsfb_1/files", id="a batch of files"),
    pytest.param("assistants", "POST /v1/assistants/{id:make}", id="an assistant is changed"),
    pytest.param("threads", "POST /v1/threads/{id:make}/messages", id="a message in a thread"),
    pytest.param("threads", "GET /v1/threads/{id:make}/runs/run_1/steps/step_1", id="the step of a run in a thread"),
    pytest.param("fine_tuning/jobs", "GET /v1/fine_tuning/jobs/{id:make}/events", id="what a fine-tuning job tells"),
    pytest.param("uploads", "POST /v1/uploads/{id:make}/complete", id="an upload is completed"),
    pytest.param("containers", "GET /v1/containers/{id:make}/files/cfile_1/content", id="a file in a container"),
    pytest.param("evals", "GET /v1/evals/{id:make}/runs/evalrun_1/output_items", id="what a run of an eval put out"),
    pytest.param("videos", "GET /v1/videos/{id:make}/content?variant=thumbnail", id="a video's thumbnail"),
    pytest.param("skills", "GET /v1/skills/{id:make}/versions/2", id="a version of a skill"),
    pytest.param("chatkit/sessions", "POST /v1/chatkit/sessions/{id:make}/cancel", id="a chat session is cancelled"),
    pytest.param("messages/batches", "GET /v1/messages/batches/{id:make}/results", id="a message batch's results"),
    pytest.param("agents", "GET /v1/agents/{id:make}", id="an agent"),
    pytest.param("live/sessions", "POST /v1/live/sessions/{id:make}/hangup", id="a live session is hung up"),
    pytest.param("vaults", "POST /v1/vaults/{id:make}/credentials", id="a credential in a vault"),
]


@pytest.mark.parametrize(("family", "request_line"), BELOW)
async def test_what_a_path_names_is_asked_of_its_maker_alone(play: Play, family: str, request_line: str) -> None:
    call: dict[str, Any] = {"step": "call", "request": request_line}
    if request_line.startswith("POST"):
        call["body"] = {}
    played = await play(two(), pair(), [AWAY, make(family), BACK, call])
    assert played["make"].status == 200
    assert (played["call"].status, played["call"].json["of"]) == (200, "bb1")
    assert played.asked("a") == []


FILE = "{id:make}"
IN_BODIES = [
    pytest.param("files", "batches", {"input_file_id": FILE, "endpoint": "/v1/responses"}, id="a batch of a file"),
    pytest.param("files", "fine_tuning/jobs", {"model": "m", "training_file": FILE}, id="a training file"),
    pytest.param("files", "fine_tuning/jobs", {"model": "m", "validation_file": FILE}, id="a validation file"),
    pytest.param("files", "vector_stores", {"file_ids": [FILE]}, id="a vector store of files"),
    pytest.param(
        "files",
        "assistants",
        {"model": "m", "tool_resources": {"code_interpreter": {"file_ids": [FILE]}}},
        id="an assistant with a file",
    ),
    pytest.param(
        "files",
        "threads",
        {"messages": [{"role": "user", "content": "x", "attachments": [{"file_id": FILE, "tools": []}]}]},
        id="a thread with an attachment",
    ),
    pytest.param("assistants", "threads/runs", {"assistant_id": FILE, "thread": {}}, id="a run of an assistant"),
    pytest.param("files", "containers", {"name": "x", "file_ids": [FILE]}, id="a container with a file"),
    pytest.param(
        "files",
        "evals",
        {
            "data_source_config": {"type": "custom"},
            "data_source": {"source": {"type": "file_id", "id": "x"}, "file_id": FILE},
        },
        id="an eval of a file",
    ),
    pytest.param(
        "files",
        "evals/eval_bb1/runs",
        {"data_source": {"type": "jsonl", "source": {"type": "file_id", "id": FILE}}},
        id="a run of an eval over the rows of a file",
    ),
    pytest.param(
        "files",
        "responses",
        {"model": "m", "prompt": {"id": "pmpt_1", "variables": {"report": {"type": "input_file", "file_id": FILE}}}},
        id="a prompt with a file for a variable",
    ),
    pytest.param("videos", "videos/edits", {"video": {"id": FILE}, "prompt": "a cat"}, id="a video is edited"),
    pytest.param(
        "files",
        "messages/batches",
        {"requests": [{"custom_id": "1", "params": {"content": [{"source": {"type": "file", "file_id": FILE}}]}}]},
        id="a message batch about a file",
    ),
    pytest.param(
        "files",
        "responses",
        {"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": FILE}]}]},
        id="a response about a file",
    ),
    pytest.param(
        "vector_stores",
        "responses",
        {"model": "m", "input": "x", "tools": [{"type": "file_search", "vector_store_ids": [FILE]}]},
        id="a response that searches a vector store",
    ),
    pytest.param(
        "containers",
        "responses",
        {"model": "m", "input": "x", "tools": [{"type": "code_interpreter", "container": FILE}]},
        id="a response that runs code in a container",
    ),
    pytest.param("conversations", "responses", {"model": "m", "input": "x", "conversation": FILE}, id="a conversation"),
    pytest.param(
        "conversations",
        "responses",
        {"model": "m", "input": "x", "conversation": {"id": FILE}},
        id="a conversation's object",
    ),
    pytest.param(
        "files",
        "chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": FILE}}]}]},
        id="a chat about a file",
    ),
    pytest.param(
        "files",
        "messages",
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [
                {"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": FILE}}]}
            ],
        },
        id="a message about a document",
    ),
]


@pytest.mark.parametrize(("family", "path", "body"), IN_BODIES)
async def test_what_a_body_names_is_asked_of_its_maker_alone(
    play: Play, family: str, path: str, body: dict[str, Any]
) -> None:
    said = {"chat/completions": chat("from b"), "messages": message("from b")}.get(path, response("from b"))
    made = rule(said, method="POST", path=f"/v1/{path}")
    providers = {
        **pair(),
        "b": {
            "models": ["m"],
            "rules": [
                rule(answer(200, {"id": f"{family}-bb1"}), path=f"/v1/{family}", method="POST", lacks="bb1"),
                made,
            ],
        },
    }
    played = await play(two(), providers, [AWAY, make(family), BACK, post(path, **body)])
    assert played["call"].status == 200, played["call"].body
    assert played.asked("a") == []
    assert b"bb1" in played.asked("b", "call")[0].body


CREATED = {"type": "response.created", "response": {"id": "resp_bb1", "object": "response", "status": "in_progress"}}
DELTA = {"type": "response.output_text.delta", "delta": "Hi", "item_id": "msg_1", "output_index": 0, "content_index": 0}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_bb1", "object": "response", "status": "completed"}}
STREAMED = sse(
    event("response.created", CREATED),
    event("response.output_text.delta", DELTA),
    event("response.completed", COMPLETED),
)


async def test_a_streamed_response_is_continued_by_the_provider_that_streamed_it(play: Play) -> None:
    # https://platform.openai.com/docs/api-reference/responses-streaming
    providers = pair(rule(STREAMED, path="/v1/responses", method="POST", lacks="previous_response_id"))
    played = await play(
        two(),
        providers,
        [
            AWAY,
            post("responses", "make", model="m", input="hi", stream=True),
            BACK,
            post("responses", model="m", input="go on", previous_response_id="resp_bb1"),
            get("responses/resp_bb1"),
        ],
    )
    assert [played[step].status for step in ("make", "call", "read")] == [200, 200, 200]
    assert played["call"].header("x-hapax-provider") == "b"
    assert played.asked("a") == []


async def test_a_streamed_run_tells_of_its_thread_and_of_itself(play: Play) -> None:
    # https://platform.openai.com/docs/api-reference/assistants-streaming/events
    thread = event("thread.created", {"id": "thread_bb1", "object": "thread"})
    run = event("thread.run.created", {"id": "run_bb1", "object": "thread.run", "thread_id": "thread_bb1"})
    stream = sse(thread, run, event("done", "[DONE]"))
    played = await play(
        two(),
        pair(rule(stream, path="/v1/threads/runs", method="POST")),
        [
            AWAY,
            post("threads/runs", "make", assistant_id="asst_bb1", stream=True),
            BACK,
            get("threads/thread_bb1/messages"),
            get("threads/thread_unknown/runs/run_bb1", "run"),
        ],
    )
    assert [played[step].status for step in ("make", "read", "run")] == [200, 200, 200]
    assert played.asked("a") == []


async def test_a_stored_chat_is_remembered_and_another_is_not(play: Play) -> None:
    # https://platform.openai.com/docs/api-reference/chat/create (store)
    first = rule(chat("hi", id="chatcmpl-bb1"), path="/v1/chat/completions", has='"store":true')
    other = rule(chat("hi", id="chatcmpl-bb2"), path="/v1/chat/completions", method="POST")
    ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    played = await play(
        two(),
        pair(first, other),
        [
            AWAY,
            post("chat/completions", "make", **ask, store=True),
            post("chat/completions", "pad", **ask),
            BACK,
            get("chat/completions/chatcmpl-bb1/messages"),
            get("chat/completions/chatcmpl-bb2", "other"),
        ],
    )
    assert (played["read"].status, played.asked("a", "read")) == (200, [])
    assert (played["other"].status, len(played.asked("a", "other"))) == (404, 1)


async def test_the_files_a_batch_brought_forth_are_where_the_batch_is(play: Play) -> None:
    done = {"id": "batches-bb1", "status": "completed", "output_file_id": "file-out-1", "error_file_id": "file-err-1"}
    content = rule(answer(200, '{"custom_id":"1"}\n', "application/jsonl"), path="/v1/files/file-*-1/content")
    played = await play(
        two(),
        pair(rule(answer(200, done), method="GET", path="/v1/batches/*"), content),
        [
            AWAY,
            make("batches"),
            BACK,
            get("batches/{id:make}", "poll"),
            get("files/file-out-1/content", "output"),
            get("files/file-err-1/content", "errors"),
        ],
    )
    assert [played[step].body for step in ("output", "errors")] == [b'{"custom_id":"1"}\n'] * 2
    assert played.asked("a") == []


async def test_the_file_of_a_completed_upload_is_where_the_upload_was(play: Play) -> None:
    whole = {
        "id": "uploads-bb1",
        "object": "upload",
        "status": "completed",
        "file": {"id": "file-up-9", "object": "file"},
    }
    played = await play(
        two(),
        pair(
            rule(answer(200, whole), path="/v1/uploads/*/complete"),
            rule(answer(200, {"id": "file-up-9"}), path="/v1/files/file-up-9"),
        ),
        [AWAY, make("uploads"), BACK, post("uploads/{id:make}/complete", part_ids=["part_1"]), get("files/file-up-9")],
    )
    assert (played["read"].status, played.asked("a")) == (200, [])


async def test_what_stands_in_a_file_teaches_nothing(play: Play) -> None:
    # A file's content is its maker's: it must not claim what another account of ours made.
    forged = rule(answer(200, {"id": "x", "output_file_id": "file-victim"}), path="/v1/files/files-bb1/content")
    played = await play(
        two(),
        pair(forged),
        [AWAY, make("files"), BACK, get("files/{id:make}/content", "forge"), get("files/file-victim")],
    )
    assert played["forge"].status == 200
    assert (played["read"].status, len(played.asked("a", "read"))) == (404, 1)


async def test_what_a_tool_was_called_with_names_nothing(play: Play) -> None:
    # https://docs.claude.com/en/docs/agents-and-tools/tool-use: `input` is what the model wrote
    body: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "read", "input": {"file_id": "q"}}],
            }
        ],
    }
    said = answer(
        200, {"id": "msg_1", "type": "message", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
    )
    ill = [rule(answer(503, {"error": {"message": "x"}}))]
    providers = {"a": {"models": ["m"], "rules": ill}, "b": {"models": ["m"], "rules": [rule(said)]}}
    played = await play(two(), providers, [post("messages", **body)])
    trail = await again(played, {"request": f"GET /admin/requests/{played['call'].header('x-request-id')}"})
    assert (played["call"].header("x-hapax-provider"), trail.json["kept_to"]) == ("b", "")


ABSENT = [
    pytest.param(404, NOT_FOUND, id="404"),
    pytest.param(400, {**NOT_FOUND, "code": "previous_response_not_found"}, id="OpenAI's code"),
    pytest.param(400, NOT_FOUND, id="words alone"),
    pytest.param(404, {"type": "not_found_error", "message": "Not found"}, id="Anthropic's type"),
    pytest.param(
        400,
        {
            "message": "Invalid 'previous_response_id': 'x'. Expected an ID that begins with 'resp'.",
            "type": "invalid_request_error",
        },
        id="an id in another vendor's form",
    ),
]


@pytest.mark.parametrize(("status", "error"), ABSENT)
async def test_an_unknown_response_is_asked_of_each_and_then_remembered(
    play: Play, status: int, error: dict[str, Any]
) -> None:
    providers = {
        "a": {"models": ["m"], "rules": [rule(answer(status, {"error": error}))]},
        "b": {"models": ["m"], "rules": [rule(response("Hello", id="resp_new"))]},
    }
    call = post("responses", "first", model="m", input="x", previous_response_id="resp_old")
    played = await play(two(), providers, [call, {**call, "step": "second"}, get("responses/resp_old")])
    assert [played[step].status for step in ("first", "second", "read")] == [200, 200, 200]
    assert [len(played.asked("a", step)) for step in ("first", "second", "read")] == [1, 0, 0]


async def test_thoughts_that_an_account_keeps_are_found_and_stay_there(play: Play) -> None:
    # "Item with id 'rs_...' not found. Items are not persisted when `store` is set to false."
    # https://github.com/vercel/ai/issues/7543
    gone = {"message": "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."}
    providers = {
        "a": {"models": ["m"], "rules": [rule(answer(404, {"error": gone}), has="rs_1"), rule(response("a"))]},
        "b": {"models": ["m"], "rules": [rule(response("b"))]},
    }
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    sealed = {**thought, "encrypted_content": "gAAAA"}
    call = post("responses", "first", model="m", input=[thought, {"role": "user", "content": "x"}])
    played = await play(
        two(),
        providers,
        [call, {**call, "step": "second"}, post("responses", "sealed", model="m", input=[{**sealed, "id": "rs_2"}])],
    )
    assert [played[step].header("x-hapax-provider") for step in ("first", "second", "sealed")] == ["b", "b", "a"]
    assert played.asked("a", "second") == []


def keyed(*keys: str) -> dict[str, Any]:
    return {"type": "compatible", "base_url": "{a}/v1", "api_keys": list(keys), "models": ["m"]}


TWO_KEYS = {"models": ["m"], "rules": [*account("aa1", key=KEY_A), *account("aa2", key=KEY_A2)]}


async def test_an_unknown_file_is_found_under_a_providers_second_key(play: Play) -> None:
    played = await play(
        {"providers": {"a": keyed(KEY_A, KEY_A2)}},
        {"a": TWO_KEYS},
        [get("files/file-aa2", "first"), get("files/file-aa2", "second"), get("files/file-none", "none")],
    )
    assert [asked.key for asked in played.asked("a", "first")] == [KEY_A, KEY_A2]
    assert [asked.key for asked in played.asked("a", "second")] == [KEY_A2]
    assert [asked.key for asked in played.asked("a", "none")] == [KEY_A, KEY_A2]
    assert (played["none"].status, played["none"].error["message"]) == (404, "No such object.")


async def test_a_form_for_an_unknown_upload_is_sent_whole_to_each(play: Play) -> None:
    form = [
        '--x\r\nContent-Disposition: form-data; name="data"; filename="p"\r\n\r\n',
        {"repeat": "P", "times": 200000},
        "\r\n--x--\r\n",
    ]
    step = {
        "step": "call",
        "request": "POST /v1/uploads/upload_bb1/parts",
        "content_type": "multipart/form-data; boundary=x",
        "body": form,
    }
    played = await play(two(), pair(), [step])
    assert played["call"].status == 200
    sent = [played.asked(name)[0].body for name in "ab"]
    assert sent[0] == sent[1]
    assert sent[1].count(b"P") == 200000


async def test_a_form_too_large_to_be_held_is_put_to_one_account_whose_no_is_not_the_last_word(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_HELD", 1000)
    step = post("uploads/upload_bb1/parts", data="P" * 300_000)
    played = await play(two(), pair(), [{**step, "content_type": "application/octet-stream"}])
    assert (played["call"].status, played["call"].error["code"]) == (503, "object_owner_unavailable")
    assert played["call"].header("x-should-retry") == "false"
    assert played.asked("b") == []


async def test_the_makers_word_on_a_context_that_is_too_long_is_final(play: Play) -> None:
    config = two()
    config["models"] = {"m": {"targets": ["a/m"], "context_fallbacks": ["n"]}, "n": {"targets": ["b/m"]}}
    long = {"error": {"message": "Too long.", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    providers = pair()
    providers["a"]["rules"].insert(0, rule(answer(400, long), has="previous_response_id"))
    call = post("responses", model="m", input="x", previous_response_id="{id:make}")
    played = await play(config, providers, [post("responses", "make", model="m", input="x"), call])
    assert (played["call"].status, played["call"].json) == (400, long)
    assert played.asked("b") == []


async def test_while_one_that_may_hold_it_is_ill_the_others_no_is_not_believed(play: Play) -> None:
    played = await play(two(), pair(), [ILL, get("batches/batch_aa1"), BACK, get("batches/batch_aa1", "well")])
    assert (played["read"].status, played["read"].error["code"]) == (503, "object_owner_unavailable")
    assert "'a' says it is unavailable" in played["read"].error["message"]
    assert played["read"].header("retry-after") is not None
    assert len(played.asked("b", "read")) == 1
    assert played["well"].status == 200


async def test_the_makers_own_no_passes_as_it_is(play: Play) -> None:
    gone = {
        "error": {"message": "No such File object: x", "type": "invalid_request_error", "param": "id", "code": None}
    }
    played = await play(
        two(),
        pair(rule(answer(404, gone), method="GET", path="/v1/files/files-bb1")),
        [AWAY, make("files"), BACK, get("files/{id:make}")],
    )
    assert (played["read"].status, played["read"].json) == (404, gone)
    assert played.asked("a") == []


CONDITIONS = [
    pytest.param([], "could not be reached", id="its port is closed"),
    pytest.param(answer(500, {"error": {"message": "x"}}), "failed", id="500"),
    pytest.param(
        answer(401, {"error": {"message": "x", "code": "invalid_api_key"}}), "refused the gateway's key", id="401"
    ),
    pytest.param(answer(200, "<html>"), "malformed", id="a page"),
]


@pytest.mark.parametrize(("said", "words"), CONDITIONS)
async def test_a_maker_that_cannot_answer_is_named_with_its_condition(play: Play, said: list[Any], words: str) -> None:
    providers = pair()
    providers["a"]["rules_when"]["ill"] = [rule(said)]
    played = await play(two(), providers, [make("files"), ILL if said else AWAY, get("files/{id:make}")])
    error = played["read"].error
    assert (played["read"].status, error["code"]) == (503, "object_owner_unavailable")
    assert "'a'" in error["message"]
    assert words in error["message"]
    assert int(played["read"].header("retry-after") or 0) >= 1
    assert played.asked("b") == []
    trail = await again(played, {"request": "GET /admin/requests/" + str(played["read"].header("x-request-id"))})
    assert trail.json["kept_to"] == "a"


async def test_a_maker_at_its_rate_limit_is_told_as_that(play: Play) -> None:
    providers = pair()
    limited = answer(429, {"error": {"message": "x", "type": "rate_limit_error"}}, headers="Retry-After: 90\r\n")
    providers["a"]["rules_when"]["ill"] = [rule(limited)]
    played = await play(two(), providers, [make("files"), ILL, get("files/{id:make}"), get("files/{id:make}", "again")])
    for step in ("read", "again"):
        assert (played[step].status, played[step].error["code"]) == (429, "rate_limit_exceeded")
        assert played[step].header("retry-after") == "60"
    assert played.asked("b") == []


async def test_a_parked_key_is_not_asked_and_another_is_not_asked_instead(play: Play) -> None:
    refused = rule(answer(401, {"error": {"message": "x", "code": "invalid_api_key"}}), key=KEY_A)
    script = {**TWO_KEYS, "rules_when": {"ill": [refused, *TWO_KEYS["rules"]]}}
    played = await play(
        {"providers": {"a": keyed(KEY_A, KEY_A2)}},
        {"a": script},
        [make("files"), ILL, get("files/{id:make}"), get("files/{id:make}", "again"), get("files", "list")],
    )
    assert [played[step].status for step in ("read", "again")] == [503, 503]
    assert "refused the gateway's key" in played["again"].error["message"]
    assert played.asked("a", "again") == []
    # Lists go on with the key that is good.
    assert [asked.key for asked in played.asked("a", "list")] == [KEY_A2]


async def test_another_keys_object_is_not_there_and_a_teammates_is(play: Play) -> None:
    def of(key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    config = {**two(), "auth": {"keys": KEYS}}
    file, step = "{id:make}", {"model": "m", "input": [{"content": [{"type": "input_file", "file_id": "{id:make}"}]}]}
    played = await play(
        config,
        pair(),
        [
            {**make("files"), **of(WEB)},
            {**get(f"files/{file}", "own"), **of(WEB)},
            {**get(f"files/{file}", "team"), **of(SHOP)},
            {**get(f"files/{file}", "other"), **of(DESK)},
            {"step": "delete", "request": f"DELETE /v1/files/{file}", **of(DESK)},
            {**post("responses", "body", **step), **of(DESK)},
            {**get("files/unknown-aa1", "unknown"), **of(DESK)},
        ],
    )
    assert [played[name].status for name in ("own", "team")] == [200, 200]
    for name in ("other", "delete", "body"):
        assert (played[name].status, played[name].error["code"]) == (404, "object_not_found")
        assert played.asked("a", name) == played.asked("b", name) == []
    assert played["unknown"].status == 200


async def test_what_was_deleted_is_forgotten(play: Play) -> None:
    gone = rule(answer(200, {"id": "files-bb1", "deleted": True}), method="DELETE", path="/v1/files/files-bb1")
    played = await play(
        two(),
        pair(gone),
        [
            AWAY,
            make("files"),
            BACK,
            {"step": "delete", "request": "DELETE /v1/files/{id:make}"},
            get("files/{id:make}"),
        ],
    )
    assert (played["delete"].status, played.asked("a", "delete")) == (200, [])
    assert len(played.asked("a", "read")) == 1


async def test_a_response_of_a_fallback_model_is_continued_by_the_fallback(play: Play) -> None:
    config = two()
    config["models"] = {"m": {"targets": ["a/m"], "fallbacks": ["n"]}, "n": {"targets": ["b/m"]}}
    providers = pair()
    providers["a"]["rules_when"]["ill"] = [rule(answer(503, {"error": {"message": "x"}}))]
    played = await play(
        config,
        providers,
        [
            ILL,
            post("responses", "make", model="m", input="x"),
            BACK,
            post("responses", model="m", input="x", previous_response_id="{id:make}"),
            post("responses", "new", model="m", input="x"),
        ],
    )
    assert [played[step].header("x-hapax-provider") for step in ("make", "call", "new")] == ["b", "b", "a"]
    assert (played.asked("a", "call"), played.asked("b", "call")[0].model) == ([], "m")


async def test_a_model_that_the_maker_does_not_serve_is_refused_as_that(play: Play) -> None:
    config = two()
    config["providers"]["b"]["models"] = ["other"]
    call = post("responses", model="other", input="x", previous_response_id="{id:make}")
    played = await play(config, pair(), [post("responses", "make", model="m", input="x"), call])
    assert (played["call"].status, played["call"].error["code"]) == (404, "model_not_found")
    assert played.asked("b") == []


async def reloaded(played: Played, providers: dict[str, Any], order: list[str]) -> None:
    """Put *providers* in the place of those there are."""
    places = {name: each.url for name, each in played.providers.items()}
    gateway = played.gateway.listener.gateway
    whole = gateway.settings.model_dump(exclude_unset=True)
    settings = Settings.model_validate(
        {
            "server": whole["server"],
            "store": {"url": ""},
            "providers": filled(providers, places),
            "provider_preference": order,
        }
    )
    await gateway.reload(settings)


async def test_keys_in_another_order_open_what_they_opened(play: Play) -> None:
    played = await play(
        {"providers": {"a": keyed(KEY_A, KEY_A2)}}, {"a": TWO_KEYS}, [make("files", "first"), make("files")]
    )
    made = {played["first"].json["id"], played["make"].json["id"]}
    assert made == {"files-aa1", "files-aa2"}
    await reloaded(played, {"a": keyed("sk-field-a3-new", KEY_A2, KEY_A)}, ["a"])
    before = len(played.asked("a"))
    assert (await again(played, get("files/files-aa1"))).status == 200
    assert (await again(played, get("files/files-aa2"))).status == 200
    assert [asked.key for asked in played.asked("a")[before:]] == [KEY_A, KEY_A2]


async def test_a_key_that_was_replaced_is_looked_for_among_its_providers_keys(play: Play) -> None:
    fresh = {"models": ["m"], "rules": [*account("aa1", key=KEY_A), *account("aa1", key="sk-field-a3-new")]}
    played = await play({"providers": {"a": keyed(KEY_A)}}, {"a": fresh}, [make("files")])
    await reloaded(played, {"a": keyed(KEY_A2, "sk-field-a3-new")}, ["a"])
    before = len(played.asked("a"))
    assert [(await again(played, get("files/files-aa1"))).status for _ in range(2)] == [200, 200]
    assert [asked.key for asked in played.asked("a")[before:]] == [KEY_A2, "sk-field-a3-new", "sk-field-a3-new"]
    # Its old account is gone for good: that is not the same as a file that never was.
    await reloaded(played, {"a": keyed(KEY_A2)}, ["a"])
    answered = await again(played, get("files/files-aa1"))
    assert (answered.status, answered.error["code"]) == (503, "object_owner_unavailable")


async def test_a_provider_that_was_taken_out_is_named_and_no_other_asked(play: Play) -> None:
    played = await play(two(), pair(), [make("files")])
    await reloaded(played, {"b": two()["providers"]["b"]}, ["b"])
    answered = await again(played, get("files/{id:make}"))
    assert (answered.status, answered.error["code"]) == (503, "object_owner_unavailable")
    assert "'a', which is no longer configured" in answered.error["message"]
    assert played.asked("b") == []


async def test_pages_of_a_list_come_from_one_account(play: Play) -> None:
    page = {"object": "list", "data": [{"id": "file-1"}], "has_more": True}
    played = await play(
        {"providers": {"a": keyed(KEY_A, KEY_A2)}},
        {
            "a": {
                "models": ["m"],
                "rules": [rule(answer(200, page), path="/v1/files", method="GET"), *TWO_KEYS["rules"]],
            }
        },
        [
            make("files", "other"),
            make("files"),
            *(get("files?limit=1", f"page {n}") for n in range(3)),
            get("files?after={id:make}", "next"),
        ],
    )
    assert [asked.key for n in range(3) for asked in played.asked("a", f"page {n}")] == [KEY_A] * 3
    # The cursor is an id, too.
    owner = played.asked("a", "make")[0].key
    assert [asked.key for asked in played.asked("a", "next")] == [owner]


async def test_a_container_of_a_message_is_used_again_where_it_is(play: Play) -> None:
    # https://docs.claude.com/en/docs/agents-and-tools/tool-use/code-execution-tool (container reuse)
    said = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "x"}],
    }
    first = rule(answer(200, {**said, "container": {"id": "container_9", "expires_at": "x"}}), path="/v1/messages")
    ask: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    tools = [{"type": "code_execution_20250825", "name": "code_execution"}]
    played = await play(
        two(),
        pair(first),
        [
            AWAY,
            post("messages", "make", **ask, tools=tools),
            BACK,
            post("messages", **ask, tools=tools, container="container_9"),
        ],
    )
    assert [played[step].header("x-hapax-provider") for step in ("make", "call")] == ["b", "b"]
    assert played.asked("a") == []


REST_OF_RESPONSES = [
    pytest.param("GET /v1/responses/resp_1?include[]=reasoning.encrypted_content", None, 200, id="with more in it"),
    pytest.param("POST /v1/responses/resp_1/cancel", {}, 200, id="cancelled with an empty object"),
    pytest.param("POST /v1/responses/input_tokens", {"model": "m", "input": "hi"}, 200, id="tokens are counted"),
    pytest.param("POST /v1/responses/compact", {"model": "m", "input": []}, 200, id="a history is made shorter"),
    pytest.param("GET /v1/responses/resp_1/input_items?after=msg_1&limit=1&order=asc", None, 200, id="a page of input"),
    pytest.param("PUT /v1/responses", {"model": "m"}, 405, id="no such method"),
    pytest.param("DELETE /v1/responses", None, 405, id="nothing named to delete"),
    pytest.param("GET /v1/responses?limit=20", None, 405, id="there is no list"),
]


@pytest.mark.parametrize(("line", "body", "status"), REST_OF_RESPONSES)
async def test_the_rest_of_the_responses_api_is_relayed_or_refused_and_calls_go_on(
    play: Play, line: str, body: Any, status: int
) -> None:
    # https://platform.openai.com/docs/api-reference/responses
    step = {"step": "call", "request": line, **({} if body is None else {"body": body})}
    played = await play(
        one(),
        {"a": {"models": ["m"], "rules": [rule(response("Hello"))]}},
        [step, post("responses", "after", model="m", input="hi")],
    )
    assert (played["call"].status, played["after"].status) == (status, 200)
    if status == 200:
        assert played.asked("a", "call")[0].target.partition("?")[0] == line.split()[1].partition("?")[0]
    else:
        assert played["call"].error["code"] == "method_not_allowed"
        assert played.asked("a", "call") == []
