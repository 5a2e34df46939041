"""Real clients against the gateway: what people point at it, unmodified, over real sockets."""
