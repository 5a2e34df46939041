"""What is drawn, as text: on screens of several sizes, and of hostile names."""

import io
import time
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console, Group

from proxy.cli.top.frame import Screen, frame, once
from proxy.cli.top.model import Hour, Picture
from proxy.cli.top.standing import Use
from proxy.cli.top.view import View
from tests.cli.top.told import NOON, failed, model, picture, provider, refused, target, told

SIZES = [(80, 24), (200, 60), (40, 10), (20, 4), (300, 100)]
BUSY = picture(
    *(told(NOON - number / 10, request_id=f"req-{number}", latency_ms=100.0 + number) for number in range(300)),
    *(failed(NOON - number, request_id=f"bad-{number}") for number in range(20)),
    *(refused(NOON - number, request_id=f"no-{number}") for number in range(3)),
    providers={
        "openai": provider(in_flight=4, targets={"openai/gpt-4o": target(breaker="open", blocked_by="breaker open")}),
        "azure": provider(healthy=False, parked_keys=[2], targets={"azure/x": target(blocked_by="resting")}),
        **{f"p{number}": provider() for number in range(20)},
    },
)


def screen(width: int = 80, height: int = 24, state: str = "live") -> Screen:
    return Screen(width, height, "http://127.0.0.1:8080", state)


def drawn(shown: Picture = BUSY, view: View | None = None, width: int = 80, height: int = 24, **more: Any) -> list[str]:
    return [line.plain for line in frame(shown, view or View(), screen(width, height, **more))]


def pressed(*keys: str, shown: Picture = BUSY) -> View:
    view = View()
    for key in keys:
        view.press(key, shown)
    return view


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "keys", [(), ("tab",), ("tab", "tab"), ("tab", "tab", "tab"), ("end",), ("/", "x"), ("down", "enter")]
)
def test_a_frame_has_exactly_the_lines_of_the_screen_and_none_is_too_long(
    width: int, height: int, keys: tuple[str, ...]
) -> None:
    lines = drawn(view=pressed(*keys), width=width, height=height)
    assert len(lines) == height
    assert max(cell_len(line) for line in lines) <= width


def test_a_screen_of_80_by_24_shows_everything_that_matters() -> None:
    uses = (Use("web", "calls/min", 90, 100, 3), Use("cron", "usd/day", 0.5, 2.0, 0))
    hour = Hour((5,) * 60, (0,) * 60)
    lines = drawn(replace(BUSY, uses=uses, hour=hour))
    whole = "\n".join(lines)
    assert lines[0].startswith(" hapax top  http://127.0.0.1:8080")
    assert lines[0].rstrip().endswith(f"live  {time.strftime('%H:%M:%S', time.localtime(NOON))}")
    assert "323/min" in lines[1]
    assert "5.4/s" in lines[1]
    assert "20 failed (6.2%)" in lines[1]
    assert "3 refused" in lines[1]
    assert "50/s in  100/s out  $0.4500/min" in lines[2]
    assert "▁" in lines[2] or "█" in lines[2]
    assert "p50 120ms  p95 120ms  p99 120ms  took  p50 250ms  p95 380ms" in lines[3]
    assert "openai" in whole
    assert "1 open" in whole
    assert "unhealthy" in whole
    assert "... 19 more: Tab" in whole
    assert "calls/min" in whole
    assert "90%" in whole
    # Far from its limit, and of no interest now.
    assert "cron" not in whole
    assert whole.count("gpt-4o") >= 5
    assert lines[-1].rstrip() == " s sort  / filter  f failing  p pause  ↑↓ choose  Enter trail  Tab more  q quit"


def test_a_wide_screen_shows_more_of_each_call() -> None:
    narrow, wide = ("\n".join(drawn(width=width, height=60)) for width in (80, 200))
    assert "request id" not in narrow
    assert "req-0" not in narrow
    assert "request id" in wide
    assert "req-0" in wide
    assert "key 2 parked, 1 resting" in wide


def test_nothing_yet_is_said_with_what_to_do() -> None:
    assert any("No call has ended yet" in line for line in drawn(picture()))


def test_a_filter_that_nothing_fits_is_said() -> None:
    lines = drawn(view=pressed("/", *"nothing like it", "enter"))
    assert any("No call fits; Esc shows all of them again." in line for line in lines)
    assert any("0 of 323 kept" in line for line in lines)


def test_what_is_filtered_and_sorted_is_said() -> None:
    view = pressed("s", "f", "/", *"azure", "enter")
    [title] = [line for line in drawn(view=view) if "Calls, slowest first" in line]
    assert "failing only  with azure" in title
    assert title.rstrip().endswith("20 of 323 kept")


