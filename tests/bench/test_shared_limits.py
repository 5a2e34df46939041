"""The measure of limits shared over Redis measures: what a call costs, and how many are decided together."""

from bench import shared_limits
from tests.rigs.redis import redis_server


async def test_what_a_call_costs_here_and_in_redis_is_measured() -> None:
    with redis_server() as server:
        cost = await shared_limits.measure(server.port, callers=16, seconds=0.2)
    assert cost.here_us > 0
    assert cost.redis_us > 0
    assert 1 < cost.together <= 16
