"""What each of several workers gets of the places meant for all of them."""

from proxy.settings import Settings
from proxy.settings.share import share

WHOLE = Settings.model_validate(
    {
        "server": {"max_requests": 7},
        "queue": {"enabled": True, "max_running": 2, "initial_size": 10},
        "providers": {"few": {"type": "simulator", "max_concurrency": 4}, "any": {"type": "simulator"}},
    }
)


def parts(workers: int) -> list[tuple[int, int, int, int, int]]:
    each = [share(WHOLE, slot, workers) for slot in range(workers)]
    return [
        (
            part.server.max_requests,
            part.queue.max_running,
            part.queue.initial_size,
            part.providers["few"].max_concurrency,
            part.providers["any"].max_concurrency,
        )
        for part in each
    ]


def test_one_worker_has_all_of_it() -> None:
    assert share(WHOLE, 0, 1) is WHOLE


def test_the_parts_add_up_the_first_ones_have_what_is_left_over_and_no_limit_stays_none() -> None:
    assert parts(2) == [(4, 1, 5, 2, 0), (3, 1, 5, 2, 0)]


def test_no_worker_is_left_without_a_place() -> None:
    assert parts(3) == [(3, 1, 4, 2, 0), (2, 1, 3, 1, 0), (2, 1, 3, 1, 0)]


def test_nothing_else_changes() -> None:
    assert share(WHOLE, 0, 2).model_dump(exclude={"server", "queue", "providers"}) == WHOLE.model_dump(
        exclude={"server", "queue", "providers"}
    )
