"""
What each OpenAI path means to the relay: how its streams speak, whether it needs a model, whether it may be repeated.

A table, and the rules for a path that is not listed.
"""

from dataclasses import dataclass

from proxy.core.sse import Dialect


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of call."""

    route: str
    """The template that stands for the path in metrics and logs."""
    dialect: Dialect = Dialect.OTHER
    generates: bool = False
    """
    The only effect is an answer (and its price), so a call that died unanswered may go to another target. All else
    is tried again only when the provider cannot have seen it (RFC 9110 section 9.2.2).
    """
    needs_model: bool = False
    methods: frozenset[str] = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE"))
    json_only: bool = False
    """Takes nothing but a JSON body."""
    answers: str = ""
    """
    What a whole answer to a POST is: a JSON object that holds a list of this name, `json` of any shape, or anything at
    all (empty).
    """
    free: bool = False
    """
    No model is asked: its answers use no tokens, unless they say so, and a form goes on without waiting for a model.
    """

    @property
    def named(self) -> bool:
        """It stands in the table: its path is one of OpenAI's API."""
        return self is not _OTHER

    @property
    def uses_tokens(self) -> bool:
        """Whether an answer that tells no usage has used tokens all the same."""
        return self.generates and not self.free


_POST = frozenset(("POST",))


_TAKE_FORMS = frozenset(("/audio/transcriptions", "/audio/translations", "/images/edits", "/images/variations"))
"""What generates and takes a form with a file (OpenAI's API reference, audio and images)."""


def _generation(path: str, dialect: Dialect = Dialect.OTHER, needs_model: bool = False, answers: str = "") -> Operation:
    return Operation(f"/v1{path}", dialect, True, needs_model, _POST, path not in _TAKE_FORMS, answers)


_OPERATIONS = {
    # GET lists the completions a provider was asked to store.
    "/chat/completions": Operation(
        "/v1/chat/completions", Dialect.CHAT, True, True, frozenset(("GET", "POST")), True, "choices"
    ),
    "/completions": _generation("/completions", Dialect.COMPLETIONS, True, "choices"),
    "/responses": _generation("/responses", Dialect.RESPONSES, answers="output"),
    "/messages": _generation("/messages", Dialect.MESSAGES, True, "content"),
    "/messages/count_tokens": Operation(
        "/v1/messages/count_tokens", generates=True, methods=_POST, json_only=True, answers="json", free=True
    ),
    "/embeddings": _generation("/embeddings", needs_model=True, answers="data"),
    "/moderations": _generation("/moderations", answers="results"),
    "/rerank": _generation("/rerank", answers="json"),
    "/images/edits": _generation("/images/edits", answers="json"),
    "/images/generations": _generation("/images/generations", answers="json"),
    "/images/variations": _generation("/images/variations", answers="json"),
    "/audio/speech": _generation("/audio/speech"),
    "/audio/transcriptions": _generation("/audio/transcriptions"),
    "/audio/translations": _generation("/audio/translations"),
}

_FREE = frozenset(
    ("assistants", "chat", "containers", "conversations", "files", "models", "responses", "uploads", "vector_stores")
)
"""Families whose calls keep, change or show something and ask no model; of the others it is not known beforehand."""

_FAMILIES = {
    family: Operation(f"/v1/{family}/*", free=family in _FREE)
    for family in (
        "assistants",
        "audio",
        "batches",
        "chat",
        "containers",
        "conversations",
        "evals",
        "files",
        "fine_tuning",
        "images",
        "messages",
        "models",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    )
}

_OTHER = Operation("/v1/*")


def operation(path: str) -> Operation:
    """The operation at *path*, which is what follows `/v1` and starts with a slash."""
    known = _OPERATIONS.get(path)
    if known is not None:
        return known
    return _FAMILIES.get(path[1:].partition("/")[0], _OTHER)
