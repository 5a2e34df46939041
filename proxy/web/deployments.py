"""
A body whose model stands in the path: Azure's SDKs name a deployment there, and it overrules what the body says.

Only the model's own bytes change, or are added where there are none; all others stay as they came.
"""

from typing import Any

import orjson

from proxy import peek
from proxy.relay.question import Upload
from proxy.web.multipart import boundary_of


def in_json(body: bytes, value: dict[str, Any], model: str) -> bytes:
    """The JSON object *body*, read as *value*, with *model* as its model; *value* is changed with it."""
    if value.get("model") == model:
        return body
    if "model" in value:
        body = peek.with_model(body, model)
    else:
        brace = body.index(b"{") + 1
        comma = b"," if value else b""
        body = body[:brace] + b'"model":' + orjson.dumps(model) + comma + body[brace:]
    value["model"] = model
    return body


def in_form(upload: Upload, found: peek.Peek, content_type: str, model: str) -> peek.Peek:
    """What the form *upload*, read as *found*, says with *model* as its model; *upload* is changed with it."""
    boundary = boundary_of(content_type)
    if boundary is None:
        return found
    if upload.span is None:
        # A part of its own, before all others.
        upload.span = (0, 0)
        upload.around = (b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' % boundary, b"\r\n")
    else:
        upload.around = (b"", b"")
    return peek.Peek(model, found.stream)
