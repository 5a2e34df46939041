"""A request must not come to cost more calls unnoticed; what it costs of the processor is measured by the bench."""

import pstats
from pathlib import Path

from bench import guard, profile


def test_a_loss_of_15_percent_is_noticed_and_one_of_10_is_noise() -> None:
    assert guard.exceeds(guard.EXPECTED * 1.15)
    assert not guard.exceeds(guard.EXPECTED * 1.10)


async def test_a_request_takes_no_more_calls_than_it_did(tmp_path: Path) -> None:
    found = await profile.profile(tmp_path, seconds=0.5)
    print(f"\n{found.calls:.0f} calls a request")
    assert found.requests >= profile.LEAST
    assert 100 < found.calls < profile.MOST_CALLS
    assert dict(found.rooms).keys() > {"proxy/http", "proxy/relay", "proxy/upstream"}


def test_a_profile_is_told_by_room_and_function() -> None:
    stats = pstats.Stats()
    stats.stats = {  # type: ignore[attr-defined]
        ("/somewhere/proxy/middleware/front.py", 10, "handle"): (8, 8, 3.0, 9.0, {}),
        ("/somewhere/proxy/core/headers.py", 20, "value_of"): (4, 4, 1.0, 1.0, {}),
        ("/lib/site-packages/aiohttp/web.py", 30, "start"): (4, 4, 2.0, 5.0, {}),
        ("~", 0, "<built-in method builtins.len>"): (40, 40, 1.5, 1.5, {}),
        ("/lib/python3.11/asyncio/tasks.py", 5, "wait"): (4, 4, 0.5, 0.5, {}),
    }
    found = profile.read(stats, requests=4, cpu_us=200.0)
    assert (found.calls, found.cpu_us) == (15.0, 200.0)
    assert found.rooms == [
        ("proxy/middleware", 0.375),
        ("aiohttp", 0.25),
        ("built into Python", 0.1875),
        ("proxy/core", 0.125),
        ("the standard library", 0.0625),
    ]
    assert found.functions[:2] == [
        ("proxy/middleware/front.py:10 handle", 0.375, 2.0),
        ("aiohttp/web.py:30 start", 0.25, 1.0),
    ]
