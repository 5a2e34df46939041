"""How the gateway itself does: its process, connections, store and caches, and whatever it had to drop."""

from deploy.grafana.generator.looks import NO_CALL, YES, board, figure, lines, listing, timeline
from deploy.grafana.generator.series import (
    ADAPTERS,
    BUILD,
    CACHE_BYTES,
    CACHE_HITS,
    CACHE_MISSES,
    CERTIFICATE_ENDS,
    CONNECTED,
    CONNECTIONS,
    CPU,
    ERRORS_BY_FAULT,
    HEAP,
    LAG,
    LEDGER_LOST,
    LEDGER_ROWS,
    LEDGER_WAITING,
    LINES_LOST,
    MEMORY_LIMIT,
    OBJECTS_LOST,
    OVERHEAD,
    READY,
    RELOAD_OK,
    RELOADED_AT,
    RELOADS,
    RESIDENT,
    SPANS_LOST,
    STATE_FALLBACKS,
    STATE_THERE,
    STORE_ERRORS,
    STORE_SECONDS,
    STORE_THERE,
    TURNED_AWAY,
    UPSTREAM,
    UPTIME,
    WORKER_RESTARTS,
    WORKERS,
    added,
    chosen,
    quantile,
    rate,
    share,
    total,
)

NO_STORE = "There is no store: store.url is empty."
_hits, _misses = rate(chosen(CACHE_HITS)), rate(chosen(CACHE_MISSES))

PROCESS = [
    lines(
        "CPU usage",
        "percentunit",
        (f"rate({chosen(CPU)}[$__rate_interval])", "{{instance}}"),
        about="Seconds of processor time a second: 1 is one core, all workers together.",
    ),
    lines(
        "Memory usage",
        "bytes",
        (chosen(RESIDENT), "{{instance}} resident"),
        (chosen(HEAP), "{{instance}} its own"),
        (chosen(MEMORY_LIMIT), "{{instance}} limit"),
        about="Resident memory, the part of it that no other process shares, and health.memory_limit.",
    ),
    lines(
        "Event loop lag",
        "s",
        (chosen(LAG), "{{instance}} worst of a minute"),
        about="How late the event loop was: every stream waits for it.",
    ),
    lines(
        "Gateway overhead, p99",
        "s",
        (quantile(0.99, chosen(OVERHEAD), "phase"), "{{phase}}"),
        about="Time of a call in the gateway itself: before the request is sent, and before the answer's head is.",
        empty=NO_CALL,
    ),
    figure(
        "Workers",
        "short",
        total(chosen(WORKERS)),
        about="Processes that serve.",
        steps=[(None, "red"), (1, "green")],
    ),
    figure(
        "Workers that died",
        "short",
        added(chosen(WORKER_RESTARTS)),
        about="In the time shown; each was replaced, and took its streams along.",
        steps=[(None, "green"), (1, "red")],
    ),
    figure(
        "Youngest process",
        "s",
        f"min({chosen(UPTIME)})",
        about="How long the instance that was started last has run.",
        steps=[(None, "blue")],
    ),
    listing(
        "Versions",
        {"instance": "Instance", "version": "Version"},
        [("Runs", "none", chosen(BUILD))],
        about="What runs where.",
    ),
]

CLIENTS = [
    lines(
        "Active connections",
        "short",
        (total(chosen(CONNECTIONS), "type", "protocol"), "{{type}} {{protocol}}"),
        about="Open connections of clients and to providers.",
        stacked=True,
    ),
    lines(
        "Connection duration, p95",
        "s",
        (quantile(0.95, chosen(CONNECTED), "protocol"), "{{protocol}}"),
        about="How long clients stayed connected.",
    ),
    lines(
        "Connections turned away",
        "ops",
        (rate(chosen(TURNED_AWAY), "limit"), "{{limit}}"),
        about="Clients' connections there were too many of: of all, or of one address.",
    ),
    lines(
        "Error rate",
        "reqps",
        (rate(chosen(ERRORS_BY_FAULT), "type", "severity"), "{{type}} {{severity}}"),
        about="Calls that went wrong: the gateway's or a provider's fault, or the client's.",
        stacked=True,
    ),
]

