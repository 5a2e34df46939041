"""
`hapax doctor --online`: one cheap question to each provider with each of its keys, and what the answers mean.

It lists models, which costs nothing; where there is no list, one token of a model that the settings name. Keys are told
apart by their number alone, and a provider's words are shown only where they hold nothing of a key.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.cli.checklist import Item, Mark
from proxy.core.lenient import value_in
from proxy.settings import Settings, split_target
from proxy.settings.models import is_glob

if TYPE_CHECKING:
    from proxy.upstream.control_plane import ControlPlane
    from proxy.upstream.endpoint import Endpoint

PATIENCE = 10.0
"""Seconds each question gets at least: a cold model thinks before its one token."""
LONGEST_WORDS = 160
"""Letters of a provider's own words that are shown."""

_NEW_KEY = "make a new key at the provider, or correct the setting"
STATUSES: dict[int, tuple[Mark, str, str]] = {
    # (status of an answer: what it says of the key, what is wrong, what to do); RFC 9110 section 15, RFC 6585, and
    # https://platform.openai.com/docs/guides/error-codes, https://docs.anthropic.com/en/api/errors,
    # https://openrouter.ai/docs/api-reference/errors
    401: ("missing", "the key is not accepted", _NEW_KEY),
    402: ("missing", "the account has no money left", "pay at the provider"),
    403: ("missing", "the key may not do this", "give it the right, or see whether its project or address is allowed"),
    404: ("warn", "there is nothing at this address", "see that base_url is right, and name its models"),
    405: ("warn", "there is no list of models", "name its models under providers.<name>.models"),
    408: ("missing", "the provider gave up", "ask again; if it stays so, see the provider's status page"),
    429: ("warn", "too many calls, or the quota is used up", "wait and ask again, or raise the account's limit"),
    529: ("warn", "the provider is overloaded", "ask again later"),
}
_REDIRECT: tuple[Mark, str, str] = (
    "missing",
    "the answer leads elsewhere",
    "write the address it leads to as base_url",
)
_BROKEN: tuple[Mark, str, str] = ("missing", "the provider has a fault", "ask again; see the provider's status page")
_REFUSED: tuple[Mark, str, str] = ("warn", "the question is refused, and not for its key", "see the provider's words")
_NO_LIST: tuple[Mark, str, str] = (
    "warn",
    "the answer is no list of models",
    "see that base_url is the API's and no website's, and name its models under providers.<name>.models",
)
_NO_ANSWER: tuple[Mark, str, str] = (
    "missing",
    "the answer is no answer of a model",
    "see that base_url is the API's and no website's",
)
MONEY = re.compile(r"insufficient_quota|insufficient[ _]balance|credit balance|billing|out of credits|payment", re.I)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of one key of one provider."""

    provider: str
    key: int
    """Its number, counted from 1; 0 where there is none."""
    state: Mark
    status: int
    """0: no answer."""
    seconds: float
    models: int | None
    """Entries of its list; None where it has none."""
    wrong: str = ""
    advice: str = ""

    @property
    def item(self) -> Item:
        """As a line of the checklist."""
        listed = "" if self.models is None else f", {self.models} models"
        answer = f"{self.status} in {self.seconds * 1000:.0f} ms{listed}" if self.status else "no answer"
        found = f"{answer}: {self.wrong}" if self.wrong else answer
        return Item(f"{self.provider}, key {self.key or '-'}", self.state, found, self.advice)


def ask(settings: Settings, heard: Callable[[int, int], object]) -> list[Asked]:
    """Every key of every provider; *heard* is told how many of how many have answered."""
    return asyncio.run(_ask(settings, heard))


async def _ask(settings: Settings, heard: Callable[[int, int], object]) -> list[Asked]:
    # Imported here: the rest of the checklist needs no HTTP client.
    from proxy.relay.upstreams import Upstreams
    from proxy.upstream.control_plane import ControlPlane

    control = ControlPlane()
    upstreams = Upstreams(settings, random.Random(), control)
    await upstreams.start()
    try:
        provider_keys = [
            (provider.name, endpoint, key)
            for provider, endpoint in upstreams.endpoints.items()
            for key in range(max(1, provider.key_count))
        ]
        done = 0

        async def one(name: str, endpoint: "Endpoint", key: int) -> Asked:
            nonlocal done
            found = await _one(settings, control, name, endpoint, key)
            done += 1
            heard(done, len(provider_keys))
            return found

        return list(await asyncio.gather(*(one(*each) for each in provider_keys)))
    finally:
        await upstreams.stop()
        await control.stop()


async def _one(settings: Settings, control: "ControlPlane", name: str, endpoint: "Endpoint", key: int) -> Asked:
    from proxy.upstream.control_plane import FetchError
    from proxy.upstream.fetch import fetch

    secrets = [secret.get_secret_value() for secret in settings.providers[name].keys]
    number = key + 1 if secrets else 0
    timeout = max(PATIENCE, settings.health_check.timeout)
    began = time.monotonic()
    try:
        status, body = await fetch(control, endpoint, endpoint.models_path, timeout, key)
        listed = length(body) if status == 200 else None
        model = first_model(settings, name)
        if listed is None and model is not None and (status in (200, 403, 404, 405) or status >= 500):
            # That it is asked for a list is not its job.
            question = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}
            status, body = await fetch(
                control, endpoint, "/chat/completions", timeout, key, json.dumps(question).encode()
            )
            state, wrong, advice = judged(status, body, secrets, question=True)
        else:
            state, wrong, advice = judged(status, body, secrets)
            if status == 200 and listed is None:
                state, wrong, advice = _NO_LIST
    except FetchError as error:
        wrong = f"cannot be reached ({error})"
        return Asked(name, number, "missing", 0, time.monotonic() - began, None, wrong, _reach(str(error)))
    return Asked(name, number, state, status, time.monotonic() - began, listed, wrong, advice)


def judged(status: int, body: bytes, secrets: Sequence[str], question: bool = False) -> tuple[Mark, str, str]:
    """
    What an answer says: state, what is wrong, what to do. *question*: it answers a completion, whose 400 and 404 speak
    of the model.
    """
    if 200 <= status < 300:
        return _NO_ANSWER if question and not _answers(body) else ("ok", "", "")
    if 300 <= status < 400:
        found = _REDIRECT
    elif status == 429 and MONEY.search(body.decode("utf-8", "replace")):
        found = STATUSES[402]
    elif question and status == 404:
        found = ("warn", "the model it was asked for is not there", "correct its name under models")
    elif status in STATUSES:
        found = STATUSES[status]
    else:
        found = _BROKEN if status >= 500 else _REFUSED
    state, wrong, advice = found
    words = own_words(body, secrets)
    return state, f"{wrong}: {words}" if words else wrong, advice


def own_words(body: bytes, secrets: Sequence[str]) -> str:
    """The message of an error object on one line; empty where there is none, or where it may hold a piece of a key."""
    value = value_in(body)
    for step in ("error", "message"):
        if isinstance(value, dict):
            value = value.get(step) or value.get("message") or value.get("detail") or ""
    if not isinstance(value, str):
        return ""
    words = " ".join(value.split())[:LONGEST_WORDS]
    pieces = {secret[i : i + 4] for secret in secrets for i in range(max(1, len(secret) - 3))}
    # Also in its usual masks, such as sk-ab***xyz and sk-...xyz.
    if any(piece in words for piece in pieces) or re.search(r"\*{2,}|\.{3}\w|\bsk-|\u2026\w", words):
        return ""
    return words


def length(body: bytes) -> int | None:
    """Entries of a model list; None for anything else."""
    value = value_in(body)
    entries = value.get("data") if isinstance(value, dict) else None
    return len(entries) if isinstance(entries, list) else None


def _answers(body: bytes) -> bool:
    """Whether *body* is a completion: an object with choices and no error."""
    value = value_in(body)
    return isinstance(value, dict) and isinstance(value.get("choices"), list) and not value.get("error")


def first_model(settings: Settings, provider: str) -> str | None:
    """A model that the settings say this provider has."""
    named = [name for name in settings.providers[provider].models if not is_glob(name)]
    for entry in settings.models.values():
        named += [model for owner, model in map(split_target, entry.targets) if owner == provider]
    return named[0] if named else None


def _reach(reason: str) -> str:
    lowered = reason.lower()
    if "certificate" in lowered or "tls" in lowered or "ssl" in lowered:
        return "see that base_url has the right scheme and host, and that its certificate is trusted here"
    if "timeout" in lowered or "time" in lowered:
        return "see that the network lets it through: a firewall, or providers.<name>.forward_proxy"
    return "see that base_url is right and the server runs"
