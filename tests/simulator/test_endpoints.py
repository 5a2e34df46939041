"""Every endpoint that openai-python has a method for is answered, and what an account keeps in its own shape."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.rigs.simulator import Simulator

from .raw import ask, request

_CALL = re.compile(r"self\._(get|post|delete|patch|put|get_api_list)\(\s*(?:path_template\()?\s*f?\"(/[^\"]*)\"")
_GENERATES = {
    "/chat/completions": {"model": "sim-fast", "messages": []},
    "/completions": {"model": "sim-fast", "prompt": "a"},
    "/embeddings": {"model": "sim-fast", "input": "a"},
    "/images/generations": {"model": "sim-fast", "prompt": "a"},
    "/audio/speech": {"model": "sim-fast", "input": "a"},
    "/responses": {"model": "sim-fast", "input": "a"},
}
"""Those whose model has to be one of the simulator's."""


def methods() -> list[tuple[str, str]]:
    """Method and path of every call in the SDK's source, ids filled in."""
    found = set()
    for file in Path(openai.__file__).with_name("resources").rglob("*.py"):
        for verb, path in _CALL.findall(file.read_text()):
            method = {"get_api_list": "GET"}.get(verb, verb.upper())
            found.add((method, re.sub(r"\{[^}]*\}", "id_1", path.partition("?")[0])))
    return sorted(found)


FORMS = {"/files", "/audio/transcriptions", "/audio/translations"}
"""Calls that take nothing but a form; they are asked in test_answers.py and below."""
LISTS_BY_POST = {("GET", "/vector_stores/id_1/search"), ("GET", "/fine_tuning/checkpoints/id_1/permissions")}
STRANGE = {"/files/id_1", "/files/id_1/content", "/models/id_1"}
"""What is remembered, and so has to have been made."""


async def test_every_endpoint_of_openai_python_is_answered(simulator: Simulator) -> None:
    asked = methods()
    assert len(asked) > 150
    missing = []
    for method, path in asked:
        if (method == "POST" and path in FORMS) or path in STRANGE or (method, path) in LISTS_BY_POST:
            continue
        body = _GENERATES.get(path, {"messages": []}) if method in ("POST", "PUT", "PATCH") else None
        status, _, _ = await ask(simulator, request(f"/v1{path}", body, method=method))
        if status not in (200, 201):
            missing.append((method, path, status))
    assert not missing, missing


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.base_url, api_key="sk-any", max_retries=0) as ready:
        yield ready


async def test_what_is_made_has_the_fields_it_was_sent_with(client: AsyncOpenAI) -> None:
    store = await client.vector_stores.create(name="notes", metadata={"a": "b"})
    assert (store.id[:3], store.object, store.name, store.metadata) == ("vs_", "vector_store", "notes", {"a": "b"})
    again = await client.vector_stores.retrieve(store.id)
    assert (again.id, again.status) == (store.id, "completed")
    assert (await client.vector_stores.delete(store.id)).deleted is True


async def test_lists_end(client: AsyncOpenAI) -> None:
    async with asyncio.timeout(30):
        assert [batch.object async for batch in client.batches.list()] == ["batch"]
        assert [job.object async for job in client.fine_tuning.jobs.list()] == ["fine_tuning.job"]
        assert [skill.object async for skill in client.skills.list()] == ["skill"]
        assert [found.score async for found in client.vector_stores.search("vs_1", query="a")] == [1.0]


async def test_a_call_that_was_told_to_stop_has_stopped(client: AsyncOpenAI) -> None:
    assert (await client.batches.cancel("batch_7")).status == "cancelled"
    assert (await client.fine_tuning.jobs.pause("ftjob-7")).status == "paused"
    assert (await client.uploads.complete("upload_7", part_ids=["part_1"])).status == "completed"


async def test_a_file_has_as_many_bytes_as_were_sent(client: AsyncOpenAI) -> None:
    made = await client.files.create(file=("a.jsonl", b'{"a":1}\n'), purpose="batch")
    assert len((await client.files.content(made.id)).content) == 8
    edited = await client.images.edit(model="sim-fast", image=("a.png", b"x"), prompt="a hat")
    assert edited.data


async def test_a_stored_response_is_read_again_whole_or_as_a_stream(client: AsyncOpenAI) -> None:
    assert (await client.responses.retrieve("resp_7")).status == "completed"
    stream: Any = await client.responses.retrieve("resp_7", stream=True)
    assert [event.type async for event in stream] == ["response.created", "response.completed"]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(
            request("/v1/messages/count_tokens", {"model": "m", "messages": [{"role": "user", "content": "one two"}]}),
            {"input_tokens": 2},
            id="Anthropic's SDK counts the tokens of a prompt",
        ),
        pytest.param(
            request("/v1/messages/batches/msgbatch_1", method="DELETE"),
            {"id": "msgbatch_1", "object": "message_batch.deleted", "deleted": True},
            id="Anthropic's SDK deletes a batch",
        ),
    ],
)
async def test_anthropics_endpoints_are_answered(simulator: Simulator, sent: bytes, expected: dict[str, Any]) -> None:
    status, _, body = await ask(simulator, sent)
    assert (status, json.loads(body)) == (200, expected)
