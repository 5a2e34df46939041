"""
How long something took the last time: what `prometheus_async.aio.time` observes where no histogram is wanted.
"""


class Took:
    """The last time's seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def observe(self, value: float) -> None:
        """It took *value* seconds this time."""
        self.seconds = value
