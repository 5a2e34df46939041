"""
The `providers` section: one upstream account each, and the presets that make most of its fields optional.

Presets know addresses and the names of key variables. How a credential is sent belongs to the wire.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from proxy.settings.values import (
    Credential,
    Duration,
    DurationOrZero,
    HeaderName,
    HeaderValue,
    SecretUrl,
    Section,
    Text,
    WrittenUrl,
    duration,
    section,
)

ProviderType = Literal[
    "openai",
    "anthropic",
    "gemini",
    "openrouter",
    "deepseek",
    "xai",
    "ollama",
    "azure",
    "compatible",
    "simulator",
]


@dataclass(frozen=True, slots=True)
class Preset:
    """What a provider type brings along."""

    base_url: str = ""
    """Empty: the simulator has none, azure and compatible must be told theirs."""
    key_variables: tuple[str, ...] = ()
    needs_key: bool = True
    needs_base_url: bool = False


PRESETS: Mapping[str, Preset] = {
    "openai": Preset("https://api.openai.com/v1", ("OPENAI_API_KEY",)),
    "anthropic": Preset("https://api.anthropic.com/v1", ("ANTHROPIC_API_KEY",)),
    "gemini": Preset("https://generativelanguage.googleapis.com/v1beta/openai", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "openrouter": Preset("https://openrouter.ai/api/v1", ("OPENROUTER_API_KEY",)),
    "deepseek": Preset("https://api.deepseek.com/v1", ("DEEPSEEK_API_KEY",)),
    "xai": Preset("https://api.x.ai/v1", ("XAI_API_KEY",)),
    "ollama": Preset("http://127.0.0.1:11434/v1", needs_key=False),
    "azure": Preset(needs_base_url=True),
    "compatible": Preset(needs_key=False, needs_base_url=True),
    "simulator": Preset(needs_key=False),
}


def key_variable(provider_type: ProviderType) -> str:
    """The variable a key of such a provider usually stands in."""
    named = PRESETS[provider_type].key_variables
    return named[0] if named else f"{provider_type.upper()}_API_KEY"


def _base_url(url: str) -> str:
    if not url:
        return url
    words = "must be an http:// or https:// address such as https://api.example.com/v1"
    try:
        parts = urlsplit(url)
        # Reading the port is what makes a bad one fail.
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(words) from None
    if parts.scheme not in ("http", "https") or not whole or not re.fullmatch(r"[!-~]+", url):
        raise ValueError(words)
    if "@" in parts.netloc:
        raise ValueError("must not contain a user or password; use api_key or headers")
    if "?" in url or "#" in url:
        raise ValueError("must not contain a query or a fragment")
    return url.rstrip("/")


def _forward_proxy(url: SecretUrl) -> SecretUrl:
    words = "must be an http:// address such as http://proxy:3128"
    try:
        parts = urlsplit(url.get_secret_value())
        # Reading the port is what makes a bad one fail.
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(words) from None
    if not url.get_secret_value():
        return url
    if parts.scheme != "http" or not whole or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(words)
    return url


def _name(name: str) -> str:
    # A slash would make `provider/model` ambiguous; the rest keeps names usable in metric labels and paths.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ValueError("must be a name of letters, digits, dot, dash and underscore")
    return name


def _written_boolean(value: object) -> object:
    """After ${} expansion even true and false are text."""
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


ProviderName = Annotated[str, AfterValidator(_name)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
AutoOrBoolean = Annotated[Literal["auto", True, False], BeforeValidator(_written_boolean)]


class Timeouts(Section):
    """The clocks of an attempt."""

    connect: Duration = duration("5s", "To connect, TLS included.")
    first_token: Duration = duration(
        "120s", "Silence before the first content of a stream; a comment is a sign of life and begins it anew."
    )
    idle: Duration = duration(
        "120s", "Silence between two pieces of an answer; a comment in a stream is a sign of life too."
    )
    total: Duration = duration("600s", "Over all attempts, to the end of an answer or the first content of a stream.")
    stream: DurationOrZero = duration("0s", "Life of a stream after its first content; 0s: as long as it goes on.")


class Provider(Section):
    """One upstream account."""

    type: ProviderType = Field(description="Preset of address and credentials; omitted: the provider's own name.")
    base_url: BaseUrl = Field(
        "", description="Address up to /v1; omitted: the type's own. Required for azure and compatible."
    )
    api_key: Credential | None = Field(
        None, description="The account's key; omitted: the type's own variable, such as OPENAI_API_KEY."
    )
    api_keys: tuple[Credential, ...] = Field(
        (), description="Several keys instead of one, rotated; one resting does not stop the others."
    )
    models: tuple[Text, ...] = Field(
        (),
        description="Names or globs it serves, and no others; omitted: what it lists and what else it takes.",
    )
    weight: int = Field(1, ge=0, le=1000, description="Share under weighted balancing.")
    max_concurrency: int = Field(0, ge=0, description="Attempts at once; 0: no limit.")
    timeouts: Timeouts = section(Timeouts, "The clocks of an attempt.")
    headers: dict[HeaderName, HeaderValue] = Field(
        default_factory=dict, description="Extra headers to send; their values are kept secret."
    )
    stream_usage: AutoOrBoolean = Field(
        "auto", description="Ask it for the token counts of streams; auto: until it refuses. Clients never see it."
    )
    forward_proxy: Annotated[SecretUrl, AfterValidator(_forward_proxy), WrittenUrl] = Field(
        "",
        validate_default=True,
        description="HTTP proxy that leads to it by CONNECT, such as http://user:password@proxy:3128; empty: none. "
        "Variables such as HTTPS_PROXY are not read.",
    )
    prefill: AutoOrBoolean = Field("auto", description="Whether it can continue a trailing assistant message.")

    @model_validator(mode="before")
    @classmethod
    def _with_preset_address(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("base_url") and isinstance(given.get("type"), str):
            preset = PRESETS.get(given["type"])
            if preset is not None and preset.base_url:
                return {**given, "base_url": preset.base_url}
        return given

    @property
    def keys(self) -> tuple[SecretStr, ...]:
        """Every key of this account, whichever way it was written."""
        return self.api_keys or ((self.api_key,) if self.api_key is not None else ())
