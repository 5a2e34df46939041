"""When a worker that died is replaced. What becomes of real ones is told in spec/test_workers.py."""

from proxy.supervisor import pause


def test_the_first_death_is_mended_at_once_and_those_after_it_ever_later() -> None:
    assert [pause(deaths) for deaths in range(10)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
