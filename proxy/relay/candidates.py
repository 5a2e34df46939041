"""
The accounts that a call may be put to which names something an account keeps: the one that holds it, or all that may.

An account is a provider's key. They are only named here; `kept` asks them.
"""

from collections.abc import Iterator

from proxy.core.errors import ProxyError
from proxy.providers.pool import Pool
from proxy.providers.target import Target
from proxy.relay.absence import LONGEST_WAIT, lives_at, unavailable
from proxy.relay.owners import Pin
from proxy.relay.question import Question


class Account:
    """A key of a provider, and what to ask with it."""

    def __init__(self, target: Target, key: int, model: str | None) -> None:
        """*model*: the public name that *target* answers for."""
        self.target = target
        self.key = key
        self.model = model


def accounts_for(pool: Pool, question: Question, pin: Pin) -> list[Account]:
    """
    The accounts that a call with this pin may be put to, in the order to ask them; more than one only where it is not
    known which holds the object. `ProxyError` when the one that does is not to be had.
    """
    targets = _targets(pool, question)
    if not pin.provider:
        return [account for target, model in targets.values() for account in _keys_of(target, model)]
    try:
        provider = pool.provider(pin.provider)
    except KeyError:
        raise unavailable(lives_at(pin.provider, "is no longer configured"), LONGEST_WAIT) from None
    found = targets.get(pin.provider)
    if found is None:
        raise ProxyError("model_not_found", "The provider that holds this object does not serve the model.")
    accounts = list(_keys_of(*found))
    same = [account for account in accounts if provider.accounts[account.key] == pin.account]
    # A key that took another's place may well open the same account.
    return same[:1] or accounts


def _targets(pool: Pool, question: Question) -> dict[str, tuple[Target, str | None]]:
    """By provider, in order of preference: the target that would answer there, and for which public model."""
    entry = pool.entry(question.model)
    models: list[str | None] = [question.model]
    models += [name for name in (*entry.fallbacks, *entry.context_fallbacks) if question.may_use(name)]
    if not question.operation.generates:
        # It names a model, if at all, as a property of what it makes or changes.
        models.append(None)
    found: dict[str, tuple[Target, str | None]] = {}
    for model in models:
        for target in pool.targets(model):
            found.setdefault(target.provider.name, (target, model))
    return found


def _keys_of(target: Target, model: str | None) -> Iterator[Account]:
    for key in range(target.provider.key_count):
        yield Account(target, key, model)
