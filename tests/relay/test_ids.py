"""Which ids a call names and an answer tells of: the tables against an SDK's own paths, and literal bodies."""

import re
from pathlib import Path
from typing import Any

import openai
import pytest

from proxy.relay.ids import GENERATING, PATHS, WORDS, Named, named_by
from proxy.relay.made import Tells, tells, told_by

_PATH = re.compile(r'self\._(?:post|get|get_api_list|delete|patch|put)\(\s*(?:path_template\()?f?"(/[^"?]+)')
NOT_OBJECTS = ("/models", "/organization", "/projects", "/safety")
"""Families whose ids are no objects an account keeps: models are answered here, the others are for administrators."""


def sdk_paths() -> list[str]:
    resources = Path(openai.__file__).parent / "resources"
    found = {path for file in resources.rglob("*.py") for path in _PATH.findall(file.read_text())}
    return sorted(path for path in found if "{" in path and not path.startswith(NOT_OBJECTS))


@pytest.mark.parametrize("path", sdk_paths())
def test_every_id_in_a_path_of_openais_sdk_is_found(path: str) -> None:
    # The versions of a skill are numbered: `2` is no object's id.
    names = [name for name in re.findall(r"\{(\w+)\}", path) if name != "version"]
    named = named_by("GET", re.sub(r"\{(\w+)\}", r"\1", path), "", {})
    assert named is not None
    assert list(named.ids) == names


def test_the_sdk_has_paths_with_ids() -> None:
    assert len(sdk_paths()) > 60


@pytest.mark.parametrize("path", sorted("/" + word for word in WORDS))
def test_a_word_in_the_place_of_an_id_is_none(path: str) -> None:
    assert named_by("POST", path, "", {}) in (None, Named())


@pytest.mark.parametrize("path", sorted({"/" + path.rpartition("/{}")[0] for path in PATHS if path.count("{}") == 1}))
def test_a_collection_is_a_list_and_what_is_posted_to_it_makes_something(path: str) -> None:
    named = named_by("GET", path, "?limit=2&after=x%2Fy", {})
    if path in GENERATING:
        assert tells("POST", path, {"store": True}) is Tells.MADE
        return
    assert named == Named(cursors=("x/y",), lists=True)
    assert tells("POST", path, {}) is Tells.MADE


CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BODIES = [
    pytest.param("/responses", {"model": "m", "input": "x", "previous_response_id": "r"}, ("r",), (), id="a response"),
    pytest.param("/responses", {"model": "m", "input": "x", "previous_response_id": None}, (), (), id="none"),
    pytest.param(
        "/responses", {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, (), (), id="auto"
    ),
    pytest.param(
        "/responses",
        {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f", "g"]}}]},
        ("f", "g"),
        (),
        id="files of a new container",
    ),
    pytest.param(
        "/responses", {"prompt": {"id": "pmpt_1", "variables": {"file_id": "no"}}}, (), ("pmpt_1",), id="a prompt"
    ),
    pytest.param("/responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}, (), ("msg_1",), id="an item"),
    pytest.param("/responses", {"input": [{"type": "message", "id": "msg_1"}]}, (), (), id="an item in full"),
    pytest.param("/responses", {"metadata": {"file_id": "no"}, "conversation": "c"}, ("c",), (), id="metadata"),
    pytest.param(
        "/responses",
        {"tools": [{"type": "function", "parameters": {"properties": {"file_id": {"id": "no"}}}}]},
        (),
        (),
        id="a tool's own parameter",
    ),
    pytest.param("/responses", {"input": 'say "file_id": "no"'}, (), (), id="words about it"),
    pytest.param("/chat/completions", CHAT, (), (), id="a plain chat"),
    pytest.param("/chat/completions", {**CHAT, "audio": {"voice": "alloy", "format": "wav"}}, (), (), id="a voice"),
    pytest.param(
        "/chat/completions", {"messages": [{"role": "assistant", "audio": {"id": "au"}}]}, (), ("au",), id="audio"
    ),
    pytest.param("/chat/completions", {**CHAT, "conversation": "no"}, (), (), id="a field of another API"),
    pytest.param("/images/generations", {"prompt": "a cat with a file_id"}, (), (), id="an image"),
    pytest.param(
        "/audio/speech", {"input": "x", "voice": {"id": "voice_1"}}, (), ("voice_1",), id="a voice of one's own"
    ),
    pytest.param(
        "/messages",
        {
            "container": {
                "id": "ct",
                "skills": [{"type": "anthropic", "skill_id": "no"}, {"type": "custom", "skill_id": "s"}],
            }
        },
        ("ct", "s"),
        (),
        id="a container with skills",
    ),
    pytest.param(
        "/videos", {"prompt": "x", "input_reference": {"file_id": "f"}}, ("f",), (), id="a video of a picture"
    ),
    pytest.param("/conversations", {"agent_id": "ag", "inputs": [{"file_id": "no"}]}, ("ag",), (), id="an agent's"),
    pytest.param("/batch/jobs", {"input_files": ["f"], "model": "m"}, ("f",), (), id="a batch job of Mistral"),
]


@pytest.mark.parametrize(("path", "value", "ids", "items"), BODIES)
def test_a_body_names(path: str, value: dict[str, Any], ids: tuple[str, ...], items: tuple[str, ...]) -> None:
    named = named_by("POST", path, "", value) or Named()
    assert (named.ids, named.items) == (ids, items)


def test_a_query_names_a_generation() -> None:
    named = named_by("GET", "/generation", "?id=gen-1", {})
    assert named is not None
    assert named.ids == ("gen-1",)


@pytest.mark.parametrize(
    ("path", "gone"), [("/files/f", "f"), ("/threads/t/messages/m", "m"), ("/containers/c/files/f", "f")]
)
def test_what_is_deleted_is_the_last_that_is_named(path: str, gone: str) -> None:
    named = named_by("DELETE", path, "", {})
    assert named is not None
    assert named.deletes == gone


def test_no_more_ids_are_looked_at_than_a_lookup_should_hold() -> None:
    value = {"file_ids": [f"file-{n}" for n in range(1000)]}
    named = named_by("POST", "/vector_stores", "", value)
    assert named is not None
    assert len(named.ids) == 16


TELLING = [
    pytest.param("POST", "/responses", {"model": "m"}, Tells.MADE, id="kept unless said otherwise"),
    pytest.param("POST", "/responses", {"model": "m", "store": False}, Tells.NOTHING, id="not kept"),
    pytest.param("POST", "/chat/completions", CHAT, Tells.NOTHING, id="a chat is not kept"),
    pytest.param("POST", "/chat/completions", {**CHAT, "store": True}, Tells.MADE, id="unless it is asked for"),
    pytest.param("POST", "/chat/completions", {**CHAT, "deferred": True}, Tells.MADE, id="or fetched later"),
    pytest.param("POST", "/messages", CHAT, Tells.NOTHING, id="a message is not kept"),
    pytest.param("POST", "/embeddings", {}, Tells.NOTHING, id="vectors are not"),
    pytest.param("GET", "/batches/b", {}, Tells.PRODUCTS, id="a batch shows its files"),
    pytest.param("GET", "/files/f/content", {}, Tells.NOTHING, id="a file's content is not the provider's word"),
    pytest.param("GET", "/files", {}, Tells.NOTHING, id="lists show what every caller made"),
    pytest.param("DELETE", "/files/f", {}, Tells.NOTHING, id="what is gone"),
    pytest.param("POST", "/unheard/of", {}, Tells.NOTHING, id="what is in no table"),
]


@pytest.mark.parametrize(("method", "path", "value", "expected"), TELLING)
def test_an_answer_tells(method: str, path: str, value: dict[str, Any], expected: Tells) -> None:
    assert tells(method, path, value) is expected


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        (Tells.MADE, {"id": "run_1", "thread_id": "thread_1", "assistant_id": "asst_1"}, ["run_1", "thread_1"]),
        (Tells.MADE, {"request_id": "r-1"}, ["r-1"]),
        (Tells.MADE, {"id": "u", "file": {"id": "f"}}, ["u", "f"]),
        (Tells.MADE, {"id": "r", "output": [{"type": "code_interpreter_call", "container_id": "c"}]}, ["r", "c"]),
        (Tells.MADE, {"id": 7}, []),
        (Tells.PRODUCTS, {"id": "j", "result_files": ["f", "g"], "training_file": "t"}, ["f", "g"]),
        (Tells.CONTAINER, {"id": "msg", "container": {"id": "c"}}, ["c"]),
        (Tells.CONTAINER, {"id": "msg", "container": None}, []),
    ],
)
def test_ids_that_are_told(asked: Tells, answer: dict[str, Any], expected: list[str]) -> None:
    assert told_by(asked, answer) == expected
