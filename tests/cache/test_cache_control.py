"""What a client's `Cache-Control` asks of stored answers (RFC 9111 section 5.2.1)."""

import math

import pytest

from proxy.cache.cache_control import CacheControl, cache_control


@pytest.mark.parametrize(
    ("values", "no_store", "max_age"),
    [
        ([], False, math.inf),
        (["no-transform, only-if-cached"], False, math.inf),
        (["no-store"], True, math.inf),
        (["No-Cache"], False, 0),
        (["max-age=60"], False, 60),
        (['max-age="60"'], False, 60),
        (["max-age=60, max-age=30"], False, 30),
        (["max-age=60", "no-cache"], False, 0),
        (["max-age=-1"], False, 0),
        (["max-age"], False, 0),
        (["max-age=1e3"], False, 0),
        (["max-age=²"], False, 0),
        (["max-age=" + "9" * 5000], False, 9_999_999_999),
        (["s-maxage=0, x-no-store"], False, math.inf),
        (["no-store, no-cache"], True, 0),
    ],
)
def test_a_rule_is_read_from_all_headers(values: list[str], no_store: bool, max_age: float) -> None:
    assert cache_control(values) == CacheControl(no_store, max_age)
