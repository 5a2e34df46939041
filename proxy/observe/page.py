"""
The metrics of a registry as they go out: Prometheus's text or OpenMetrics by negotiation, and JSON.

It formats families; who may read them and what they hold is decided elsewhere.
"""

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The page, and its content type, in the format *accept* asks for."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def as_json(registry: CollectorRegistry) -> bytes:
    """Every family as `{name, help, type, values: [{name, labels, value}]}`, in a list."""
    families = [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "values": [{"name": each.name, "labels": each.labels, "value": each.value} for each in family.samples],
        }
        for family in registry.collect()
    ]
    # A histogram's last bucket is infinite, which JSON cannot say: its bound is a label and its count is not.
    return orjson.dumps(families)
