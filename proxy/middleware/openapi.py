"""
`GET /openapi.json`: an OpenAPI 3.1 document of what is answered here, made from the routes and what these tell.

What is relayed is told by its provider, and is not in it. It is made when it is first asked for.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import TypeAdapter

from proxy import __version__
from proxy.core.errors import ProxyError
from proxy.middleware.described import Answer, Media, Open, Operation, Shape, get
from proxy.middleware.route import GET, Access, ErrorBody, Route

PATH = "/openapi.json"
_REFERENCE = "#/components/schemas/{model}"
_DESCRIPTION = (
    "What this gateway answers itself. Every other path below /v1 is relayed to a provider unchanged: see the API "
    "reference of OpenAI, or of the provider."
)


class ErrorDetails(Open):
    """More of an error, for programs."""

    hapax_type: str
    """The name the native API has for its kind."""


class ErrorFacts(Shape):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """What in the request it is about."""
    code: str
    """See docs/errors.md."""
    request_id: str
    details: ErrorDetails


class Error(Shape):
    """An error in OpenAI's shape."""

    error: ErrorFacts


class NativeErrorFacts(Shape):
    """What went wrong, in the words of the native API."""

    type: str
    message: str
    code: int
    """The status."""
    request_id: str
    details: dict[str, Any]


class NativeError(Shape):
    """An error of `/v1/completion`."""

    error: NativeErrorFacts


class GenerateError(Shape):
    """An error of `/api/generate`."""

    success: bool
    error: str
    code: str
    request_id: str


_ERRORS: dict[ErrorBody, Answer] = {
    ProxyError.body: Error,
    ProxyError.native_body: NativeError,
    ProxyError.generate_body: GenerateError,
}
_SECURED = (Access.CLIENT, Access.OPERATOR, Access.ADMIN)
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def with_document(routes: Sequence[Route]) -> list[Route]:
    """*routes*, and that of the document about all of them."""
    made: list[bytes] = []

    async def show(request: web.Request) -> web.StreamResponse:
        if not made:
            # It takes some tenths of a second, which calls must not stand still for.
            made.append(await asyncio.to_thread(lambda: orjson.dumps(document(whole))))
        return web.Response(body=made[0], content_type="application/json")

    about = get("This document", dict[str, Any])
    whole = [*routes, Route(PATH, GET, show, Access.OPEN, operations=(about,))]
    return whole


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document, as plain JSON."""
    told = list(_told(routes))
    references, schemas = _schemas(told)
    paths: dict[str, dict[str, Any]] = {}
    for path, route, operation in told:
        described = _operation(path, route, operation, references.__getitem__, schemas)
        paths.setdefault(path, {})[operation.method.lower()] = described
    # A form of a query is told as parameters.
    forms = {reference.rpartition("/")[2] for reference in _forms(told, references)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "hapax", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in forms},
            "securitySchemes": _KEYS,
        },
    }


def _told(routes: Sequence[Route]) -> Iterator[tuple[str, Route, Operation]]:
    """Every operation that is served, with its path. Of two routes for the same path the first one counts."""
    seen = set()
    for route in routes:
        for operation in route.operations:
            path = operation.path or route.template
            if operation.method in route.methods and (path, operation.method) not in seen:
                seen.add((path, operation.method))
                yield path, route, operation


def _bodies(answer: Answer) -> tuple[Answer, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _schemas(told: Sequence[tuple[str, Route, Operation]]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """How each shape is referred to, and the schemas by name."""
    shapes: dict[Any, None] = {}
    for _, route, operation in told:
        answered = [each for answer in operation.answers.values() for each in _bodies(answer)]
        shapes |= dict.fromkeys([*answered, _ERRORS[route.error_body], operation.body, operation.query])
    adapters = [(each, TypeAdapter(each)) for each in shapes if each is not None and not isinstance(each, Media)]
    found, definitions = TypeAdapter.json_schemas(
        [(number, "validation", adapter) for number, (_, adapter) in enumerate(adapters)], ref_template=_REFERENCE
    )
    references = {each: found[number, "validation"] for number, (each, _) in enumerate(adapters)}
    return references, definitions["$defs"]


def _forms(told: Sequence[tuple[str, Route, Operation]], references: dict[Any, dict[str, Any]]) -> Iterator[str]:
    for _, _, operation in told:
        if operation.query is not None:
            yield references[operation.query]["$ref"]


def _operation(
    path: str,
    route: Route,
    operation: Operation,
    reference: Callable[[Any], dict[str, Any]],
    schemas: dict[str, Any],
) -> dict[str, Any]:
    places = re.findall(r"\{(\w+)\}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in places
    ]
    if operation.query is not None:
        form = schemas[reference(operation.query)["$ref"].rpartition("/")[2]]
        parameters += [
            _parameter(name, schema) for name, schema in form["properties"].items() if name not in operation.without
        ]
    parameters += [_parameter(name, schema) for name, schema in operation.besides.items()]
    responses = {
        str(status): {"description": "Done." if status < 300 else "Not well.", "content": _content(answer, reference)}
        for status, answer in operation.answers.items()
    }
    errors = _content(_ERRORS[route.error_body], reference)
    name = re.sub(r"\W+", "_", f"{operation.method.lower()}_{path.strip('/') or 'welcome'}").strip("_")
    told: dict[str, Any] = {
        "operationId": name,
        "summary": operation.summary,
        "description": f"For {route.access.value}.",
        "parameters": parameters,
        "responses": {**responses, "default": {"description": "An error.", "content": errors}},
        "security": [{scheme: []} for scheme in _KEYS] if route.access in _SECURED else [],
    }
    if operation.body is not None:
        told["requestBody"] = {"required": True, "content": _content(operation.body, reference)}
    return told


def _content(answer: Answer, reference: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    content = {}
    for each in _bodies(answer):
        if isinstance(each, Media):
            # Of the events of a stream OpenAPI 3.1 cannot tell.
            content[each.type] = {} if each.type == "text/event-stream" else {"schema": {"type": "string"}}
        else:
            content["application/json"] = {"schema": reference(each)}
    return content


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One of a query, which is left out where a field may be null."""
    told = {key: value for key, value in schema.items() if key not in ("title", "description", "anyOf", "default")}
    for each in schema.get("anyOf", ()):
        if each != {"type": "null"}:
            told |= each
    if schema.get("default") is not None:
        told["default"] = schema["default"]
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"name": name, "in": "query", "required": False, **described, "schema": told}
