"""
What OpenTelemetry calls the resource: which program, and which process of it, spans and metrics come from.

Attributes only; they are put into messages by those who send.
"""

from collections.abc import Mapping

from proxy import __version__
from proxy.core.headers import PSEUDONYM
from proxy.settings.exporting import RESOURCE, pairs


def resource(instance: str, environ: Mapping[str, str]) -> dict[str, str]:
    """
    The attributes of the process that is called *instance*, with those of `OTEL_RESOURCE_ATTRIBUTES` and the name in
    `OTEL_SERVICE_NAME`. The instance is always ours: what several workers count must stay apart. `ValueError`, naming
    the variable, for attributes that are none.
    """
    attributes = {"service.name": PSEUDONYM, "service.version": __version__}
    attributes |= pairs(environ.get(RESOURCE, ""), RESOURCE)
    if name := environ.get("OTEL_SERVICE_NAME", "").strip():
        attributes["service.name"] = name
    return {**attributes, "service.instance.id": instance}
