"""docs/faults.md: the catalogue and what came of it, as a document."""

from collections.abc import Mapping, Sequence

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
    return "\n".join(lines) + "\n"


def _once(words: object) -> list[str]:
    return list(dict.fromkeys(words))  # type: ignore[call-overload,no-any-return]