STORES = [
    timeline(
        "Ready for calls",
        YES,
        (chosen(READY), "{{instance}}"),
        about="What /ready says: no while it stops, or while something critical is amiss.",
    ),
    lines(
        "Certificates expire in",
        "s",
        (f"{chosen(CERTIFICATE_ENDS)} - time()", "{{instance}} {{listener}}"),
        about="Until the certificate in use is no longer valid; a new file is taken without a restart.",
        empty="There is no certificate: neither server.tls nor server.http3 is set.",
    ),
    timeline(
        "Reachable",
        YES,
        (chosen(STORE_THERE), "{{instance}} store"),
        (chosen(STATE_THERE), "{{instance}} shared state"),
        about="The store: keys and ledger. The shared state: limits over Redis.",
    ),
    lines(
        "Store latency, p95",
        "s",
        (quantile(0.95, chosen(STORE_SECONDS), "operation"), "{{operation}}"),
        about="How long the store took to read or write.",
        empty=NO_STORE,
    ),
    lines(
        "Store errors",
        "ops",
        (rate(chosen(STORE_ERRORS), "operation"), "{{operation}}"),
        about="Operations of the store that failed; writes are tried again.",
    ),
    lines(
        "Usage ledger",
        "short",
        (total(chosen(LEDGER_WAITING)), "rows that wait"),
        (rate(chosen(LEDGER_ROWS)), "rows written a second"),
        about="Rows that wait to be written, and those that are.",
        empty=NO_STORE,
    ),
]

CACHES = [
    lines(
        "Cache hit rate",
        "percentunit",
        (share(_hits, f"({_hits} + {_misses})"), "hits"),
        about="Of the questions that are looked up, those for which an answer was stored.",
        empty="Nothing was looked up: cache.enabled is false, or no call may have a stored answer.",
    ),
    lines(
        "Stored answers",
        "bytes",
        (total(chosen(CACHE_BYTES)), "size"),
        about="Bytes of stored answers; cache.max_size bounds them.",
    ),
    lines(
        "Adapter creation time, p95",
        "s",
        (quantile(0.95, chosen(ADAPTERS, "provider"), "provider"), "{{provider}}"),
        about="All there is to creating an adapter here: a provider's model list is fetched.",
    ),
    lines(
        "Connection pools",
        "short",
        (total(chosen(UPSTREAM, "provider"), "provider", "state"), "{{provider}} {{state}}"),
        about="Connections to providers: busy with a call, or idle and kept for the next.",
        stacked=True,
    ),
]

DROPS = [
    lines(
        "Dropped",
        "short",
        (added(chosen(LINES_LOST), over="$__rate_interval"), "log lines"),
        (added(chosen(SPANS_LOST), over="$__rate_interval"), "spans"),
        (added(chosen(LEDGER_LOST), over="$__rate_interval"), "rows of usage"),
        (added(chosen(OBJECTS_LOST), over="$__rate_interval"), "owners of objects"),
        about="What found no room while its reader was away or slow.",
    ),
    lines(
        "Decisions without the shared state",
        "ops",
        (rate(chosen(STATE_FALLBACKS)), "decisions"),
        about="Limits decided by each worker from its own share, while Redis did not answer.",
    ),
    lines(
        "Reloads",
        "short",
        (added(chosen(RELOADS), "outcome", over="$__rate_interval"), "{{outcome}}"),
        about="Configurations put in force, and those that were refused.",
    ),
    timeline(
        "Last reload was applied",
        YES,
        (chosen(RELOAD_OK), "{{instance}}"),
        about="No: what the file says now is refused, and what was in force before is still.",
    ),
    figure(
        "Configuration since",
        "dateTimeFromNow",
        f"max({chosen(RELOADED_AT)}) * 1000",
        about="When the configuration in force was put there.",
        steps=[(None, "blue")],
    ),
]

BOARD = board(
    "hapax-system",
    "LLM Router System Resources",
    "How the gateway itself does, and what it had to drop.",
    [
        ("Process", PROCESS),
        ("Connections and errors", CLIENTS),
        ("Readiness, store and shared state", STORES),
        ("Caches and pools", CACHES),
        ("Drops and reloads", DROPS),
    ],
)
