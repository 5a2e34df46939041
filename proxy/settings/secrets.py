"""
Secrets the operator chose: which of them an attacker could guess.

It judges by the look only, and its words never repeat the secret. It makes none.
"""

import re

from proxy.settings.placeholders import placeholder

SHORTEST = 16
"""Characters a secret needs at least."""
FEWEST = 8
"""Different characters it needs at least."""

_PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "replace_me",
    "your-key",
    "your_key",
    "yourkey",
    "your-api",
    "your_api",
    "yourapi",
    "your-secret",
    "your_secret",
    "my-secret",
    "my_secret",
    "mysecret",
    "secret-key",
    "secret_key",
    "placeholder",
    "example",
    "password",
    "passw0rd",
    "letmein",
    "123456789",
    "abcdefgh",
)
"""Found anywhere. None is shorter than seven characters: a shorter one stands in a random secret now and then."""
_WORDS = frozenset(("todo", "fixme", "dummy", "sample", "insert", "test", "demo", "fake", "qwerty"))
"""Found as the first word."""
_BRACKETED = re.compile(r"<.*>|\{.*\}|\[.*\]|\$.*")
_REPEATED = re.compile(r"(.{1,8})\1+.{0,7}")


def weakness(secret: str) -> str | None:
    """
    Why *secret* must not be a key, to be put after its name; None when nothing speaks against it. Of random secrets of
    32 letters and digits less than one in a hundred thousand is refused by chance.
    """
    lowered = secret.lower()
    first_word = re.split(r"[^a-z]", lowered, maxsplit=1)[0]
    if first_word in _WORDS or any(word in lowered for word in _PLACEHOLDERS) or _BRACKETED.fullmatch(secret):
        return "looks like a placeholder"
    if (reason := placeholder(secret)) is not None:
        return f"looks like a placeholder ({reason})"
    if len(secret) < SHORTEST:
        return f"has fewer than {SHORTEST} characters"
    if len(set(secret)) < FEWEST or _REPEATED.fullmatch(secret):
        return f"repeats itself: it needs at least {FEWEST} different characters in no simple pattern"
    return None
