"""
An OpenAI-compatible upstream with faults on demand: the demo's provider, the tests' oracle, the benchmark's load.

A request goes down this list and its answer comes back up as bytes:

    simulator    the server: models, the ledger
    wire         HTTP/1.1 connections; plays steps to the socket
    service      one request -> the endpoint that answers it -> a program of steps
    faults       a good answer + directives -> steps (events, head: what it is made of)
    answers      good answers (streams, dialects, completion, files)
    directives   the words a model name or the x-simulator header may carry; docs/simulator.md lists them

It stands beside the house: it imports none of the gateway, and the gateway's rooms do not import it.
"""

from proxy.simulator.simulator import Simulator, run

__all__ = ["Simulator", "run"]
