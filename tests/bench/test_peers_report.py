"""What the benchmark says of a run beside other gateways, from made-up figures: ratios, verdicts, and the document."""

import pytest

from bench import document, report
from bench.curves import Curve
from bench.grid import Grid
from bench.measures import Figures, HalfLoad, Plan, Run, Usage
from bench.targets import TARGETS

DONE_BY = {
    "gateway": Figures(80.0, 12_000.0, 0.3, 0.36, 20.0, 30.0, 85.0),
    "control": Figures(160.0, 6_000.0, 0.3, 0.6, 30.0, 30.0, 40.0),
    "interpreted": Figures(120.0, 8_000.0, 0.4, 0.5, 24.0, 31.0, 80.0),
    "plain": Figures(70.0, 13_000.0, 0.3, 0.36, 20.0, 30.0, 80.0),
    "shared": Figures(90.0, 11_000.0, 0.3, 0.36, 20.0, 30.0, 90.0),
    "dark": Figures(65.0, 14_000.0, 0.3, 0.36, 20.0, 30.0, 75.0),
    "envoy": Figures(50.0, 16_000.0, 0.2, 0.3, 20.0, 60.0, 70.0),
    "litellm": Figures(10_000.0, 100.0, 9.0, 12.0, 700.0, 1000.0, 400.0),
    "portkey": Figures(2_000.0, 500.0, 1.5, 40.0, 300.0, 400.0, 110.0),
}
AT_HALF_LOAD = {
    "direct": HalfLoad(0.1, 0.2, 0.1, 0.3, 1.0),
    "gateway": HalfLoad(0.2, 0.5, 0.25, 1.2, 1.1),
    "control": HalfLoad(0.3, 0.7, 0.35, 1.5, 1.2),
    "envoy": HalfLoad(0.15, 0.3, 0.15, 0.5, 1.05),
}


def a_run(*peers: str) -> Run:
    """Two rounds alike, with these peers."""
    run = Run(Plan(rounds=2), versions=dict.fromkeys(peers, "1.2.3"))
    for number in (1, 2):
        found = {name: figures for name, figures in DONE_BY.items() if name in run.names}
        run.rounds.append(found)
        run.direct_p50_ms.append(0.016)
        run.direct_p99_ms.append(0.04)
        if peers:
            run.half.append({name: half for name, half in AT_HALF_LOAD.items() if name in (*run.names, "direct")})
            run.half_rates.append(6_000.0)
        for name in found:
            run.usage.append(Usage(number, "requests", name, 0.99, 0.15, 0.1))
            run.usage.append(Usage(number, "streams", name, 0.3, 0.2, 0.1))
    return run


def changed(run: Run, name: str, figure: str, *values: float) -> Run:
    """The same run with other values of one figure, one for each round."""
    for by_name, value in zip(run.rounds, values, strict=True):
        figures = {each: getattr(by_name[name], each) for each in run.figures()}
        by_name[name] = Figures(**{**figures, figure: value})
    return run


def test_ratios_are_of_the_same_round_and_above_one_where_it_costs_more() -> None:
    run = changed(a_run("envoy"), "envoy", "cpu_per_request_us", 40.0, 100.0)
    assert run.ratios("cpu_per_request_us", "gateway", "envoy") == [2.0, 0.8]
    assert run.ratios("requests_per_second", "gateway", "envoy") == [16 / 12, 16 / 12]
    assert run.added("gateway", "ttft_p99_ms") == pytest.approx([0.9, 0.9])


def verdicts(run: Run) -> dict[str, str]:
    return {target.title: target.verdict(run) for target in TARGETS}


def test_every_target_has_its_verdict() -> None:
    assert verdicts(a_run("envoy", "litellm", "portkey")) == {
        "CPU per request / Envoy": "kept",
        "CPU per request / control": "kept",
        "p99 at one connection / Envoy": "kept",
        "CPU per SSE event / Envoy": "kept",
        "memory per open stream / Envoy": "kept",
        "requests per second / LiteLLM": "kept",
        "requests per second / Portkey": "kept",
        "TTFT p99 added at half load": "kept",
        "idle memory": "kept",
    }


