"""
The `auth` and `limits` sections: who may call, and how much.

Keys are held as given; hashing and comparing them belongs to the accounts. Numbers of 0 mean no limit.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from proxy.settings.values import Credential, Section, Text, section


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError("must be a path that begins with /")
    return path


Path = Annotated[str, AfterValidator(_path)]


MOST = 10**15
"""A limit above this is a slip, and beyond what a database's integers and a double are good for."""
_OMITTED = "Omitted: what limits.default says; 0: no limit."


class RateLimits(Section):
    """How much may be asked; 0: no limit."""

    requests_per_minute: int = Field(0, ge=0, le=MOST, description="Requests per minute; 0: no limit.")
    tokens_per_minute: int = Field(0, ge=0, le=MOST, description="Tokens per minute, prompt and answer; 0: no limit.")
    concurrent: int = Field(0, ge=0, le=MOST, description="Requests at once; 0: no limit.")

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.concurrent)


class KeyLimits(Section):
    """One key's own limits."""

    requests_per_minute: int | None = Field(None, ge=0, le=MOST, description=_OMITTED)
    tokens_per_minute: int | None = Field(None, ge=0, le=MOST, description=_OMITTED)
    concurrent: int | None = Field(None, ge=0, le=MOST, description=_OMITTED)

    @property
    def any(self) -> bool:
        """Whether anything is limited by the key itself."""
        return bool(self.requests_per_minute or self.tokens_per_minute or self.concurrent)


class Budget(Section):
    """What a key may spend."""

    usd: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False, description="US dollars per period.")
    tokens: int | None = Field(None, gt=0, description="Tokens per period, instead of dollars.")
    per: Literal["hour", "day", "week", "month"] = Field("day", description="The period, in UTC; weeks from Monday.")

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.usd is None) == (self.tokens is None):
            raise ValueError("needs either usd or tokens")
        return self

    @property
    def unit(self) -> str:
        """`usd` or `tokens`."""
        return "tokens" if self.usd is None else "usd"

    @property
    def amount(self) -> int:
        """Micro-USD or tokens."""
        return round(self.usd * 1_000_000) if self.usd is not None else self.tokens or 0


class ClientKey(Section):
    """A key a client presents, and what it opens."""

    name: Text = Field(description="Who holds the key; appears in logs and metrics.")
    key: Credential = Field(description="The secret itself, best written as ${VARIABLE}.")
    team: str = Field("", description="Whom its usage is counted under besides its name.")
    models: tuple[Text, ...] = Field(("*",), description="Names or globs of the models it may use.")
    routes: tuple[Text, ...] = Field(("*",), description="Paths or globs it may call, such as /v1/embeddings.")
    limits: KeyLimits = section(KeyLimits, "Limits of this key.")
    budget: Budget | None = Field(None, description="Spending limit of this key; omitted: none.")
    cache: bool = Field(True, description="Keep answers to its calls, where `cache.enabled` has answers kept.")


class Auth(Section):
    """Who may call."""

    keys: tuple[ClientKey, ...] = Field((), description="Client keys; none: anyone who reaches the loopback address.")
    admin_key: Credential | None = Field(None, description="The operator's key; opens /metrics.")


class LimitSettings(Section):
    """How much everyone may ask."""

    default: RateLimits = section(RateLimits, "For every key without limits of its own.")
    routes: dict[Path, RateLimits] = Field(default_factory=dict, description="Further limits of every key, by path.")
    models: dict[Text, RateLimits] = Field(
        default_factory=dict, description="Further limits of every key, by the model asked for; names or globs."
    )
    keyless: RateLimits = Field(
        default_factory=lambda: RateLimits(requests_per_minute=600, tokens_per_minute=0, concurrent=0),
        description="Of each client address, for paths that need no key and for wrong keys; probes are exempt.",
    )
