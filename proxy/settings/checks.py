"""
Rules that span sections or look at the machine: references that must lead somewhere, keys that must exist, files that
must be readable.

Each rule is a function from settings to problems or warnings; load.py runs them all and reports together.
"""

import ipaddress
import os
import ssl
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from proxy.settings import addresses, collectors, extras, paths, served
from proxy.settings.placeholders import owner, placeholder
from proxy.settings.problems import Problem
from proxy.settings.providers import PRESETS, Provider, key_variable
from proxy.settings.secrets import weakness
from proxy.settings.shape import Place
from proxy.settings.whole import Settings

H3_UNI_STREAMS = 3
"""Unidirectional streams without which no HTTP/3 client gets far (RFC 9114 section 6.2)."""

MAKE_A_KEY = "python -c \"import secrets; print('hpx_' + secrets.token_urlsafe(32))\""

OPENED = frozenset(
    ("/health", "/v1/health", "/health/live", "/health/ready", "/live", "/ready", "/metrics", "/metrics/json")
)
"""Paths of the gateway's own that may be served to clients without a key."""

RESERVED_NAMES = frozenset(("admin", "anonymous"))
"""Principals that hold no client key; the calls of a key of that name would be counted as theirs."""

Empty = Mapping[Place, tuple[str, ...]]
"""Where a ${VAR} came out empty, and the variables that were."""


def problems(settings: Settings, empty: Empty, providers: Collection[str]) -> Iterator[Problem]:
    """`providers` are the names as written, of which a broken one may be missing from the settings."""
    yield from _provider_accounts(settings, empty)
    yield from _base_urls(settings)
    yield from served.problems(settings, providers)
    yield from _client_keys(settings)
    yield from _open_door(settings)
    yield from _routes(settings)
    yield from _unshared_limits(settings)
    yield from _unshared_queue(settings)
    if settings.metrics.port and settings.metrics.port == settings.server.port:
        yield Problem("metrics.port", "is also server.port; give it another, or 0 to serve /metrics there alone")
    yield from _certificates(settings)
    yield from _http3(settings)
    yield from _spool(settings)
    yield from extras.problems(settings)
    yield from collectors.problems(settings)


def warnings(settings: Settings, empty: Empty, providers: Collection[str]) -> Iterator[str]:
    if settings.provider_preference != Settings.model_fields["provider_preference"].default:
        for name in settings.provider_preference:
            if name not in providers:
                yield f"provider_preference: there is no provider `{name}`; it is skipped"
    for name, provider in settings.providers.items():
        yield from _provider_keys(name, provider)
        if provider.base_url != PRESETS[provider.type].base_url and not any(
            addresses.certain(provider.type, provider.base_url)
        ):
            for words in addresses.doubtful(provider.type, provider.base_url, bool(provider.keys)):
                yield f"providers.{name}.base_url: {words}"
            address = urlsplit(provider.base_url)
            if settings.server.port and address.port == settings.server.port and loopback(address.hostname or ""):
                yield f"providers.{name}.base_url: is the gateway's own address, so calls would go in a circle"
        if not provider.keys and not PRESETS[provider.type].needs_key:
            for variable in empty.get(("providers", name, "api_key"), ()):
                yield f"providers.{name}.api_key: {variable} is empty, so calls are sent without a key"
    yield from served.warnings(settings, providers)
    yield from paths.warnings(settings)
    if settings.cache.enabled and _apart(settings):
        yield (
            "cache.enabled: each worker keeps answers of its own, and is asked for each once; they share them with "
            '`state: {url: "redis://127.0.0.1:6379/0"}`'
        )
    if _door_of_the_store(settings):
        yield (
            f"auth.keys: is empty while server.host ({settings.server.host}) is reachable from other machines, so the "
            "gateway starts only if the store holds a key; make one with `hapax keys create NAME`"
        )
    for variable in empty.get(("auth", "admin_key"), ()) if settings.auth.admin_key is None else ():
        yield f"auth.admin_key: {variable} is empty, so there is no admin key"
    for name, template in settings.processing.request_templates:
        if "{{" not in template:
            yield f"processing.request_templates.{name}: holds no {{{{...}}}}, so every prompt would be the same"


def loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _provider_accounts(settings: Settings, empty: Empty) -> Iterator[Problem]:
    for name, provider in settings.providers.items():
        path, preset = f"providers.{name}", PRESETS[provider.type]
        if provider.api_key is not None and provider.api_keys:
            yield Problem(path, "has both api_key and api_keys; keep one")
        if preset.needs_base_url and not provider.base_url:
            variables = empty.get(("providers", name, "base_url"), ())
            yield Problem(f"{path}.base_url", _is_empty(variables) or f"is required for type {provider.type}")
        if preset.needs_key and not provider.keys:
            variables = empty.get(("providers", name, "api_key"), ())
            suggestion = key_variable(provider.type)
            yield Problem(
                f"{path}.api_key",
                _is_empty(variables) or f"is required: write `api_key: ${{{suggestion}}}` and set {suggestion}",
            )


def _base_urls(settings: Settings) -> Iterator[Problem]:
    for name, provider in settings.providers.items():
        if provider.base_url:
            for words in addresses.certain(provider.type, provider.base_url):
                yield Problem(f"providers.{name}.base_url", words)


def _provider_keys(name: str, provider: Provider) -> Iterator[str]:
    """Keys that are none, or another vendor's."""
    preset = PRESETS[provider.type]
    host = urlsplit(provider.base_url).hostname or ""
    for i, secret in enumerate(provider.keys):
        path = f"providers.{name}.api_keys[{i}]" if provider.api_keys else f"providers.{name}.api_key"
        key = secret.get_secret_value()
        # A server of one's own often wants some word and looks at none.
        reason = placeholder(key) if preset.needs_key or addresses.public(host) else None
        whose = owner(key)
        if reason is not None:
            variable = key_variable(provider.type)
            yield (
                f"{path}: looks like a placeholder ({reason}); the provider will refuse it: put its key in its place, "
                f"best as ${{{variable}}}, with {variable} set in the environment"
            )
        elif whose is not None and whose != provider.type and preset.base_url and provider.base_url == preset.base_url:
            yield f"{path}: begins like a key of {whose}, and this provider is of type {provider.type}; exchange it"


def _is_empty(variables: tuple[str, ...]) -> str:
    """What to do about a value that vanished with its variables, or nothing."""
    if not variables:
        return ""
    return f"is empty because {' and '.join(variables)} is not set; set it in the environment"


def _client_keys(settings: Settings) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for i, key in enumerate(settings.auth.keys):
        if key.name in names:
            yield Problem(f"auth.keys[{i}].name", f"is also the name of auth.keys[{names[key.name]}]; give it another")
        names.setdefault(key.name, i)
        if key.name.lower() in RESERVED_NAMES:
            yield Problem(
                f"auth.keys[{i}].name", "is what the gateway calls those without a client key; choose another"
            )
    holders: dict[str, str] = {}
    for path, secret in _client_secrets(settings):
        value = secret.get_secret_value()
        if value in holders:
            yield Problem(path, f"is the same secret as {holders[value]}; every key must be its own")
        holders.setdefault(value, path)
        weak = weakness(value)
        if weak is not None:
            yield Problem(path, f"{weak}; make a real key with {MAKE_A_KEY}")


