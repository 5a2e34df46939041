"""
Uploaded files: id, name and size of each, in memory.

It never had their bytes; `multipart.py` counted them as they passed.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from proxy.simulator.answers import Reply, refusal
from proxy.simulator.completion import CREATED
from proxy.simulator.question import Question

LARGEST: Final = 1024 * 1024
"""Bytes of a file's content that are answered at most."""


class Files:
    """The /files endpoints."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, Any]] = {}

    def answer(self, question: Question) -> Reply:
        """GET and POST /files, GET and DELETE /files/{id}, GET /files/{id}/content."""
        id, _, what = question.path.removeprefix("/files").strip("/").partition("/")
        if not id:
            return self._create(question) if question.method == "POST" else self._list()
        found = self._files.get(id)
        if found is None:
            return refusal(404, f"No such File object: {id}")
        if question.method == "DELETE":
            del self._files[id]
            return Reply(orjson.dumps({"id": id, "object": "file", "deleted": True}))
        if what == "content":
            # As many bytes as the file had, up to a point; they were never kept.
            size = min(found["bytes"], LARGEST)
            return Reply((bytes(range(256)) * (size // 256 + 1))[:size], 200, "application/octet-stream")
        return Reply(orjson.dumps(found))

    def _list(self) -> Reply:
        return Reply(orjson.dumps({"object": "list", "data": list(self._files.values()), "has_more": False}))

    def _create(self, question: Question) -> Reply:
        form = question.form
        if form is None or form.file is None:
            return refusal(400, "A multipart form with a file is needed.")
        id = f"file-{len(self._files) + 1:012d}"
        while id in self._files:
            id = f"file-{int(id[5:]) + 1:012d}"
        self._files[id] = {
            "id": id,
            "object": "file",
            "bytes": form.file.size,
            "created_at": CREATED,
            "filename": form.file.filename,
            "purpose": form.value("purpose") or "assistants",
            "status": "processed",
        }
        return Reply(orjson.dumps(self._files[id]))
