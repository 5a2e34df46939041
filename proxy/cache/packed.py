"""
A stored answer as bytes: two labels that can be read by themselves, and the rest compressed.

The form begins with its number, so that an answer of another release is no answer.
"""

import zlib
from hashlib import blake2b

import orjson

from proxy.cache.stored_answer import StoredAnswer

LABEL = 17
"""Bytes at the beginning that tell the form, the model and the principal."""

_FORM = b"1"
_LEVEL = 1
"""Event streams shrink to a tenth already at the lowest."""


def label(name: str) -> bytes:
    """8 bytes that stand for the name of a model or a principal."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def labelled(begin: bytes, model: bytes | None, principal: bytes | None) -> bool:
    """Whether an answer that begins with *begin* has these labels; None: any."""
    return (
        len(begin) == LABEL
        and begin[:1] == _FORM
        and (model is None or begin[1:9] == model)
        and (principal is None or begin[9:17] == principal)
    )


def pack(answer: StoredAnswer) -> bytes:
    """The bytes of *answer*."""
    about = orjson.dumps(
        {
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers],
            "steps": len(answer.steps),
            "streamed": answer.streamed,
            "events": answer.emitted,
            "made": answer.made,
            "model": answer.model,
            "principal": answer.principal,
            "cost": answer.cost,
        }
    )
    head = _FORM + label(answer.model) + label(answer.principal)
    return head + zlib.compress(b"%d\n" % len(about) + about + answer.steps + answer.body, _LEVEL)


def unpack(packed: bytes) -> StoredAnswer | None:
    """The answer *packed* holds; None where that is not one of this form."""
    if packed[:1] != _FORM:
        return None
    try:
        plain = zlib.decompress(packed[LABEL:])
        length, _, rest = plain.partition(b"\n")
        size = int(length)
        about = orjson.loads(rest[:size])
        steps, body = size + about["steps"], about["steps"]
        return StoredAnswer(
            tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in about["headers"]),
            rest[steps:],
            rest[size : size + body],
            about["streamed"],
            about["events"],
            about["made"],
            about["model"],
            about["principal"],
            about["cost"],
        )
    except (zlib.error, ValueError, KeyError, TypeError):
        return None
