"""
hapax: a gateway between OpenAI clients and the providers they call.

A call enters at the top and flows down; its finished record flows back out to the observers:

    process    app, server, cli          wires the rooms together
    front      web, observe              what a client sees; what an operator sees
    core       relay                     one exchange: plan, attempts, commit, copy, end
    machines   providers, upstream, accounts    one mechanism each, unaware of each other
    facts      settings, errors, exchange, headers, peek, sse, clock

A room imports only from the floors below it. The simulator stands beside the house and imports facts alone.
"""

__version__ = "0.1.0"
