"""
Keys in texts that providers write: whole ones, and the hints of them that refusals like to show.

One pure function, over text and over bytes. What a provider says reaches clients, and no client may learn a part of
the operator's keys.
"""

import re
from collections.abc import Sequence

MASK = "***"
"""What stands in a key's place."""

SHORTEST = 8
"""A configured key that is shorter is a placeholder (`none`, `ollama`) and no secret."""
SHORTEST_PART = 6
"""Letters of a key's beginning or end that are taken for a part of it."""

_VENDORS = r"sk|pk|rk|gsk|xai|hf|r8|pplx|nvapi|fw|csk|tgp|esecret|tvly|glsa|bce|key|AIza|AKIA|ya29|eyJ"
_KEY = re.compile(
    # Plain keys, as the vendors' documents show them.
    r"(?<![A-Za-z0-9])(?:(?:sk|pk|rk|xai|pplx|nvapi|csk|tvly|tgp)[-_](?=[\w-]{0,200}\d)[\w-]{8,}"
    r"|(?:gsk|hf|r8|fw|glsa)_(?=\w{0,200}\d)\w{8,}|AIza[\w-]{10,}|AKIA[0-9A-Z]{12,}|ya29\.[\w.-]{10,}"
    r"|eyJ[\w-]{10,500}\.[\w.-]{10,})"
)
_BEARER = re.compile(r"(\bBearer\s+)[\w.~+/=*\u2026-]{6,}", re.IGNORECASE)
# A word is entered at its beginning alone: an error may repeat a picture of a megabyte, in one word.
_HINT = re.compile(
    r"(?:(?<![\w-])[\w-]*|(?<=[\w-]))(?:[*\u2022]{3,}|(?:\u2026|\\u2026|\.{3,}))(?:[*.\u2022\u2026]{0,64}(?=[\w-]))?[\w-]*"
)
_ENDING = re.compile(
    r"(\b(?:key|token)\b[^.\n]{0,24}?\b(?:ending|ends|starting|starts|beginning|begins)\s+(?:in|with|on)\s+\W{0,2})[\w-]{2,}",
    re.IGNORECASE,
)
_VENDOR = re.compile(rf"(?:{_VENDORS})(?:[-_]|\b|(?=\w{{2,}}$))")
_WORD = re.compile(rf"[\w-]{{{SHORTEST_PART},}}")


def mask(text: str, keys: Sequence[str] = ()) -> str:
    """
    *text* without any of *keys*, whole or by a beginning or an end of it, and without anything that looks like some
    vendor's key or a hint of one (`sk-ab****yz`, `...wxyz`, `Bearer abcdef`).
    """
    keys = [key for key in keys if len(key) >= SHORTEST]
    for key in keys:
        text = text.replace(key, MASK)
    text = _KEY.sub(MASK, _BEARER.sub(rf"\g<1>{MASK}", text))
    text = _HINT.sub(lambda found: _without_hint(found[0], keys), text)
    text = _ENDING.sub(rf"\g<1>{MASK}", text)
    if keys:
        text = _WORD.sub(lambda found: MASK if _is_part(found[0], keys) else found[0], text)
    return text


def mask_bytes(data: bytes, keys: Sequence[str] = ()) -> bytes:
    """The same of bytes, JSON among them: no quote and no backslash is taken away, so JSON stays JSON."""
    return mask(data.decode("utf-8", "surrogateescape"), keys).encode("utf-8", "surrogateescape")


def _without_hint(token: str, keys: Sequence[str]) -> str:
    head = re.split(r"[*.\u2022\u2026\\]", token, maxsplit=1)[0]
    tail = re.split(r"[*.\u2022\u2026]|\\u2026", token)[-1]
    if "***" in token or "\u2022" in token:
        # Three stars hide something, whatever it is.
        return MASK
    # Dots are usual in sentences: they hide a key only where it is one of ours or begins like one.
    ours = any((len(head) > 1 and key.startswith(head)) or (len(tail) > 2 and key.endswith(tail)) for key in keys)
    return MASK if ours or (head and _VENDOR.match(head) and (tail or "-" in head or "_" in head)) else token


def _is_part(word: str, keys: Sequence[str]) -> bool:
    return any(key.startswith(word) or key.endswith(word) for key in keys)
