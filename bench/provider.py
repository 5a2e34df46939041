"""
The provider behind every subject: the simulator, keeping no ledger.

Not `hapax simulate`, which remembers requests for its `/_simulator` pages.
"""

import asyncio

import uvloop

from proxy.simulator import Simulator


async def _serve() -> None:
    async with Simulator(ledger=False) as simulator:
        print(f"listens on {simulator.base_url.removesuffix('/v1')}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
