"""`/v1/models/{id}`: which names are found there, how they may be written, and how a model is deleted."""

import pytest

from tests.field.build import KEY_A, answer, of, rule, saying
from tests.field.play import Play


@pytest.mark.parametrize(
    ("written", "name"),
    [
        pytest.param("llama3%3A8b", "llama3:8b", id="a colon"),
        pytest.param("openai%2Fgpt-4o", "openai/gpt-4o", id="a slash"),
        pytest.param("openai/gpt-4o", "openai/gpt-4o", id="a slash as it is"),
        pytest.param("openai/gpt-4o%3Aonline", "openai/gpt-4o:online", id="a slash and a colon"),
        pytest.param("%40preset%2Fmail", "@preset/mail", id="an at sign"),
        pytest.param("my%20model", "my model", id="a space"),
        pytest.param("claude-4%5B1m%5D", "claude-4[1m]", id="brackets"),
        pytest.param("claude-4[1m]", "claude-4[1m]", id="brackets as they are"),
        pytest.param("gemma%2D3", "gemma-3", id="what needs no escape"),
        pytest.param("m%C3%BC", "mü", id="a letter beyond ASCII"),
        pytest.param("a%2Cb%3D%27c%27%21", "a,b='c'!", id="marks"),
        pytest.param("@cf/meta/llama-3.1-8b-instruct", "@cf/meta/llama-3.1-8b-instruct", id="Cloudflare's"),
    ],
)
async def test_a_model_is_found_and_deleted_however_its_name_is_written(play: Play, written: str, name: str) -> None:
    body = {"id": name, "object": "model", "deleted": True}
    listed = answer(200, {"data": [{"id": "other"}, {"id": name}]})
    played = await play(
        {"providers": {"a": of("openai", models=[name]), "b": of(name="b", models=["other"])}},
        {
            "a": {"model_list": listed, "rules": [rule(answer(200, body), method="DELETE")]},
            "b": saying("x", "other"),
        },
        [
            {"step": "get", "request": f"GET /v1/models/{written}"},
            {"step": "head", "request": f"HEAD /v1/models/{written}"},
            {"step": "delete", "request": f"DELETE /v1/models/{written}"},
        ],
    )
    assert played["get"].status == played["head"].status == 200
    assert played["get"].json["id"] == name
    assert played["head"].body == b""
    assert played["delete"].json == body
    (asked,) = played.asked("a")
    assert (asked.method, asked.target, asked.key, asked.body) == ("DELETE", f"/v1/models/{written}", KEY_A, b"")
    assert played.asked("b") == []


@pytest.mark.parametrize(
    "written",
    [
        "..%2Ffiles%2Ffile-1",
        "a%2F..%2F..%2Ffiles",
        "%2e%2e",
        "a%252F..",
        "a%0D%0AX-Y:1",
        "a%00",
        "a%5Cb",
        "a%FF",
        "a%zz",
        "a//b",
        "a%2F%2Fb",
        "a%3Fb",
        "a;b",
        "a%23b",
        "a%7F",
        "a%E2%80%AEb",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_path_that_two_readers_could_read_differently_goes_nowhere(
    play: Play, method: str, written: str
) -> None:
    played = await play(
        {"providers": {"a": of()}},
        {"a": saying("x", "m")},
        [{"step": "call", "request": f"{method} /v1/models/{written}"}],
    )
    assert played["call"].status == 404
    assert played.asked("a") == []


async def test_every_name_that_can_be_called_is_found_and_no_other(play: Play) -> None:
    names = ("public", "any-thing", "gpt-new", "llama3.2", "ghost/x", "openai/gpt-4o:online", "claude-5", "nope")
    played = await play(
        {
            "providers": {
                "a": of("openai"),
                "b": of("ollama", "b", models=["llama3.2:latest"]),
                "c": of("openrouter", "c"),
            },
            "models": {"public": {"targets": ["a/gpt-4o"]}, "any-*": {"targets": ["a/gpt-4o"]}},
            "provider_preference": ["a", "b", "c"],
        },
        {"a": saying("x", "gpt-4o"), "b": saying("x", "llama3.2:latest"), "c": saying("x", "openai/gpt-4o")},
        [{"step": name, "request": f"GET /v1/models/{name}"} for name in names],
    )
    found = {name: played[name].json.get("owned_by") for name in names if played[name].status == 200}
    assert found == {
        "public": "hapax",
        "any-thing": "hapax",
        "gpt-new": "a",
        "llama3.2": "b",
        "ghost/x": "c",
        "openai/gpt-4o:online": "c",
    }
    assert played["nope"].error["code"] == "model_not_found"
    assert all(not played.asked(name) for name in "abc")


async def test_what_a_key_may_not_use_it_may_neither_find_nor_delete(play: Play) -> None:
    key = "hk-" + "k" * 30
    mine = {"authorization": f"Bearer {key}"}
    played = await play(
        {"providers": {"a": of()}, "auth": {"keys": [{"name": "k", "key": key, "models": ["gpt-*"]}]}},
        {"a": saying("x", "m", "gpt-4o")},
        [
            {"step": "get", "request": "GET /v1/models/m", **mine},
            {"step": "delete", "request": "DELETE /v1/models/m", **mine},
            {"step": "unlisted", "request": "GET /v1/models/gpt-9", **mine},
        ],
    )
    assert [got.status for got in played.got.values()] == [404, 403, 200]
    assert played.asked("a") == []


async def test_a_public_name_is_deleted_by_the_name_its_provider_knows(play: Play) -> None:
    played = await play(
        {
            "providers": {"a": of(), "b": of(name="b")},
            "models": {
                "tuned": {"targets": ["b/ft:gpt-4o:acme::x"], "fallbacks": ["one"]},
                "two": {"targets": ["a/one", "b/other"]},
            },
        },
        {
            "a": saying("x", "one"),
            "b": {"models": ["other"], "rules": [rule(answer(503, {"error": {"message": "later"}}), method="DELETE")]},
        },
        [
            {"step": "tuned", "request": "DELETE /v1/models/tuned"},
            {"step": "two", "request": "DELETE /v1/models/two"},
        ],
    )
    assert {each.target for each in played.asked("b")} == {"/v1/models/ft%3Agpt-4o%3Aacme%3A%3Ax"}
    assert played["tuned"].status >= 500
    assert played.asked("a") == []
    assert played["two"].status == 404
