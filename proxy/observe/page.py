"""
The metrics of the whole gateway as they go out: Prometheus's text, OpenMetrics or protobuf by negotiation, JSON, and a
summary.

It brings the readers of exchanges up to date, puts the workers' numbers together and formats them; who may read them is
decided elsewhere.
"""

from collections.abc import Callable
from typing import cast

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from proxy.core.peers import METRICS, NoPeers, Peers
from proxy.observe import protobuf_page
from proxy.observe.merged import Merged, Snapshot, snapshot
from proxy.observe.summary import summary
from proxy.observe.units import Families, WithUnits


class Pages:
    """All forms."""

    def __init__(
        self, registry: CollectorRegistry, catch_up: Callable[[], None], peers: Peers, native: Callable[[], bool]
    ) -> None:
        """
        *registry*: of this process. *catch_up* has every exchange counted that has ended. *native*: whether protobuf,
        and with it native histograms, is written where it is asked for.
        """
        self._registry = registry
        self._native = native
        self._catch_up = catch_up
        self._peers = peers

    def snapshot(self) -> Snapshot:
        """The families of this process, for another that puts them together."""
        self._catch_up()
        return snapshot(self._registry)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The page, and its content type, in the format *accept* asks for."""
        whole = WithUnits(await self._whole())
        if self._native() and protobuf_page.is_preferred(accept):
            return protobuf_page.written(whole), protobuf_page.CONTENT_TYPE
        encoder, content_type = choose_encoder(accept)
        # The encoders want no more of a registry than its families.
        return encoder(cast(CollectorRegistry, whole)), content_type

    async def json(self) -> tuple[bytes, str]:
        """Every family as `{name, help, type, values: [{name, labels, value}]}`, in a list; and the content type."""
        whole = await self._whole()
        families = [
            {
                "name": family.name,
                "help": family.documentation,
                "type": family.type,
                "values": [{"name": each.name, "labels": each.labels, "value": each.value} for each in family.samples],
            }
            for family in whole.collect()
        ]
        # A histogram's last bucket is infinite, which JSON cannot say: its bound is a label and its count is not.
        return orjson.dumps(families), "application/json"

    async def summary(self) -> tuple[bytes, str]:
        """`{ok, summary}` with what calls amount to, see `observe.summary`; and the content type."""
        whole = await self._whole()
        return orjson.dumps({"ok": True, "summary": summary(whole.collect())}), "application/json"

    async def _whole(self) -> Families:
        """Of all workers."""
        self._catch_up()
        if isinstance(self._peers, NoPeers):
            return self._registry
        mine = snapshot(self._registry)
        return Merged([mine, *await self._peers.ask(METRICS, mine)])
