"""
Where metrics and spans go by variables that other programs share: those of the OpenTelemetry SDKs, and
`PROVIDERS_METRICS_EXPORT`.

They fill in what no layer has said: an address that the file or a HAPAX_ variable names is used with what stands beside
it there, so that a token for one collector is never sent to another. It makes values for `load` to lay in.
Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ and
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from proxy.settings.problems import Problem, SettingsError
from proxy.settings.shape import Place

SWITCH = "PROVIDERS_METRICS_EXPORT"
"""1: metrics are sent, to the usual address of StatsD where none is named. 0: none are sent. Not set: addresses say."""
STATSD_ADDRESS = "127.0.0.1:8125"
"""Where StatsD listens by default."""
_ON, _OFF = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off"))

RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
"""What spans and metrics are said to come from, see `observe.resource`."""
_OTLP = "OTEL_EXPORTER_OTLP_"


class _Signal(NamedTuple):
    """The settings of one thing that is sent by OTLP."""

    name: str
    """As variables have it."""
    section: Place
    prefix: str
    """Of its settings but the headers."""


_SIGNALS = (_Signal("TRACES", ("tracing",), "otlp_"), _Signal("METRICS", ("metrics", "otlp"), ""))


class Found(NamedTuple):
    """A value that a variable speaks for."""

    place: Place
    value: Any
    variable: str


def found(environ: Mapping[str, str], written: Mapping[str, Any]) -> list[Found]:
    """What these variables say beyond the settings *written* in other layers; `SettingsError` for nonsense."""
    try:
        values = list(_of_opentelemetry(environ, written))
        if values or any(_said(written, (*each.section, f"{each.prefix}endpoint")) for each in _SIGNALS):
            pairs(environ.get(RESOURCE, ""), RESOURCE)
    except ValueError as error:
        variable, _, words = str(error).partition(": ")
        raise SettingsError([Problem(variable, words)]) from None
    switch = environ.get(SWITCH, "").strip().lower()
    if switch and switch not in _ON | _OFF:
        raise SettingsError([Problem(SWITCH, "must be 1 or 0")])
    addresses = ("metrics", "statsd", "address"), ("metrics", "otlp", "endpoint")
    if switch in _OFF:
        values = [each for each in values if each.place[0] != "metrics"]
        return values + [Found(place, "", SWITCH) for place in addresses if _fits(written, place)]
    named = any(_said(written, place) for place in addresses) or any(each.place == addresses[1] for each in values)
    if switch in _ON and not named and _fits(written, addresses[0]):
        values.append(Found(addresses[0], STATSD_ADDRESS, SWITCH))
    return values


def _of_opentelemetry(environ: Mapping[str, str], written: Mapping[str, Any]) -> Iterator[Found]:
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    for signal in _SIGNALS:
        exporters = environ.get(f"OTEL_{signal.name}_EXPORTER", "") or "otlp"
        endpoint = (*signal.section, f"{signal.prefix}endpoint")
        address = _either(environ, signal, "ENDPOINT")
        if address is None or "otlp" not in exporters.split(",") or not _fits(written, endpoint):
            continue
        if endpoint[-1] in _above(written, endpoint):
            # Also where it is empty there: that is how it is turned off.
            continue
        variable, value = address
        yield Found(endpoint, value, variable)
        if variable != f"{_OTLP}ENDPOINT":
            # The address of one signal is used as it is.
            yield Found((*signal.section, f"{signal.prefix}path"), "", variable)
        protocol, told = (*signal.section, f"{signal.prefix}protocol"), _either(environ, signal, "PROTOCOL")
        if told is not None and not _said(written, protocol):
            yield Found(protocol, told[1], told[0])
        headers, told = (*signal.section, "headers"), _either(environ, signal, "HEADERS")
        if told is not None and not _said(written, headers):
            for name, value in pairs(told[1], told[0]).items():
                yield Found((*headers, name), value, told[0])


def pairs(text: str, variable: str) -> dict[str, str]:
    """`name=value,name=value`, with values in percent-encoding; `ValueError`, naming *variable*, for anything else."""
    told: dict[str, str] = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = each.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{variable}: must be name=value, with commas between several")
        told[unquote(name.strip())] = unquote(value.strip())
    return told


def _either(environ: Mapping[str, str], signal: _Signal, name: str) -> tuple[str, str] | None:
    """Variable and value for this signal, else for all of them; None where neither is set."""
    variables = (f"{_OTLP}{signal.name}_{name}", f"{_OTLP}{name}")
    return next(((each, value) for each in variables if (value := environ.get(each, "").strip())), None)


def _said(written: Any, place: Place) -> bool:
    """Whether a value stands at *place* that is not empty."""
    above = _above(written, place)
    return isinstance(above, Mapping) and bool(above.get(place[-1]))


def _fits(written: Any, place: Place) -> bool:
    """Whether what stands above *place* can hold it; what cannot is a mistake that is told elsewhere."""
    return isinstance(_above(written, place), Mapping)


def _above(written: Any, place: Place) -> Any:
    """What stands above *place*; an empty mapping where nothing does."""
    for step in place[:-1]:
        if not isinstance(written, Mapping):
            return None
        written = written.get(step, {})
    return written
