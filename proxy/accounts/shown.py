"""
Keys and usage as other programs read them: JSON values and CSV.

One form for the command line and the HTTP pages. Nothing here ever holds a secret.
"""

import csv
import io
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from proxy.accounts.asked import UsageQuestion
from proxy.accounts.keys import KeyRecord
from proxy.accounts.usage import UsageLine
from proxy.core import clock
from proxy.settings import Budget, ClientKey

_COUNTS = ("requests", "ok", "failed", "pending")
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
_SAVED = ("cached", "saved_micro_usd", "saved_usd")
_SUMS = (*_COUNTS, *_TOKENS, "cost_micro_usd", "cost_usd", *_SAVED, "unpriced", "estimated")


def status(key: KeyRecord, now: datetime) -> str:
    """`active`, `rotating` (the old secret is good as well), `expired` or `revoked`."""
    if key.revoked is not None and key.revoked <= now:
        return "revoked"
    if key.expires is not None and key.expires <= now:
        return "expired"
    if key.previous_expires is not None and key.previous_expires > now:
        return "rotating"
    return "active"


def key_fields(key: KeyRecord, now: datetime, last_used: datetime | None) -> dict[str, Any]:
    """A key of the store. *last_used*: when its last call began; None where none is known."""
    return _fields(key, "store", status(key, now), key.prefix, key, last_used)


def file_key_fields(key: ClientKey, last_used: datetime | None) -> dict[str, Any]:
    """A key of the configuration file, in the same form."""
    return _fields(key, "file", "active", None, None, last_used)


def _fields(
    key: KeyRecord | ClientKey,
    source: str,
    status: str,
    prefix: str | None,
    moments: KeyRecord | None,
    last_used: datetime | None,
) -> dict[str, Any]:
    """*moments*: None for a key whose moments are not known."""
    names = ("created", "expires", "revoked", "previous_expires")
    return {
        "name": key.name,
        "source": source,
        "status": status,
        "prefix": prefix,
        "team": key.team,
        "models": list(key.models),
        "routes": list(key.routes),
        "limits": key.limits.model_dump(),
        "budget": _budget(key.budget),
        "cache": key.cache,
        **{name: None if moments is None else _iso(getattr(moments, name)) for name in names},
        "last_used": _iso(last_used),
    }


def usd(micro: int) -> str:
    """Micro-USD as dollars, exactly: `1.250000`."""
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def usage_fields(question: UsageQuestion, lines: Sequence[UsageLine], total: UsageLine) -> dict[str, Any]:
    """The answer to *question*."""
    return {
        "by": question.by,
        "since": _iso(question.since),
        "until": _iso(question.until),
        "lines": [{"group": line.group, **_sums(line)} for line in lines],
        "total": _sums(total),
    }


def usage_csv(by: str, lines: Sequence[UsageLine]) -> str:
    """The lines with a heading, safe to open in a spreadsheet."""
    return _row([by, *_SUMS]) + "".join(_row([inert(line.group), *_sums(line).values()]) for line in lines)


def inert(text: str) -> str:
    """*text* such that no spreadsheet takes it for a formula: names and models are whatever a caller sent."""
    first = unicodedata.normalize("NFKC", text.lstrip())[:1]
    return f"'{text}" if first in ("=", "+", "-", "@") or text[:1] in ("\t", "\r", "\n") else text


def _row(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    # A writer quotes the characters it ends lines with and no others, and a lone carriage return ends one elsewhere.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _sums(line: UsageLine) -> dict[str, Any]:
    return {
        **{name: getattr(line, name) for name in (*_COUNTS, *_TOKENS)},
        "cost_micro_usd": line.cost,
        "cost_usd": usd(line.cost),
        "cached": line.cached,
        "saved_micro_usd": line.saved,
        "saved_usd": usd(line.saved),
        "unpriced": line.unpriced,
        "estimated": line.estimated,
    }


def _budget(budget: Budget | None) -> dict[str, Any] | None:
    return None if budget is None else {budget.unit: budget.usd or budget.tokens, "per": budget.per}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else clock.iso(moment)