@pytest.mark.parametrize(
    ("name", "figure", "value", "title", "sentence"),
    [
        ("gateway", "cpu_per_request_us", 81.0, "CPU per request / Envoy", "1.62, the target is <= 1.60"),
        ("control", "cpu_per_request_us", 120.0, "CPU per request / control", "0.67, the target is <= 0.65"),
        ("gateway", "latency_p99_ms", 0.39, "p99 at one connection / Envoy", "1.30, the target is <= 1.20"),
        ("envoy", "cpu_per_event_us", 19.0, "CPU per SSE event / Envoy", "1.05, the target is <= 1.00"),
        ("gateway", "memory_per_stream_kb", 39.0, "memory per open stream / Envoy", "0.65, the target is <= 0.60"),
        ("litellm", "requests_per_second", 125.0, "requests per second / LiteLLM", "96, the target is >= 100"),
        ("portkey", "requests_per_second", 1500.0, "requests per second / Portkey", "8.0, the target is >= 10.0"),
        ("gateway", "idle_memory_mb", 92.0, "idle memory", "92 MB, the target is <= 90 MB"),
    ],
)
def test_a_target_that_is_not_kept_is_told(name: str, figure: str, value: float, title: str, sentence: str) -> None:
    run = changed(a_run("envoy", "litellm", "portkey"), name, figure, value, value)
    assert verdicts(run)[title] == "not kept"
    assert f"{title}: {sentence}" in report.exceeded(run)


def test_a_slow_first_token_at_half_load_is_told() -> None:
    run = a_run("envoy")
    for by_name in run.half:
        by_name["gateway"] = HalfLoad(0.2, 0.5, 0.25, 1.5, 1.1)
    assert verdicts(run)["TTFT p99 added at half load"] == "not kept"
    assert "TTFT p99 added at half load: 1.20 ms, the target is <= 1.00 ms" in report.exceeded(run)


def test_what_was_not_measured_has_no_verdict_and_exceeds_nothing() -> None:
    run = a_run("envoy")
    assert verdicts(run)["requests per second / LiteLLM"] == "not measured"
    assert report.exceeded(run) == []


def test_without_peers_there_are_no_targets() -> None:
    run = changed(a_run(), "gateway", "idle_memory_mb", 100.0, 100.0)
    assert report.exceeded(run) == []
    assert "targets" not in report.markdown(run)


def test_a_peer_that_outruns_the_load_is_told_once_and_disturbs_nothing() -> None:
    run = a_run("envoy")
    run.usage = [each for each in run.usage if (each.subject_name, each.measure) != ("envoy", "requests")]
    run.usage += [Usage(number, "requests", "envoy", 0.6, 0.5, 0.48) for number in (1, 2)]
    assert report.notes(run) == ["requests per second of envoy: provider and load were the limit, it could be more"]
    assert report.warnings(run) == []


def test_a_host_that_is_shared_is_told() -> None:
    run = a_run()
    run.stolen = 0.044
    assert report.warnings(run) == ["the host of this machine gave 4% of its time to others: every p99 has that in it"]


def test_only_its_own_subjects_say_whether_the_machine_was_quiet() -> None:
    run = a_run("envoy", "litellm", "portkey")
    for each in run.usage:
        if each.measure == "requests" and each.subject_name in ("gateway", "plain", "shared", "dark"):
            each.subject = 0.75
    assert report.disturbed(run) == 0.25


def test_on_a_disturbed_machine_a_target_by_the_clock_is_told_and_fails_nothing() -> None:
    run = changed(a_run("envoy", "portkey"), "portkey", "requests_per_second", 6000.0, 6000.0)
    for each in run.usage:
        if each.measure == "requests":
            each.subject = 0.8
    for by_name in run.half:
        by_name["gateway"] = HalfLoad(0.2, 0.5, 0.25, 9.0, 1.1)
    changed(run, "gateway", "idle_memory_mb", 99.0, 99.0)
    assert [title for title, verdict in verdicts(run).items() if verdict == "not kept"] == [
        "requests per second / Portkey",
        "TTFT p99 added at half load",
        "idle memory",
    ]
    assert report.exceeded(run) == ["idle memory: 99 MB, the target is <= 90 MB"]


