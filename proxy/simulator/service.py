"""
The service behind the wire: from one request to the program that answers it.

It reads the request, finds the model and the directives in force, and picks the endpoint. It opens no socket.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

import orjson

from proxy.simulator.answers import ENDPOINTS, Reply, refusal
from proxy.simulator.completion import CREATED
from proxy.simulator.directives import DirectiveError, Directives, parse
from proxy.simulator.faults import Program, program, written
from proxy.simulator.files import Files
from proxy.simulator.ledger import Request
from proxy.simulator.multipart import Form
from proxy.simulator.odds import ODDS
from proxy.simulator.question import Question
from proxy.simulator.resources import find
from proxy.simulator.script import Send
from proxy.simulator.streams import Stream

CACHED_PROGRAMS: Final = 512  # equal requests get equal programs; benchmarks send millions of equal requests
CACHED_BODY: Final = 4096  # longer bodies are seldom sent twice


class Service:
    """All endpoints of one simulator."""

    def __init__(self, models: Sequence[str], api_key: str | None) -> None:
        self.override = Directives()
        """Directives over all others, for every request."""
        self._models = {name: parse(rest) for name, _, rest in (model.partition(":") for model in models)}
        self._bearer = f"Bearer {api_key}".encode() if api_key else None
        self._api_key = (api_key or "").encode()
        self._files = Files()
        self._programs: dict[tuple[bytes, bytes, bytes, bytes], tuple[str, Program]] = {}
        self._switched: dict[str, int] = {}

    def answer(self, request: Request, body: bytes, form: Form | None) -> Program:
        """The program for *request*, whose model is noted in it on the way."""
        header = b""
        authorised = self._bearer is None
        for name, value in request.headers:
            size = len(name)
            if size == 11 and name.lower() == b"x-simulator":
                header = value
            elif not authorised and size in (9, 13):
                authorised = self._opens(name.lower(), value)
        if not authorised:
            refused = refusal(401, "Incorrect API key provided.", code="invalid_api_key")
            return written(refused, self.override, version=request.version)
        cacheable = form is None and len(body) <= CACHED_BODY and not self.override.values and request.version == "1.1"
        key = (request.method, request.target, body, header)
        if cacheable and (cached := self._programs.get(key)) is not None:
            request.model = cached[0]
            return cached[1]
        try:
            question, answer = self._asked(request, body, form, header.decode("latin-1"))
        except DirectiveError as error:
            return written(refusal(400, str(error), code="invalid_directive"), Directives())
        directives = question.directives
        found = written(answer, directives, version=request.version)
        if question.method == "HEAD" and found.whole is not None:
            found = program([Send(found.whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")])
        if cacheable and not question.path.startswith("/files") and not _SWITCHES & directives.values.keys():
            if len(self._programs) >= CACHED_PROGRAMS:
                self._programs.clear()
            self._programs[key] = (request.model, found)
        return found

    def _opens(self, name: bytes, value: bytes) -> bool:
        """Whether this header carries the key: as OpenAI's bearer or as Anthropic's `x-api-key`."""
        if name == b"authorization":
            return hmac.compare_digest(value, self._bearer or b"")
        return name == b"x-api-key" and hmac.compare_digest(value, self._api_key)

    def _asked(self, request: Request, body: bytes, form: Form | None, header: str) -> tuple[Question, Reply | Stream]:
        """Read the request and find its good answer; the directives in force are in the question."""
        path = request.path
        path = path.removeprefix("/v1") if path.startswith("/v1/") else path
        question = Question(request.method.decode("latin-1"), path, form=form)
        asked = ""
        problem: Reply | None = None
        if form is not None:
            asked = form.value("model")
        elif question.method == "GET":
            question.body = {"stream": True} if b"stream=true" in request.target else {}
        elif question.method == "POST" and (body or path in ENDPOINTS):
            try:
                parsed = orjson.loads(body)
            except ValueError:
                parsed = None
            if parsed is None and path == _OFFERS:
                # An offer is no JSON.
                question.body = {}
            elif isinstance(parsed, dict):
                question.body = parsed
                asked = parsed["model"] if isinstance(parsed.get("model"), str) else ""
            else:
                problem = refusal(400, "We could not parse the JSON body of your request.")
        request.model = asked
        question.model, of_model = self._resolve(asked)
        question.directives = self.override.over(parse(header).over(of_model or Directives()))
        if _SWITCHES & question.directives.values.keys() and not self._faulty(question.directives, asked + header):
            question.directives = question.directives.shapes()
        if "json_for_stream" in question.directives:
            question.body = {**question.body, "stream": False}
        return question, problem or self._good(question, asked, of_model is not None)

    def _resolve(self, asked: str) -> tuple[str, Directives | None]:
        """The public name and the directives of the model asked for; None for a model there is not."""
        name, _, written = asked.partition(":")
        known = self._models.get(name)
        return name, None if known is None else parse(written).over(known)

    def _faulty(self, directives: Directives, who: str) -> bool:
        """Whether the faults asked for happen this time."""
        count = self._switched[who] = self._switched.get(who, 0) + 1
        if "times" in directives:
            return count <= directives.count("times")
        share = directives.seconds("share")
        # Spread evenly and always alike, instead of by chance: 0.25 is every fourth.
        return int(count * share + 1e-9) > int((count - 1) * share + 1e-9)

    def _good(self, question: Question, asked: str, known: bool) -> Reply | Stream:
        method, path = question.method, question.path
        if path == "/files" or path.startswith("/files/"):
            return self._files.answer(question)
        if method in ("GET", "HEAD") and path == "/models":
            return Reply(orjson.dumps({"object": "list", "data": [_model(name) for name in self._models]}))
        if method in ("GET", "HEAD") and path.startswith("/models/"):
            wanted = unquote(path.removeprefix("/models/"))
            if self._resolve(wanted)[1] is not None:
                return Reply(orjson.dumps(_model(wanted)))
            return _unknown(wanted)
        endpoint = ENDPOINTS.get(path)
        if method == "POST" and path in ODDS:
            return ODDS[path](question)
        kept = find(question) if endpoint is None or method != "POST" else None
        if kept is not None:
            return kept
        if method in ("GET", "HEAD") and path == "/webhook_event_types":
            return Reply(orjson.dumps({"object": "list", "data": ["batch.completed", "response.completed"]}))
        if method == "DELETE" and path.startswith("/models/"):
            return Reply(orjson.dumps({"id": unquote(path[8:]), "object": "model", "deleted": True}))
        if endpoint is None:
            return refusal(404, f"Invalid URL ({method} {path})", code="unknown_url")
        if method != "POST":
            return refusal(405, f"Not allowed to {method} on {path}.", code="method_not_supported")
        if not known and (asked or path != "/moderations"):
            return _unknown(asked) if asked else refusal(400, "you must provide a model parameter")
        try:
            return endpoint(question)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            # Fields are read as they are meant; who sends a number where a list belongs ends up here.
            return refusal(400, "A field of the request has a shape the simulator does not understand.")


_OFFERS: Final = "/realtime/calls"
_SWITCHES: Final = frozenset(("times", "share"))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"}


def _unknown(name: str) -> Reply:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return refusal(404, message, code="model_not_found")
