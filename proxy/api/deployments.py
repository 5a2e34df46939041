"""
A body whose model stands in the path: Azure's SDKs name a deployment there, and it overrules what the body says.

Only the model's own bytes change, or are added where there are none; all others stay as they came.
"""

from typing import Any

from proxy.core import peek
from proxy.core.places import edited, moved
from proxy.http.gist import Gist
from proxy.http.multipart import boundary_of
from proxy.relay.question import Upload


def in_json(body: bytes, value: dict[str, Any], gist: Gist | None, model: str) -> bytes:
    """
    The JSON object *body*, read as *value*, with *model* as its model; *value* is changed with it, and its *gist*, if
    there is one.
    """
    if value.get("model") == model:
        return body
    places = None if gist is None else gist.places
    if "model" in value:
        edit = peek.model_edit(body, model, places)
        made = {}
    else:
        edit, place = peek.model_added(body, value, model)
        made = {"model": place}
    if gist is not None:
        gist.places = moved(gist.places, edit) | made
    value["model"] = model
    return edited(body, [edit])


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