DOCUMENT = """\
2 rounds, medians:

| | gateway | control | ratio | of rounds | limit |
|---|--:|--:|--:|--:|--:|
| CPU per request | 80 us | 160 us | 0.50 | 0.50 - 0.50 | 0.65 |
| requests per second | 12,000 | 6,000 | 0.50 | 0.50 - 0.50 | 1.5 |
| p50 at one connection | 0.300 ms | 0.300 ms | 1.00 | 1.00 - 1.00 | 1.5 |
| p99 at one connection | 0.360 ms | 0.600 ms | 0.60 | 0.60 - 0.60 | 1.5 |
| CPU per SSE event | 20.0 us | 30.0 us | 0.67 | 0.67 - 0.67 | 1.5 |
| memory per open stream | 30.0 kB | 30.0 kB | 1.00 | 1.00 - 1.00 | 1.5 |
| memory when idle | 92 MB | 40 MB | 2.30 | 2.30 - 2.30 | 100 MB |

What the parts add:

| | without | with | ratio | of rounds | limit |
|---|--:|--:|--:|--:|--:|
| not being compiled, CPU per request | 80.0 us | 120.0 us | 1.50 | 1.50 - 1.50 | 2.5 |
| keys, limits and ledger in memory, CPU per request | 70.0 us | 80.0 us | 1.14 | 1.14 - 1.14 | 1.15 or 15 us |
| keys, limits and ledger in Redis, CPU per request | 70.0 us | 90.0 us | 1.29 | 1.29 - 1.29 | 1.35 or 20 us |
| metrics, access log and trace headers, CPU per request | 65.0 us | 70.0 us | 1.08 | 1.08 - 1.08 | 1.15 or 12 us |
| metrics, access log and trace headers, CPU per SSE event | 20.0 us | 20.0 us | 1.00 | 1.00 - 1.00 | 1.05 or 1 us |

Beside others, 2 rounds, medians:

| | CPU/request us | requests/s | p50 ms | p99 ms | CPU/event us | memory/stream kB | idle MB |
|---|--:|--:|--:|--:|--:|--:|--:|
| gateway | 80 | 12,000 | 0.300 | 0.360 | 20.0 | 30.0 | 92 |
| control | 160 | 6,000 | 0.300 | 0.600 | 30.0 | 30.0 | 40 |
| envoy | 50 | 16,000 | 0.200 | 0.300 | 20.0 | 60.0 | 70 |
| portkey | 2000 | 500 | 1.500 | 40.000 | 300.0 | 400.0 | 110 |

In terms of envoy, medians of the rounds; above 1 costs more:

| | CPU/request | requests/s | p50 | p99 | CPU/event | memory/stream | idle |
|---|--:|--:|--:|--:|--:|--:|--:|
| gateway | 1.60 | 1.33 | 1.50 | 1.20 | 1.00 | 0.50 | 1.31 |
| control | 3.20 | 2.67 | 1.50 | 2.00 | 1.50 | 0.50 | 0.57 |
| portkey | 40 | 32 | 7.50 | 133 | 15 | 6.67 | 1.57 |

Added at half load, 6,000 requests per second:

| | gateway | control | envoy | provider alone |
|---|--:|--:|--:|--:|
| TTFT p50 | 0.150 ms | 0.250 ms | 0.050 ms | 0.100 ms |
| TTFT p99 | 0.900 ms | 1.200 ms | 0.200 ms | 0.300 ms |
| event behind its pace, p99 | 0.100 ms | 0.200 ms | 0.050 ms | 1.000 ms |
| whole answer p50 | 0.100 ms | 0.200 ms | 0.050 ms | 0.100 ms |
| whole answer p99 | 0.300 ms | 0.500 ms | 0.100 ms | 0.200 ms |

Targets:

| | measured | of rounds | target | verdict |
|---|--:|--:|--:|--:|
| CPU per request / Envoy | 1.60 | 1.60 - 1.60 | <= 1.60 | kept |
| CPU per request / control | 0.50 | 0.50 - 0.50 | <= 0.65 | kept |
| p99 at one connection / Envoy | 1.20 | 1.20 - 1.20 | <= 1.20 | kept |
| CPU per SSE event / Envoy | 1.00 | 1.00 - 1.00 | <= 1.00 | kept |
| memory per open stream / Envoy | 0.50 | 0.50 - 0.50 | <= 0.60 | kept |
| requests per second / LiteLLM | | | >= 100 | not measured |
| requests per second / Portkey | 24.0 | 24.0 - 24.0 | >= 10.0 | kept |
| TTFT p99 added at half load | 0.90 ms | 0.90 ms - 0.90 ms | <= 1.00 ms | kept |
| **idle memory** | 92 MB | 92 MB - 92 MB | <= 90 MB | not kept |

- the provider itself at one connection: p50 0.016 ms, p99 0.040 ms
- busy during requests: gateway 99%, control 99%, interpreted 99%, plain 99%, shared 99%, dark 99%, envoy 99%, \
portkey 99%, provider 15%, load 10% of a core
- busy during streams: gateway 30%, control 30%, interpreted 30%, plain 30%, shared 30%, dark 30%, envoy 30%, \
portkey 30%, provider 20%, load 10% of a core
- versions: python 3.12.13, envoy 1.2.3, portkey 1.2.3
- 50 streams instead of 500, alone at the end of each round: portkey
"""


