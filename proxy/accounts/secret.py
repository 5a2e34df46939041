"""
The secret of a key: how it is made, recognised, and kept as a digest.

It touches no store.
"""

import hashlib
import secrets
import string
import zlib

BEGIN = "hpx_"
"""How every secret begins, for people and for tools that look for secrets in the wrong places."""

_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 40
"""Random letters of a secret; 238 bits."""
_CHECK = 6
"""Letters for the CRC-32 of what stands before them."""
_SHOWN = 6
"""Random letters of a secret that may be seen; the others are 202 bits."""


def mint() -> str:
    """A new secret: a beginning that is public, random letters, and a check of both."""
    body = BEGIN + "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM))
    return body + _check(body)


def looks_minted(secret: str) -> bool:
    """Whether *secret* may have been made here. A made-up one, or one with a slip, is told without asking the store."""
    body = secret[:-_CHECK]
    return (
        len(secret) == len(BEGIN) + _RANDOM + _CHECK and secret.startswith(BEGIN) and _check(body) == secret[-_CHECK:]
    )


def digest(secret: str) -> bytes:
    """What is kept of *secret*. It is random enough that no slow hash is called for."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _check(body: str) -> str:
    rest, letters = zlib.crc32(body.encode("utf-8", "surrogateescape")), ""
    for _ in range(_CHECK):
        rest, letter = divmod(rest, len(_LETTERS))
        letters = _LETTERS[letter] + letters
    return letters


def prefix(secret: str) -> str:
    """What may be seen of *secret*."""
    return secret[: len(BEGIN) + _SHOWN]
