"""
Objects of which the gateway has to find out whose they are, and what must not make it forget or mistake that.
"""

from typing import Any

import pytest

from tests.field.build import answer, event, response, rule, sse, two
from tests.field.play import Play
from tests.field.test_owners import (
    AWAY,
    BACK,
    COMPLETED,
    CREATED,
    DESK,
    KEYS,
    NONE,
    WEB,
    get,
    make,
    pair,
    post,
)


async def test_a_file_taken_out_of_a_vector_store_is_still_its_makers(play: Play) -> None:
    # https://platform.openai.com/docs/api-reference/vector-stores-files/deleteFile: the file itself is not deleted
    web, desk = ({"authorization": f"Bearer {key}"} for key in (WEB, DESK))
    played = await play(
        {**two(), "auth": {"keys": KEYS}},
        pair(),
        [
            AWAY,
            {**make("files"), **web},
            {**make("vector_stores", "store"), **web},
            BACK,
            {"step": "delete", "request": "DELETE /v1/vector_stores/{id:store}/files/{id:make}", **web},
            {**get("files/{id:make}"), **web},
            {**get("files/{id:make}", "other"), **desk},
        ],
    )
    assert [played[step].status for step in ("delete", "read", "other")] == [200, 200, 404]
    assert played.asked("a") == []


async def test_the_next_page_is_there_whichever_key_made_the_last_object_of_this_one(play: Play) -> None:
    # Lists show what an account has, so that a page may end with what another key of ours made.
    page = rule(answer(200, {"object": "list", "data": [], "has_more": False}), method="GET", path="/v1/files")
    played = await play(
        {**two(), "auth": {"keys": KEYS}},
        pair(page),
        [
            AWAY,
            {**make("files"), "authorization": f"Bearer {WEB}"},
            BACK,
            {**get("files?after={id:make}"), "authorization": f"Bearer {DESK}"},
        ],
    )
    assert (played["read"].status, played.asked("a", "read"), len(played.asked("b", "read"))) == (200, [], 1)


NOTHING_THERE = [
    # github.com/ollama/ollama: Go's own answer at a path it does not have
    pytest.param(answer(404, "404 page not found", "text/plain"), id="Go's text"),
    pytest.param(answer(404, "<html><head><title>404 Not Found</title></head></html>", "text/html"), id="a page"),
    # github.com/ggml-org/llama.cpp, tools/server
    pytest.param(answer(501, {"error": {"code": 501, "message": "x", "type": "not_supported_error"}}), id="501"),
    pytest.param(answer(405, {"detail": "Method Not Allowed"}), id="405"),
    pytest.param(answer(404, ""), id="404 without a word"),
]


@pytest.mark.parametrize("said", NOTHING_THERE)
@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("GET /v1/files/file-", None),
        ("DELETE /v1/files/file-", None),
        ("POST /v1/batches/batch-{}/cancel", {}),
        ("POST /v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp-"}),
    ],
)
async def test_a_server_without_such_an_endpoint_has_no_such_object(
    play: Play, said: list[Any], line: str, body: Any
) -> None:
    def step(name: str, mark: str) -> dict[str, Any]:
        target = line.replace("{}", mark) if "{}" in line else line + (mark if body is None else "")
        told = {key: value + mark if key.startswith("previous") else value for key, value in (body or {}).items()}
        return {"step": name, "request": target, **({} if body is None else {"body": told})}

    providers = {"a": {"models": ["m"], "rules": [rule(said)]}, "b": pair()["b"]}
    # As often as would open a breaker, were it a failure.
    client = [*(step(f"none {number}", f"zz{number}") for number in range(6)), step("there", "bb1")]
    played = await play(two(), providers, client)
    for number in range(6):
        assert played[f"none {number}"].status in (400, 404), played[f"none {number}"].body
    assert (played["there"].status, len(played.asked("a", "there"))) == (200, 1)


async def test_where_no_server_has_such_an_endpoint_the_object_is_not_there(play: Play) -> None:
    nowhere = {"models": ["m"], "rules": [rule(answer(404, "404 page not found", "text/plain"))]}
    played = await play(two(), {"a": nowhere, "b": nowhere}, [get("files/file-1")])
    assert (played["read"].status, played["read"].error["code"]) == (404, "object_not_found")