def _client_secrets(settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    for i, key in enumerate(settings.auth.keys):
        yield f"auth.keys[{i}].key", key.key
    if settings.auth.admin_key is not None:
        yield "auth.admin_key", settings.auth.admin_key


def _open_door(settings: Settings) -> Iterator[Problem]:
    if not settings.auth.keys and not loopback(settings.server.host) and not settings.store.url.get_secret_value():
        yield Problem(
            "auth.keys",
            f"is empty while server.host ({settings.server.host}) is reachable from other machines; make a key with "
            f"{MAKE_A_KEY} and write it as `- {{name: me, key: ...}}`, or listen on 127.0.0.1",
        )


def _door_of_the_store(settings: Settings) -> bool:
    """Whether only the keys in the store, which have not been read yet, can keep strangers out."""
    return not settings.auth.keys and not loopback(settings.server.host) and bool(settings.store.url.get_secret_value())


def _routes(settings: Settings) -> Iterator[Problem]:
    """Paths that are described twice, or that no provider could be asked for."""
    described: dict[str, int] = {}
    for i, route in enumerate(settings.routes):
        path = route.full_path
        if path in described:
            yield Problem(f"routes[{i}].path", f"is also the path of routes[{described[path]}]; keep one")
        described.setdefault(path, i)
        if route.handler == "relay" and not path.startswith("/v1/"):
            yield Problem(f"routes[{i}].handler", "relay answers below /v1/ only, where providers are asked")
        if (
            "auth" not in route.middleware
            and path not in OPENED
            and (
                route.handler not in ("health", "metrics")
                or path.startswith(("/admin/", "/debug", "/v1/", "/api/", "/ui"))
            )
        ):
            yield Problem(
                f"routes[{i}].middleware", "leaves out auth; only pages of health and metrics may be open to all"
            )
        if route.limits is not None and path in settings.limits.routes:
            yield Problem(f"routes[{i}].limits", f"is also given as limits.routes.{path}; keep one")


def _apart(settings: Settings) -> bool:
    """There are several processes, and nothing that they share."""
    return settings.server.workers > 1 and settings.state.url.get_secret_value().startswith("memory:")


def _unshared_limits(settings: Settings) -> Iterator[Problem]:
    """Limits that several processes cannot keep without a place they share."""
    if not _apart(settings):
        return
    limited = [f"limits.routes.{path}" for path, rates in settings.route_limits.items() if rates.any]
    limited += [f"limits.models.{name}" for name, rates in settings.limits.models.items() if rates.any]
    limited += [f"auth.keys[{i}]" for i, key in enumerate(settings.auth.keys) if key.limits.any or key.budget]
    if settings.limits.default.any:
        limited.insert(0, "limits.default")
    if limited:
        yield Problem(
            "state.url",
            f"is memory:// while server.workers is {settings.server.workers}, and {limited[0]} cannot be kept by each "
            'worker alone; write `state: {url: "redis://127.0.0.1:6379/0"}`, or `workers: 1`',
        )


def _unshared_queue(settings: Settings) -> Iterator[Problem]:
    """A file that several queues would write over each other."""
    if settings.server.workers > 1 and settings.queue.enabled and settings.queue.state_path:
        yield Problem(
            "queue.state_path",
            f"remembers the queue of one process, and server.workers is {settings.server.workers}; leave it out",
        )


def _certificates(settings: Settings) -> Iterator[Problem]:
    server = settings.server
    if server.tls is not None:
        yield from _pair("server.tls", server.tls.cert_file, server.tls.key_file, "")
    if server.http3.enabled:
        yield from _pair("server.http3", server.http3.tls_cert_file, server.http3.tls_key_file, "tls_")


def _http3(settings: Settings) -> Iterator[Problem]:
    """What HTTP/3 cannot do."""
    http3 = settings.server.http3
    if http3.enabled and 0 < http3.max_uni_streams_concurrent < H3_UNI_STREAMS:
        yield Problem(
            "server.http3.max_uni_streams_concurrent",
            f"is {http3.max_uni_streams_concurrent}; HTTP/3 itself takes {H3_UNI_STREAMS} of them",
        )


def _spool(settings: Settings) -> Iterator[Problem]:
    folder = settings.server.spool_dir
    if folder and not (Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        yield Problem("server.spool_dir", "is no folder that can be written to; make it, or leave it empty")


def _pair(path: str, certificate: str, key: str, prefix: str) -> Iterator[Problem]:
    missing = []
    for setting, file in ((f"{prefix}cert_file", certificate), (f"{prefix}key_file", key)):
        if not file:
            missing.append(Problem(f"{path}.{setting}", "is required"))
            continue
        try:
            with Path(file).open("rb"):
                pass
        except OSError as error:
            missing.append(Problem(f"{path}.{setting}", f"cannot be read: {error.strerror or 'unusable path'}"))
    yield from missing
    if missing:
        return
    try:
        # An empty password, since otherwise OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=str)
    except (ssl.SSLError, OSError, ValueError):
        yield Problem(
            f"{path}.{prefix}cert_file",
            "is not a PEM certificate that belongs to the key; the key must be PEM without a passphrase",
        )
