"""
What an account keeps: assistants, threads, batches, vector stores and the rest, as one table and one set of rules.

Nothing is kept: an object has the id it is asked for by, whatever that is, and the fields it was sent with. Lists hold
one object and end. Uploaded files alone are remembered, in `files.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.simulator.answers import Reply
from proxy.simulator.completion import CREATED, TEXT, complete
from proxy.simulator.question import Question
from proxy.simulator.streams import Stream, event, identity


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of object."""

    object: str
    prefix: str
    """How its ids begin."""
    fields: dict[str, Any] = field(default_factory=dict)
    """What it has besides `id`, `object` and `created_at`."""
    content: bytes | None = None
    """What `/content` or `/results` of one answers; None: a list of texts."""


_DONE: Final = {"status": "completed"}
_TEXT: Final = [{"type": "output_text", "text": TEXT, "annotations": []}]
_COUNTS: Final = {"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1}
_RUN: Final = {**_DONE, "thread_id": "thread_1", "assistant_id": "asst_1", "model": "sim-1", "usage": None}
_VIDEO: Final = {**_DONE, "progress": 100, "seconds": "4", "size": "720x1280", "model": "sim-1"}
_BYTES: Final = bytes(range(256))
_LINE: Final = b'{"custom_id":"one","result":{"type":"succeeded"}}\n'

KINDS: Final[dict[str, Kind]] = {
    # openai-python, src/openai/resources
    "/agents": Kind("agent", "agent_"),
    "/agents/automations": Kind("agent.automation", "auto_", {"status": "active"}),
    "/agents/automations/*/invocations": Kind("agent.automation.invocation", "inv_", _DONE),
    "/agents/environments": Kind("agent.environment", "env_"),
    "/agents/environments/*/files": Kind("agent.environment.file", "efile_"),
    "/agents/environments/templates": Kind("agent.environment.template", "envt_"),
    "/agents/sessions": Kind("agent.session", "asess_", {"status": "idle"}),
    "/agents/sessions/*/artifacts": Kind("agent.session.artifact", "art_", {}, _BYTES),
    "/agents/sessions/*/events": Kind("agent.session.event", "aevt_"),
    "/agents/sessions/*/items": Kind("agent.session.item", "item_", {"type": "message"}),
    "/agents/sessions/*/subagents": Kind("agent.subagent", "sub_"),
    "/agents/sessions/*/subagents/*/items": Kind("agent.session.item", "item_", {"type": "message"}),
    "/agents/sessions/*/subagents/*/turns": Kind("agent.turn", "turn_", _DONE),
    "/agents/sessions/*/subagents/*/turns/*/items": Kind("agent.session.item", "item_", {"type": "message"}),
    "/agents/sessions/*/traces": Kind("agent.session.trace", "trace_"),
    "/agents/sessions/*/turns": Kind("agent.turn", "turn_", _DONE),
    "/agents/sessions/*/turns/*/items": Kind("agent.session.item", "item_", {"type": "message"}),
    "/assistants": Kind("assistant", "asst_", {"model": "sim-1", "tools": [], "metadata": {}}),
    "/audio/voices": Kind("audio.voice", "voice_"),
    "/audio/voice_consents": Kind("audio.voice_consent", "cons_", {"language": "en"}),
    "/batches": Kind(
        "batch", "batch_", {**_DONE, "completion_window": "24h", "request_counts": _COUNTS, "output_file_id": "file-1"}
    ),
    "/chat/completions": Kind("chat.completion", "chatcmpl-", {"model": "sim-1", "choices": [], "metadata": {}}),
    "/chat/completions/*/messages": Kind("chat.completion.message", "msg_", {"role": "user", "content": "hello"}),
    "/chatkit/sessions": Kind("chatkit.session", "cksess_", {"status": "active", "client_secret": "ek_simulated"}),
    "/chatkit/threads": Kind("chatkit.thread", "cthr_", {"status": {"type": "active"}}),
    "/chatkit/threads/*/items": Kind("chatkit.thread_item", "cthi_", {"type": "chatkit.assistant_message"}),
    "/containers": Kind("container", "cntr_", {"status": "running", "name": "simulated"}),
    "/containers/*/files": Kind("container.file", "cfile_", {"bytes": 256, "path": "/mnt/data/a"}, _BYTES),
    "/conversations": Kind("conversation", "conv_", {"metadata": {}}),
    "/conversations/*/items": Kind("conversation.item", "msg_", {"type": "message", "role": "user", "content": _TEXT}),
    "/evals": Kind("eval", "eval_", {"name": "simulated", "testing_criteria": [], "metadata": {}}),
    "/evals/*/runs": Kind("eval.run", "evalrun_", {**_DONE, "result_counts": {"passed": 1, "total": 1}}),
    "/evals/*/runs/*/output_items": Kind("eval.run.output_item", "outputitem_", {"status": "pass", "results": []}),
    "/fine_tuning/checkpoints/*/permissions": Kind("checkpoint.permission", "cp_", {"project_id": "proj_1"}),
    "/fine_tuning/jobs": Kind(
        "fine_tuning.job", "ftjob-", {"status": "succeeded", "model": "sim-1", "fine_tuned_model": "ft:sim-1:org::1"}
    ),
    "/fine_tuning/jobs/*/checkpoints": Kind("fine_tuning.job.checkpoint", "ftckpt_", {"step_number": 1}),
    "/fine_tuning/jobs/*/events": Kind("fine_tuning.job.event", "ftevent-", {"level": "info", "message": "Done."}),
    "/live/sessions": Kind("live.session", "live_", {"status": "active"}, _BYTES),
    "/realtime/calls": Kind("realtime.call", "rtc_"),
    "/responses": Kind("response", "resp_", {**_DONE, "model": "sim-1", "output": [], "error": None}),
    "/responses/*/input_items": Kind("response.item", "msg_", {"type": "message", "role": "user", "content": _TEXT}),
    "/safety/alerts": Kind("safety.alert", "alert_"),
    "/safety/cases": Kind("safety.case", "case_"),
    "/skills": Kind("skill", "skill_", {"name": "simulated", "default_version": "1"}, _BYTES),
    "/skills/*/versions": Kind("skill.version", "skillver_", {"version": "1"}, _BYTES),
    "/threads": Kind("thread", "thread_", {"metadata": {}, "tool_resources": None}),
    "/threads/*/messages": Kind("thread.message", "msg_", {"role": "user", "content": [], "metadata": {}}),
    "/threads/*/runs": Kind("thread.run", "run_", _RUN),
    "/threads/*/runs/*/steps": Kind("thread.run.step", "step_", {**_DONE, "type": "message_creation"}),
    "/uploads": Kind("upload", "upload_", {"status": "pending", "bytes": 256, "purpose": "assistants"}),
    "/uploads/*/parts": Kind("upload.part", "part_"),
    "/vaults": Kind("vault", "vault_"),
    "/vaults/*/credentials": Kind("vault.credential", "cred_"),
    "/vector_stores": Kind("vector_store", "vs_", {**_DONE, "file_counts": _COUNTS, "usage_bytes": 256}),
    "/vector_stores/*/files": Kind("vector_store.file", "file-", {**_DONE, "usage_bytes": 256, "last_error": None}),
    "/vector_stores/*/file_batches": Kind("vector_store.files_batch", "vsfb_", {**_DONE, "file_counts": _COUNTS}),
    "/vector_stores/*/file_batches/*/files": Kind("vector_store.file", "file-", _DONE),
    "/videos": Kind("video", "video_", _VIDEO, _BYTES),
    "/videos/characters": Kind("video.character", "char_", {"name": "simulated"}),
    "/webhook_endpoints": Kind("webhook_endpoint", "we_", {"url": "https://example.com", "event_types": []}),
    # anthropic-sdk-python, src/anthropic/resources
    "/messages/batches": Kind(
        "message_batch", "msgbatch_", {"type": "message_batch", "processing_status": "ended"}, _LINE
    ),
}
"""The collections below `/v1`; `*` stands for an id."""

STATUS: Final = {
    "cancel": "cancelled",
    "complete": "completed",
    "pause": "paused",
    "resume": "running",
    "submit_tool_outputs": "queued",
    "remix": "queued",
}
"""What one is after it was told to; after any other word it is as it was."""

_ADMIN: Final = ("/organization/", "/projects/")
"""Below them lies what administrators manage."""
_NO_IDS: Final = frozenset(("edits", "extensions"))
"""Words behind `/videos` that make a new one of one there is."""
_PATTERNS: Final = [
    (re.compile(path.replace("*", "[^/]+") + r"(?:/([^/]+))?(?:/([a-z_]+))?"), path, kind)
    for path, kind in sorted(KINDS.items(), key=lambda pair: -pair[0].count("/"))
]


def find(question: Question) -> Reply | Stream | None:
    """The answer of a collection or of an object in one; None at a path that is neither, or for a method they lack."""
    if question.path.startswith(_ADMIN):
        # Collections and ids take turns: /organization/projects/{id}/users/{id}.
        parts = question.path.removeprefix("/organization")[1:].split("/")
        id = parts[-1] if len(parts) % 2 == 0 or question.method == "DELETE" else None
        return _answer(question, "", Kind(f"organization.{parts[(len(parts) - 1) // 2 * 2]}", "org_"), id, None)
    for pattern, path, kind in _PATTERNS:
        found = pattern.fullmatch(question.path)
        if found is not None:
            return _answer(question, path, kind, found[1], found[2])
    return None


def run(question: Question) -> Reply | Stream:
    """POST /threads/runs: a thread and its run in one."""
    return _made(question, "/threads/*/runs", KINDS["/threads/*/runs"], None)


def _answer(question: Question, path: str, kind: Kind, id: str | None, word: str | None) -> Reply | Stream | None:
    method = question.method
    if word is not None and method in ("GET", "HEAD"):
        if word not in ("content", "results"):
            return None
        if kind.content is None:
            return _json(_list([{"type": "text", "text": TEXT}]))
        return Reply(kind.content, 200, "application/x-jsonl" if word == "results" else "application/octet-stream")
    if method in ("GET", "HEAD"):
        one = _object(kind, id or f"{kind.prefix}1", {})
        if id is not None and question.stream and path == "/responses":
            return _read_again(one)
        return _json(one if id is not None else _list([one]))
    if method == "DELETE" and id is not None and word is None:
        return _json({"id": id, "object": f"{kind.object}.deleted", "deleted": True})
    if method != "POST":
        return None
    if id == "search":
        return _json(_list([_object(kind, f"{kind.prefix}1", {})]))
    if word == "search":
        return _json({**_list([{"file_id": "file-1", "score": 1.0, "content": _TEXT}]), "search_query": [TEXT]})
    status = {"status": STATUS[word]} if word in STATUS else {}
    return _made(question, path, kind, id, status)


def _made(
    question: Question, path: str, kind: Kind, id: str | None, status: dict[str, str] | None = None
) -> Reply | Stream:
    sent = {name: value for name, value in question.body.items() if name != "stream"}
    one = _object(kind, id if id and id not in _NO_IDS else identity(question, kind.prefix), {**sent, **(status or {})})
    if question.stream and path == "/threads/*/runs":
        return _run_stream(question, one)
    return _json(one)


def _object(kind: Kind, id: str, more: dict[str, Any]) -> dict[str, Any]:
    return {**kind.fields, **more, "id": id, "object": kind.object, "created_at": CREATED}


def _list(data: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = data[0].get("id"), data[-1].get("id")
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False}


def _json(value: Any) -> Reply:
    return Reply(orjson.dumps(value))


def _run_stream(question: Question, one: dict[str, Any]) -> Stream:
    """The events of a run: https://platform.openai.com/docs/api-reference/assistants-streaming/events."""
    delta = {"id": "msg_1", "object": "thread.message.delta"}
    return Stream(
        [
            event({**delta, "delta": {"content": [{"index": 0, "type": "text", "text": {"value": token}}]}}, name)
            for name in ("thread.message.delta",)
            for token in complete(question).tokens
        ],
        [event({**one, "status": "queued"}, "thread.run.created")],
        [event(one, "thread.run.completed"), b"event: done\ndata: [DONE]\n\n"],
        failure=event({"code": "server_error", "message": "The server had an error."}, "error"),
    )


def _read_again(one: dict[str, Any]) -> Stream:
    """A stored response read as a stream."""
    done = {"type": "response.completed", "sequence_number": 1, "response": one}
    begun = {"type": "response.created", "sequence_number": 0, "response": {**one, "status": "in_progress"}}
    return Stream(
        [], [event(begun, "response.created")], [event(done, "response.completed")], failure=event({}, "error")
    )