QUOTED = [
    # What OpenAI's fine-tuning says of a file that another organization has.
    {"message": "invalid training_file: file-123-bb1", "type": "invalid_request_error", "param": "training_file"},
    {"message": "File file-123-bb1 is not yours.", "type": "invalid_request_error", "param": None, "code": None},
]


@pytest.mark.parametrize("error", QUOTED)
async def test_an_account_that_refuses_the_id_by_its_name_is_not_the_last_that_is_asked(
    play: Play, error: dict[str, Any]
) -> None:
    job = {"model": "m", "training_file": "file-123-bb1"}
    refuses = {"models": ["m"], "rules": [rule(answer(400, {"error": error}))]}
    played = await play(two(), {"a": refuses, "b": pair()["b"]}, [post("fine_tuning/jobs", **job)])
    assert (played["call"].status, len(played.asked("a"))) == (200, 1)
    # What one said of the object itself tells more than that another does not have it.
    no = {"models": ["m"], "rules": [rule(NONE)]}
    played = await play(two(), {"a": refuses, "b": no}, [post("fine_tuning/jobs", **job)])
    assert (played["call"].status, played["call"].error["message"]) == (400, error["message"])


async def test_an_id_as_long_as_an_encrypted_one_is_kept_to_its_maker(play: Play) -> None:
    # GitHub Copilot's and LiteLLM's responses carry what they need to know in their ids.
    long = "resp_bb1" + "b64w" * 200
    providers = pair(rule(response("Hello", id=long), path="/v1/responses", lacks="previous_response_id"))
    played = await play(
        two(),
        providers,
        [
            AWAY,
            post("responses", "make", model="m", input="x"),
            BACK,
            post("responses", model="m", input="x", previous_response_id=long),
            get(f"responses/{long}"),
        ],
    )
    assert [played[step].status for step in ("make", "call", "read")] == [200, 200, 200]
    assert played.asked("a") == []


async def test_a_picture_is_changed_by_the_account_that_drew_it(play: Play) -> None:
    # https://github.com/openai/openai-python/issues/2648: the id alone is enough
    gone = {"message": "Item with id 'ig_1' not found."}
    providers = {
        "a": {"models": ["m"], "rules": [rule(answer(404, {"error": gone}), has="ig_1")]},
        "b": {"models": ["m"], "rules": [rule(response("b"))]},
    }
    call = post("responses", model="m", input=[{"type": "image_generation_call", "id": "ig_1"}])
    played = await play(two(), providers, [call, {**call, "step": "again"}])
    assert [(played[step].status, len(played.asked("a", step))) for step in ("call", "again")] == [(200, 1), (200, 0)]


PICTURE = {"type": "image_generation_call", "id": "ig_1", "result": "A" * 1_500_000}
ABOUT = {
    "background": False,
    "created_at": 1,
    "id": "resp_bb1",
    "object": "response",
    "model": "m",
    "status": "completed",
}
LONG_CREATED = {"type": "response.created", "response": {"id": "resp_bb1", "instructions": "B" * 1_300_000}}
LARGE = [
    pytest.param({}, answer(200, {**ABOUT, "output": [PICTURE]}), id="whole, its members in alphabetical order"),
    pytest.param(
        {"stream": True},
        sse(event("response.created", LONG_CREATED), event("response.completed", COMPLETED)),
        id="streamed, with instructions of a megabyte",
    ),
    pytest.param(
        {"stream": True},
        sse(event("response.created", CREATED).replace("\n", "\r"), event("response.completed", COMPLETED)),
        id="streamed in lines that end with CR",
    ),
]


@pytest.mark.parametrize(("asked", "said"), LARGE)
async def test_a_response_of_any_size_and_form_is_continued_where_it_was_made(
    play: Play, asked: dict[str, Any], said: list[Any]
) -> None:
    providers = pair(rule(said, path="/v1/responses", method="POST", lacks="previous_response_id"))
    call = post("responses", model="m", input="x", previous_response_id="resp_bb1")
    played = await play(two(), providers, [AWAY, post("responses", "make", model="m", input="x", **asked), BACK, call])
    assert [played[step].status for step in ("make", "call")] == [200, 200]
    assert played.asked("a") == []


async def test_the_number_of_a_skills_version_names_no_object(play: Play) -> None:
    client = [get("skills/skill-bb1/versions/2"), get("skills/skill-aa1/versions/2", "other")]
    played = await play(two(), pair(), client)
    assert [played[step].json["of"] for step in ("read", "other")] == ["bb1", "aa1"]
