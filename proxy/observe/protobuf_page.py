"""
The metrics in Prometheus' protobuf format, the only one that Prometheus reads native histograms from.

It writes and negotiates; the numbers are others'. The client library for Python does not write this format. Sources:
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto and
https://protobuf.dev/programming-guides/encoding/
"""

import struct
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample

from proxy.observe.native import SCHEMA, ZERO, Native, Pairs, native_of
from proxy.observe.units import Families

_MEDIA_TYPE, _MESSAGE, _ENCODING = "application/vnd.google.protobuf", "io.prometheus.client.MetricFamily", "delimited"
CONTENT_TYPE = f"{_MEDIA_TYPE}; proto={_MESSAGE}; encoding={_ENCODING}"

_ZERO_THRESHOLD = 2.0**-128
"""What is no larger counts as 0, as in Prometheus' own libraries."""
# The values of MetricType, and the fields of Metric that hold each kind's number.
_COUNTER, _GAUGE, _UNTYPED, _HISTOGRAM = 0, 1, 3, 4
_TYPES = {"counter": _COUNTER, "gauge": _GAUGE}
_FIELDS = {_COUNTER: 3, _GAUGE: 2, _UNTYPED: 5}


def is_preferred(accept: str) -> bool:
    """Whether a client with this Accept header would rather have this format than any other (RFC 9110, 12.5.1)."""
    ours = others = 0.0
    for each in accept.lower().split(","):
        media_type, *rest = (part.strip() for part in each.split(";"))
        told = dict(part.split("=", 1) for part in rest if "=" in part)
        try:
            weight = float(told.get("q", "1"))
        except ValueError:
            weight = 0.0
        if (media_type, told.get("proto"), told.get("encoding")) == (_MEDIA_TYPE, _MESSAGE.lower(), _ENCODING):
            ours = max(ours, weight)
        else:
            others = max(others, weight)
    return ours > 0 and ours >= others


def written(families: Families) -> bytes:
    """Every family as a message with its length before it."""
    return b"".join(_varint(len(message)) + message for family in families.collect() for message in _messages(family))


def _messages(family: Metric) -> Iterator[bytes]:
    """One, or one for each name its samples have: here a family is named as its series are."""
    if family.type == "histogram":
        yield _family(family, family.name, _HISTOGRAM, _histograms(family))
        return
    kind = _TYPES.get(family.type, _UNTYPED)
    by_name: dict[str, list[bytes]] = {}
    for sample in family.samples:
        metric = _labels(sample.labels.items()) + _bytes(_FIELDS[kind], _double(1, sample.value))
        by_name.setdefault(sample.name, []).append(metric)
    for name, metrics in by_name.items():
        yield _family(family, name, kind, metrics)


def _family(family: Metric, name: str, kind: int, metrics: Iterable[bytes]) -> bytes:
    head = _text(1, name) + _text(2, family.documentation) + _integer(3, kind)
    return head + b"".join(_bytes(4, metric) for metric in metrics) + _text(5, family.unit)


def _histograms(family: Metric) -> Iterator[bytes]:
    found: dict[Pairs, list[Sample]] = {}
    for sample in family.samples:
        labels = tuple(label for label in sample.labels.items() if label[0] != "le")
        found.setdefault(labels, []).append(sample)
    native = native_of(family)
    for labels, samples in found.items():
        yield _labels(labels) + _bytes(7, _histogram(family.name, samples, native.get(labels)))


def _histogram(name: str, samples: Sequence[Sample], native: Native | None) -> bytes:
    message = b""
    for sample in samples:
        if sample.name == f"{name}_count":
            message += _integer(1, int(sample.value))
        elif sample.name == f"{name}_sum":
            message += _double(2, sample.value)
        else:
            bucket = _integer(1, int(sample.value)) + _double(2, float(sample.labels["le"]))
            if sample.exemplar is not None:
                bucket += _bytes(3, _exemplar(sample.exemplar))
            message += _bytes(3, bucket)
    return message if native is None else message + _native(native)


def _native(native: Native) -> bytes:
    """Runs of buckets one beside the other, each by its distance from the one before; counts by their difference."""
    message = _integer(5, _zigzag(SCHEMA)) + _double(6, _ZERO_THRESHOLD) + _integer(7, native.get(ZERO, 0))
    runs: list[list[int]] = []
    end = count = 0
    counts = b""
    for number in sorted(native.keys() - {ZERO}):
        if runs and number == end:
            runs[-1][1] += 1
        else:
            runs.append([number - end, 1])
        end = number + 1
        counts += _integer(13, _zigzag(native[number] - count))
        count = native[number]
    spans = (_bytes(12, _integer(1, _zigzag(distance)) + _integer(2, length)) for distance, length in runs)
    return message + b"".join(spans) + counts


def _exemplar(exemplar: Exemplar) -> bytes:
    message = _labels(exemplar.labels.items()) + _double(2, exemplar.value)
    if exemplar.timestamp is None:
        return message
    seconds, part = divmod(float(exemplar.timestamp), 1)
    return message + _bytes(3, _integer(1, int(seconds)) + _integer(2, int(part * 1e9)))


def _labels(labels: Iterable[tuple[str, str]]) -> bytes:
    return b"".join(_bytes(1, _text(1, name) + _text(2, value)) for name, value in labels)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _double(field: int, number: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", number)


def _integer(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
