"""
What an error means: the words for it, the form of a row of the table in `faults`, and how a row is found.

Codes come before types before words, and of each the rows of one provider type before those of all. It knows no row and
no verdict.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from proxy.relay.told import Told


class Meaning(Enum):
    """Whose fault an error is, and with it what follows."""

    REQUEST = "the caller's"
    """The refusal is passed on; it is tried nowhere else and counts for nothing."""
    ELSEWHERE = "this account's, for this call"
    """Its model, region, scope or plan does not cover this call: the next target, else the provider's words."""
    MODEL_NOT_FOUND = "no such model here"
    """The next target, and 404 when all said so."""
    CONTEXT = "too long for this model"
    """The model's `context_fallbacks`, else the provider's words."""
    KEY = "the key's"
    """The key is parked and the next one or the next target asked; the provider's words are never shown."""
    MONEY = "the account's: no money"
    """As with the key, and parked for longer."""
    RATE = "too fast"
    """The target rests; the next one."""
    OVERLOADED = "the provider's: overloaded"
    """The next target."""
    TIMEOUT = "the provider's: too late"
    """The next target; this one is not asked again in this call."""
    UNREACHABLE = "something before the provider"
    """A firewall's or a proxy's page: the next target, and no key is to blame."""
    FAILED = "the provider's"
    """The next target, this one once more where a pause can help."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing a provider may say. Codes, types and words that are given must all be met, statuses as well."""

    meaning: Meaning
    source: str
    """The vendor's page, the server's source file, or the public report that shows it."""
    codes: tuple[str, ...] = ()
    """One of them is the error's code or a reason; case, `_`, `-` and blanks do not count."""
    types: tuple[str, ...] = ()
    """One of them is its type."""
    words: str = ""
    """A regular expression over its message, without regard to case."""
    providers: tuple[str, ...] = ()
    """Types of providers it is for; empty: all."""
    statuses: Container[int] = range(600)
    """HTTP statuses it is for; 0 stands for an error in a 200 that tells none."""

    @property
    def sentence(self) -> bool:
        """
        The words must begin the message, and what is quoted does not count: what would park a key must not be found in
        a prompt that an error repeats.
        """
        return self.meaning in (Meaning.KEY, Meaning.MONEY)


_LONGEST = 4000
"""Letters of a message that are looked at."""
_NAMES = re.compile(
    r"(?:[\w.]*(?:error|exception|denied|failed|failure|forbidden|unauthorized)\b(?: code)?"
    r"[\s:.,(-]*(?:\d{3}\b)?[\s:.,)-]*)*+",
    re.IGNORECASE,
)
"""
What relays put before the words of another: `Error code: 400 - `, `litellm.BadRequestError: OpenAIException - `. It is
taken at once and not tried in parts (`*+`): a caller's text that repeats such names would cost seconds.
"""
_QUOTED = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|`[^`]*`")
_ECHO = re.compile(r"['\"]input['\"]\s*:|\binput_value=")
"""What pydantic writes before the caller's own words, which are no error's (docs.pydantic.dev/latest/errors)."""
_SQUASHED = re.compile(r"[\s_-]+")


def find(told: Told, status: int, provider: str, rows: Sequence[Row]) -> Row | None:
    """The first of *rows* that fits an error with this HTTP *status* (0: none) of that type of provider."""
    codes = {_squash(name) for name in (told.code, *told.more) if name}
    types = {_squash(name) for name in (told.type, *told.more) if name}
    message = _ECHO.split(told.message[:_LONGEST], 1)[0]
    bare = _bare(message)
    for row in _ordered(rows):
        if (row.providers and provider not in row.providers) or status not in row.statuses:
            continue
        if row.codes and not any(_squash(code) in codes for code in row.codes):
            continue
        if row.types and not any(_squash(kind) in types for kind in row.types):
            continue
        if row.words and not _fits(row, message, bare, told.behind[:_LONGEST]):
            continue
        return row
    return None


def _fits(row: Row, message: str, bare: str, behind: str) -> bool:
    if row.sentence:
        return _compiled(row.words).match(bare) is not None
    words = _compiled(row.words)
    if words.search(message) is not None:
        return True
    # Beside its own words a relay shows those of the provider behind it; they are believed in this alone.
    return row.meaning is Meaning.CONTEXT and bool(behind) and words.search(behind) is not None


def _bare(message: str) -> str:
    """*message* without what it quotes and without the names it begins with."""
    text = _QUOTED.sub("", message).lstrip(" :-")
    names = _NAMES.match(text)
    return text if names is None else text[names.end() :]


@cache
def _compiled(words: str) -> re.Pattern[str]:
    # On first use: a process that meets no error pays for no table.
    return re.compile(words, re.IGNORECASE)


@cache
def _ordered(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=_rank))


def _rank(row: Row) -> tuple[int, bool, bool]:
    return (0 if row.codes else 1 if row.types else 2, not row.providers, not (row.words and (row.codes or row.types)))


@cache
def _squash(name: str) -> str:
    return _SQUASHED.sub("", name).lower()