def test_the_document_says_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.12.13")
    run = changed(a_run("envoy", "portkey"), "gateway", "idle_memory_mb", 92.0, 92.0)
    assert report.markdown(run) == DOCUMENT


def test_a_bad_row_is_bold_and_an_empty_cell_stays_empty() -> None:
    grid = Grid("a title", ("", "one", "two"))
    grid.add("good", "1", "")
    grid.add("bad", "3", "4", bad=True)
    assert grid.markdown() == "A title:\n\n| | one | two |\n|---|--:|--:|\n| good | 1 | |\n| **bad** | 3 | 4 |\n"


def test_a_curve_is_a_table_with_a_row_for_each_value_of_what_was_varied() -> None:
    curve = Curve("open-streams", "open streams")
    curve.add("memory per stream, kB", "gateway", 10, 25.0)
    curve.add("memory per stream, kB", "gateway", 4000, 30.86)
    curve.add("longest stall, ms", "provider alone", 4000, 1234.4)
    assert curve.grid().markdown() == (
        "Open streams:\n\n"
        "| open streams | gateway: memory per stream, kB | provider alone: longest stall, ms |\n"
        "|---|--:|--:|\n"
        "| 10 | 25 | |\n"
        "| 4,000 | 30.86 | 1,234 |\n"
    )


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = "before\n<!-- figures -->\nold\n<!-- end of figures -->\n<!-- curves --><!-- end of curves -->\nafter\n"
    assert document.replaced(text, "figures", "new\n") == (
        "before\n<!-- figures -->\n\nnew\n\n<!-- end of figures -->\n<!-- curves --><!-- end of curves -->\nafter\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        "<!-- figures -->",
        "<!-- end of figures -->",
        "<!-- end of figures --><!-- figures -->",
        "<!-- figures --><!-- end of figures --><!-- figures --><!-- end of figures -->",
        "<!-- figures --><!-- figures --><!-- end of figures -->",
        "<!-- end of figures --><!-- figures --><!-- end of figures -->",
        "<!-- figures --><!-- end of figures --><!-- end of figures -->",
    ],
)
def test_a_document_without_its_marks_is_refused(text: str) -> None:
    with pytest.raises(document.NoMarksError, match="once each"):
        document.replaced(text, "figures", "new")