def test_a_pause_is_said_and_shows_what_was_there() -> None:
    view = pressed("p")
    lines = drawn(picture(told(request_id="later")), view)
    assert "paused" in lines[0]
    assert "323/min" in lines[1]
    assert "p go on" in lines[-1]
    assert "paused (reconnecting)" in drawn(view=view, state="reconnecting")[0]


def test_a_gateway_that_is_away_is_said() -> None:
    assert "reconnecting" in drawn(state="reconnecting")[0]


def test_missed_events_are_said() -> None:
    made = model()
    made.happened("missed", {"events": 12}, NOON)
    assert "12 events missed" in drawn(made.picture(NOON))[0]


def test_a_chosen_call_is_in_sight_wherever_it_is() -> None:
    for keys in (("down",), ("end",), ("page down",) * 7):
        view = pressed(*keys)
        rows = frame(BUSY, view, screen(200, 24))
        assert view.chosen is not None
        [row] = [line for line in rows if line.style == "reverse"]
        assert f" {view.chosen.id} " in row.plain


def test_a_change_of_a_provider_is_told_for_a_minute() -> None:
    made = model()
    made.happened("breaker", {"name": "openai/gpt-4o", "state": "open", "was": "closed"}, NOON)
    assert any("breaker openai/gpt-4o: open" in line for line in drawn(made.picture(NOON + 59)))
    assert not any("breaker openai/gpt-4o" in line for line in drawn(made.picture(NOON + 61)))


def test_providers_are_shown_with_their_targets_on_a_screen_of_their_own() -> None:
    lines = drawn(view=pressed("tab", "tab"), width=130)
    [gpt] = [line for line in lines if line.startswith("   gpt-4o") and "closed" not in line]
    assert gpt.split() == ["gpt-4o", "open", "0", "breaker", "open"]
    end = drawn(view=pressed("tab", "tab", "end"))
    assert "p19" in "\n".join(end)
    assert "openai" not in "\n".join(end)


def test_all_limits_are_shown_on_a_screen_of_their_own() -> None:
    shown = replace(BUSY, uses=(Use("cron", "usd/day", 0.5, 2.0, 0),))
    lines = drawn(shown, pressed("tab", "tab", "tab"))
    [row] = [line for line in lines if "cron" in line]
    assert row.split()[:5] == ["cron", "usd/day", "$0.5000", "$2.00", "25%"]
    assert any(
        "No key is known to have a limit or a budget." in line for line in drawn(view=pressed("tab", "tab", "tab"))
    )


def test_a_key_is_told_of_when_it_is_near_a_limit_or_was_turned_away() -> None:
    uses = (
        Use("near", "calls/min", 50, 100, 4),
        Use("away", "tokens/min", 40, 100, 1),
        Use("near", "usd/day", 0.3, 1.0, 4),
        Use("away", "calls/min", 10, 100, 1),
        Use("far", "calls/min", 9, 100, 0),
    )
    lines = drawn(replace(picture(), uses=uses))
    names = [" ".join(line.split()[:2]) for line in lines if line.startswith((" near", " away", " far"))]
    assert names == ["near calls/min", "away tokens/min"]


HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]\u202eevil[/red]\r\n\x9b31m"


def test_hostile_names_are_text_on_every_screen() -> None:
    bad = dict.fromkeys(("principal", "model", "provider", "request_id", "error_code", "operation"), HOSTILE)
    shown = picture(
        failed(answered_model=HOSTILE, **bad),
        providers={HOSTILE: provider(targets={f"a/{HOSTILE}": target(blocked_by=HOSTILE)})},
    )
    shown = replace(shown, uses=(Use(HOSTILE, "calls/min", 9, 9, 1),))
    views = [pressed(*keys, shown=shown) for keys in ((), ("tab",), ("tab", "tab"), ("tab", "tab", "tab"))]
    views += [pressed("/", *HOSTILE, shown=shown), pressed("down", "enter", shown=shown)]
    for view in views:
        out = io.StringIO()
        Console(file=out, width=200, height=60).print(Group(*frame(shown, view, screen(200, 60))))
        assert "[red]" in out.getvalue()
        assert all(line.isprintable() for line in out.getvalue().split("\n"))


def test_a_line_that_is_printed_once_stands_in_a_file_without_colours() -> None:
    lines = [line.plain for line in once(BUSY, screen(80, 0, "one look"), rows=5)]
    whole = "\n".join(lines)
    assert "one look" in lines[0]
    # All providers, and so many calls.
    assert whole.count("healthy") == 22
    assert whole.count("/v1/") + whole.count("gpt-4o") == 5
    assert "q quit" not in whole


def test_a_console_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system="standard")
    console.print(Group(*frame(BUSY, pressed("down"), screen())))
    assert "\x1b[7m" in out.getvalue()
    assert "\x1b[3" not in out.getvalue().replace("\x1b[3m", "")
