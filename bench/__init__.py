"""
What the gateway costs, beside the plainest forwarder that aiohttp can make: `python -m bench`, or `make bench`.

    measures    the rounds: which subject does what, when
    load        the clients: keep-alive connections and open streams, as raw bytes
    subjects    the processes measured and the provider behind them; what the kernel says they used
    control     the forwarder the gateway is compared with
    provider    the simulator, as a process of its own
    report      figures, limits, the table

Linux only: it pins processes to cores and reads /proc. It is no part of the package and touches nothing but loopback.
"""
