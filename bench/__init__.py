"""
What the gateway costs, beside the plainest forwarder that aiohttp can make, and with `--peers` beside other people's
gateways: `python -m bench`, `make bench`, `make peers`.

    measures    the rounds: which subject does what, when
    load        the clients: keep-alive connections and open streams, as raw bytes
    subjects    the processes measured and the provider behind them; what the kernel says they used
    alarm       moments finer than the event loop's
    control     the forwarder the gateway is compared with
    peers       other people's gateways, and how they are set up
    provider    the simulator, as a process of its own
    report      figures, limits, the tables
    targets     what the gateway wants to be beside others
    grid        a table on a terminal and in a document
    document    figures between marks in a document
    curves      what a cost depends on, point by point: `python -m bench --curves`
    plots       curves as pictures

Linux only: it pins processes to cores and reads /proc. It is no part of the package and touches nothing but loopback.
"""
