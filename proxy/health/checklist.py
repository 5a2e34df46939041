"""
What is looked at to tell whether this gateway is well: the list of checks behind `/health` and `/ready`.

It knows which rooms there are and asks each in one line; how results are kept and shown is decided in `checkup`.
"""

import os
from functools import partial

from proxy.admission.accounting import Accounting
from proxy.health.checkup import Check, Found, disks, memory
from proxy.observe.lag import LoopLag
from proxy.providers.checks import Checks
from proxy.providers.pool import Pool
from proxy.settings import Settings

LATE = 1.0
"""Seconds by which the event loop may be late: every stream has stood still for so long."""


def checks_of(settings: Settings, state: Accounting, pool: Pool, probes: Checks, lag: LoopLag) -> list[Check]:
    """All checks of a gateway with these rooms."""
    rules = settings.health
    found = [
        Check("router_initialized", partial(_initialized, probes), critical=True),
        Check("models_available", partial(_models, pool), critical=True),
        Check("memory_usage", partial(memory, rules.memory_limit, rules.memory_share), critical=True),
        Check("keys_known", partial(_keys, state), critical=True),
        Check("disk_space", partial(disks, _folders(settings), rules.disk_share), kept=True),
        Check("inference_capability", partial(_inference, pool)),
        Check("event_loop", partial(_loop, lag)),
    ]
    if state.store is not None:
        found.append(Check("store", partial(_store, state)))
    if not settings.state.url.get_secret_value().startswith("memory:"):
        found.append(Check("shared_state", partial(_shared, state)))
    return found


def _initialized(probes: Checks) -> Found:
    known = probes.known.is_set()
    return Found(known, "" if known else "some provider has not been asked for the first time yet")


def _models(pool: Pool) -> Found:
    # Which models it lists says nothing: one without a list, or with an empty one, is asked all the same.
    healthy = any(provider.health.healthy for provider in pool.providers)
    usable = any(provider.usable for provider in pool.providers)
    words = "" if usable else "every healthy provider is drained" if healthy else "no provider is healthy"
    return Found(usable, words, {"models": len(pool.listing())})


def _keys(state: Accounting) -> Found:
    principals, watch = state.principals, state.watch
    if principals.open or len(principals) or watch is None or watch.reachable:
        return Found(True)
    return Found(False, "the store cannot be read and no key is known: no client can be let in")


def _inference(pool: Pool) -> Found:
    # From what probes and calls have shown already: a check that asks for an answer costs money each time.
    answering = sum(
        provider.health.consecutive_fails == 0 and provider.health.last_check is not None for provider in pool.providers
    )
    words = "" if answering else "no provider answered when it was last asked"
    return Found(answering > 0, words, {"answering": answering})


def _loop(lag: LoopLag) -> Found:
    worst = lag.worst
    return Found(worst <= LATE, f"at worst {worst:.3f} s late within the last minute", {"worst": worst})


def _store(state: Accounting) -> Found:
    reachable = state.watch is None or state.watch.reachable
    writable = state.ledger is None or state.ledger.available
    words = "" if reachable and writable else "it cannot be read" if not reachable else "it takes no rows"
    return Found(reachable and writable, words)


def _shared(state: Accounting) -> Found:
    available = state.limits.available
    return Found(available, "" if available else "Redis does not answer: limits are kept by this process alone")


def _folders(settings: Settings) -> list[str]:
    """Where something is written."""
    folders = {"."}
    url = settings.store.url.get_secret_value()
    if url.startswith("sqlite:///"):
        folders.add(os.path.dirname(url.removeprefix("sqlite:///")) or ".")
    if settings.logging.dir:
        folders.add(settings.logging.dir)
    return sorted(folders)
