"""docs/faults.md: the catalogue and what came of it, as a document."""

from collections.abc import Mapping, Sequence

from proxy.relay.faults import ROWS
from proxy.relay.meaning import Meaning, Row

from .words import Case, Fault

HEAD = """\
# Faults

Every fault of a provider, a network or a client that the gateway is tested against: how it is brought about, what the
client sees when a second target is there, and what it sees when there is none. Made by `python -m tests.spec.faults`,
which plays each row through `hapax serve` and scripted upstreams of literal bytes; words in backquotes are directives
of the [simulator](simulator.md). The OpenAI SDKs for Python and JavaScript see the rows that end in an error or a
broken stream too.

Errors are in OpenAI's shape and carry `x-should-retry: false`, `Retry-After` where a wait is known, or both. "Only the
second's" means byte for byte: nothing of the first provider reaches the client. An error event ends a stream that has
begun; the terminating chunk is missing then, and no other target is asked.
"""

WORDS = """
## What providers say

A status alone does not tell whose fault an error is. The rows below decide first: codes before types before words, and
of each the rows of one provider type before those of all. Case, blanks, `_` and `-` do not count in codes and types; a
number is the same code as its digits. Words are regular expressions over the message alone; those of KEY and MONEY must
begin it, and what stands in quotes does not count, so that a prompt which an error repeats parks no key. An error in a
200 is judged as with the status its code or type names. What no row knows is judged by its status: 401 KEY, 402 MONEY,
429 RATE, 503 and 529 OVERLOADED, 504 TIMEOUT, any other 5xx FAILED, a page or a text with 403 or 404 UNREACHABLE, a 404
that names `model` MODEL_NOT_FOUND, a 404 that says nothing ELSEWHERE, and every other 4xx REQUEST. The table is
`proxy/relay/faults.py`; a row more is one line there.
"""

_FOLLOWS = {
    Meaning.REQUEST: "passed on, tried nowhere else, counts for nothing",
    Meaning.ELSEWHERE: "the next target, else the provider's words; nothing is parked",
    Meaning.MODEL_NOT_FOUND: "the next target, 404 when all said so",
    Meaning.CONTEXT: "`context_fallbacks`, else the provider's words",
    Meaning.KEY: "the key is parked for five minutes, the next key or target; the words are never shown",
    Meaning.MONEY: "the key is parked for ten minutes, the next key or target; the words are never shown",
    Meaning.RATE: "the target rests, the next one",
    Meaning.OVERLOADED: "the next target; counts for the breaker",
    Meaning.TIMEOUT: "the next target, this one not again; counts for the breaker",
    Meaning.UNREACHABLE: "the next target, no key is parked; counts for the breaker",
    Meaning.FAILED: "the next target; counts for the breaker",
}


def ways(fault: Fault) -> str:
    """How it is brought about."""
    return "; ".join(_once(part.how for part in fault.cases))


def paired(fault: Fault) -> str:
    """What is seen with a second target, and in checks that are neither."""
    cases = [part for part in fault.cases if isinstance(part, Case)]
    return "; ".join(_once(str(case.pair) for case in cases if case.pair is not None))


def alone(fault: Fault) -> str:
    """What is seen without one."""
    return "; ".join(_once(str(case.alone) for case in fault.cases if isinstance(case, Case)))


def checked(fault: Fault) -> str:
    """What is seen in checks of several calls."""
    return "; ".join(_once(part.seen for part in fault.cases if not isinstance(part, Case)))


def verdict(fault: Fault, failures: Sequence[str]) -> str:
    """Whether it was seen."""
    if failures:
        return f"**differs**: {', '.join(failures)}"
    return f"shown in part. Not shown: {fault.missing}" if fault.missing else "shown"


def row(fault: Fault, failures: Sequence[str]) -> tuple[str, ...]:
    """The cells of a fault."""
    seen = checked(fault)
    with_second, without = paired(fault), alone(fault)
    if seen:
        without = f"{without}; {seen}" if without else seen
    return (fault.id, fault.words, ways(fault), with_second or "-", without, verdict(fault, failures))


def page(faults: Sequence[Fault], failed: Mapping[str, Sequence[str]]) -> str:
    """The document."""
    lines = [HEAD, "| | fault | injected | with a second target | without | verdict |", "|---|---|---|---|---|---|"]
    for fault in faults:
        lines.append("| " + " | ".join(row(fault, failed.get(fault.id, ()))) + " |")
    return "\n".join(lines) + "\n" + table_of_words()


def table_of_words() -> str:
    """What providers say and what it means: the rows of `proxy.relay.faults`, in its order."""
    lines = [WORDS, "| means | code | type | words | status | providers | source |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(each))} |" for each in ROWS]
    lines += ["", "| meaning | is | with it |", "|---|---|---|"]
    lines += [f"| {each.name} | {each.value} | {_FOLLOWS[each]} |" for each in Meaning]
    return "\n".join(lines) + "\n"


def _cells(each: Row) -> tuple[str, ...]:
    words = each.words.replace("|", "\\|")
    return (
        each.meaning.name,
        ", ".join(f"`{code}`" for code in each.codes),
        ", ".join(f"`{kind}`" for kind in each.types),
        f"`{'' if '`' not in words else '` '}{words}{'' if '`' not in words else ' `'}`" if words else "",
        _statuses(each),
        ", ".join(each.providers),
        f"<{each.source}>",
    )


def _statuses(each: Row) -> str:
    """The statuses a row is for, as ranges."""
    fits = [status for status in range(600) if status in each.statuses]
    if len(fits) == 600:
        return ""
    if fits == list(range(500)):
        return "below 500"
    named = ["none" if status == 0 else str(status) for status in fits if status < 500]
    return ", ".join([*named, *(["5xx"] if 500 in fits else [])])


def _once(words: object) -> list[str]:
    return list(dict.fromkeys(words))  # type: ignore[call-overload,no-any-return]
