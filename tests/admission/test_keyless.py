"""What an address may do without a key."""

import json
import random
import resource
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from proxy.admission.keyless import Keyless, network_of
from proxy.core import clock
from proxy.core.errors import ProxyError
from proxy.limits.memory import MemoryLimits
from proxy.settings.access import RateLimits
from tests.conftest import GatewayFactory
from tests.spec.wire import ask, get


async def not_asked(holder: str, unit: str, since: datetime) -> int | None:
    raise AssertionError("addresses have no budgets")


def keyless(requests_per_minute: int = 0, concurrent: int = 0) -> Keyless:
    return Keyless(
        RateLimits(requests_per_minute=requests_per_minute, concurrent=concurrent),
        MemoryLimits(not_asked, wall=clock.wall),
    )


def admitted(keyless: Keyless, address: str, calls: int) -> int:
    """How many of so many calls, one after another, get in."""
    number = 0
    for _ in range(calls):
        try:
            keyless.leave(keyless.enter(address))
        except ProxyError:
            continue
        number += 1
    return number


def test_an_address_may_ask_as_often_as_the_limit_says() -> None:
    # One returns in 12 seconds, which this test does not take.
    limited = keyless(requests_per_minute=5)
    assert admitted(limited, "198.51.100.1", 20) == 5
    assert admitted(limited, "198.51.100.2", 20) == 5


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("/run/hapax.sock", "/run/hapax.sock"),
    ],
)
def test_an_ipv6_address_stands_for_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_the_addresses_of_one_network_are_counted_together() -> None:
    limited = keyless(requests_per_minute=5)
    assert sum(admitted(limited, f"2001:db8:1:2::{number}", 1) for number in range(1, 20)) == 5
    assert admitted(limited, "2001:db8:1:3::1", 1) == 1


def test_an_address_in_ipv6_clothes_is_counted_with_the_same_in_plain() -> None:
    limited = keyless(requests_per_minute=5)
    assert admitted(limited, "198.51.100.1", 3) + admitted(limited, "::ffff:198.51.100.1", 20) == 5


def test_one_call_too_many_is_told_so_without_the_address() -> None:
    limited = keyless(requests_per_minute=1)
    limited.leave(limited.enter("198.51.100.1"))
    with pytest.raises(ProxyError) as caught:
        limited.enter("198.51.100.1")
    assert caught.value.status == 429
    assert dict(caught.value.headers)["Retry-After"] == "60"
    assert json.loads(caught.value.body("req-1")) == {
        "error": {
            "message": "This address's limit of 1 request per minute is reached.",
            "type": "rate_limit_error",
            "param": None,
            "code": "rate_limit_exceeded",
            "request_id": "req-1",
            "details": {"hapax_type": "RateLimitError", "limit": "requests"},
        }
    }


def test_a_place_is_free_again_when_the_request_is_over() -> None:
    limited = keyless(concurrent=2)
    first, _ = limited.enter("198.51.100.1"), limited.enter("198.51.100.1")
    with pytest.raises(ProxyError, match="rate_limit_exceeded"):
        limited.enter("198.51.100.1")
    limited.leave(first)
    limited.leave(first)
    limited.enter("198.51.100.1")
    with pytest.raises(ProxyError, match="rate_limit_exceeded"):
        limited.enter("198.51.100.1")


def test_a_request_refused_takes_no_place() -> None:
    limited = keyless(requests_per_minute=1, concurrent=1)
    limited.leave(limited.enter("198.51.100.1"))
    assert admitted(limited, "198.51.100.1", 5) == 0
    limited.replace(RateLimits(concurrent=1))
    assert admitted(limited, "198.51.100.1", 5) == 5


def test_without_limits_nothing_is_counted_and_nothing_is_owed() -> None:
    free = keyless()
    assert free.enter("198.51.100.1") is None
    free.leave(None)
    assert admitted(free, "198.51.100.1", 1000) == 1000


def test_other_limits_hold_from_the_next_request_on() -> None:
    limited = keyless(requests_per_minute=100)
    assert admitted(limited, "198.51.100.1", 50) == 50
    limited.replace(RateLimits(requests_per_minute=20))
    assert admitted(limited, "198.51.100.1", 50) == 20
    limited.replace(RateLimits())
    assert admitted(limited, "198.51.100.1", 50) == 50


def test_a_request_that_began_under_other_limits_leaves_as_it_came() -> None:
    limited = keyless(concurrent=1)
    first = limited.enter("198.51.100.1")
    limited.replace(RateLimits(concurrent=2))
    second = limited.enter("198.51.100.1")
    limited.leave(first)
    limited.leave(second)
    limited.replace(RateLimits(concurrent=1))
    assert admitted(limited, "198.51.100.1", 3) == 3


def flood() -> int:
    """Bytes that a flood of strangers, each from a network of its own, adds to this process."""
    limited = Keyless(RateLimits(requests_per_minute=600, concurrent=5), MemoryLimits(not_asked, most_buckets=20_000))
    rng = random.Random(6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(50_000):
        limited.leave(limited.enter(socket.inet_ntop(socket.AF_INET6, rng.randbytes(16))))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_strangers_from_random_networks_cost_less_than_20_megabytes() -> None:
    program = "from tests.admission.test_keyless import flood; print(flood())"
    root = Path(__file__).parents[2]
    grown = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 20_000_000


async def test_wrong_keys_do_not_keep_an_address_from_its_health_checks(gateway: GatewayFactory) -> None:
    keys = [{"name": "web", "key": "hpx_web_0123456789abcdef"}]
    running = await gateway({"auth": {"keys": keys}, "limits": {"keyless": {"requests_per_minute": 2}}})
    wrong = get("/v1/models", head="X-API-Key: wrong\r\n")
    assert [(await ask(running.port, wrong)).status for _ in range(3)] == [401, 401, 429]
    assert [(await ask(running.port, get("/health"))).status for _ in range(3)] == [200, 200, 429]
