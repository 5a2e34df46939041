"""
`python -m bench`: run, show, and with `--check` say whether the limits are kept.

Exit codes: 0 done, 1 a limit is exceeded (with `--check`), 2 it could not be measured, 130 stopped.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench import document, report
from bench.curves import CURVES, FULL_SIZES, TINY_SIZES, Curves
from bench.curves import as_json as curves_as_json
from bench.load import LoadError
from bench.measures import FULL, QUICK, TINY, Bench, Plan, Run
from bench.peers import PEERS, Peer, installed
from bench.subjects import ROOT, StartError

MAX_ROUNDS = 50
WIDTH = 110


def main() -> int:
    """The command."""
    options = _options()
    plan = QUICK if options.quick else TINY if options.tiny else FULL
    if options.rounds is not None:
        plan = replace(plan, rounds=options.rounds)
    err = Console(stderr=True)
    if not sys.platform.startswith("linux"):
        err.print("bench: needs Linux: it pins processes to cores and reads /proc.")
        return 2
    try:
        if options.write is not None:
            # Not after half an hour of measuring.
            document.check(options.write, document.CURVES if options.curves else document.FIGURES)
        if options.curves:
            return _curves(options, err)
        run = _measure(plan, options.peers, err)
    except document.NoMarksError as error:
        err.print(f"bench: {options.write} {error}", markup=False, highlight=False)
        return 2
    except (StartError, LoadError, OSError, subprocess.CalledProcessError) as error:
        err.print(f"bench: {error}", markup=False, highlight=False)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    report.show(run, _console())
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(run), indent=2) + "\n")
    if options.write is not None:
        document.write(options.write, document.FIGURES, report.markdown(run))
    if not options.check:
        return 0
    broken = report.exceeded(run)
    for sentence in broken:
        err.print(f"bench: {sentence}", style="red", highlight=False)
    return 1 if broken else 0


def _measure(plan: Plan, peers: Sequence[Peer], err: Console) -> Run:
    """Run *plan* and show how far it is. The display moves between measures only: drawing would cost the load CPU."""
    columns = (
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn(f"of about {plan.seconds(peers):.0f} s, {{task.description}}"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="hapax-bench-") as scratch,
        Progress(*columns, console=err, auto_refresh=False, transient=True, disable=not err.is_terminal) as progress,
    ):

        def tell(what: str) -> None:
            if err.is_terminal:
                progress.update(task, advance=1, description=what, refresh=True)
            else:
                err.print(what, highlight=False)

        bench = Bench(plan, Path(scratch), tell, peers)
        task = progress.add_task("", total=bench.steps)
        return uvloop.run(bench.run())


def _curves(options: argparse.Namespace, err: Console) -> int:
    """Measure curves, show them, and draw them."""
    python = installed("plots/bin/python")
    beside = [peer for peer in PEERS if peer.name == "envoy"]
    for peer in beside:
        peer.version()
    sizes = TINY_SIZES if options.tiny else FULL_SIZES
    with tempfile.TemporaryDirectory(prefix="hapax-bench-") as scratch:
        curves = Curves(sizes, Path(scratch), lambda what: err.print(what, highlight=False), beside)
        found = uvloop.run(curves.run(options.curves))
        points = options.json or Path(scratch) / "curves.json"
        points.write_text(curves_as_json(found))
        options.plots.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-m", "bench.plots", points.resolve(), options.plots.resolve()], cwd=ROOT, check=True)
    console = _console()
    for curve in found:
        console.print(curve.grid().table())
    if options.write is not None:
        pictures = Path(os.path.relpath(options.plots, options.write.parent))
        document.write(options.write, document.CURVES, "\n".join(curve.markdown(pictures) for curve in found))
    return 0


def _console() -> Console:
    # What is no terminal is a file: wide enough for the widest table.
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What the gateway costs beside a plain aiohttp forwarder on the same machine. Example: "
        "python -m bench --quick --check",
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help=f"rounds to measure, {FULL.rounds} unless given")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, under a minute")
    parser.add_argument("--tiny", action="store_true", help="seconds: shows that it works, its figures say nothing")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a limit is exceeded")
    parser.add_argument(
        "--peers",
        nargs="?",
        type=_peers,
        default=(),
        const=PEERS,
        metavar="NAME,..",
        help=f"compare with other gateways too, all of them unless some are named: {', '.join(_BY_NAME)}",
    )
    parser.add_argument(
        "--curves",
        nargs="?",
        type=_curve_names,
        default=(),
        const=tuple(CURVES),
        metavar="NAME,..",
        help=f"instead, measure and draw what a cost depends on, all of it unless some is named: {', '.join(CURVES)}",
    )
    parser.add_argument(
        "--plots", type=Path, default=ROOT / "docs" / "plots", metavar="FOLDER", help="for the curves; docs/plots"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to FILE")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the tables between the marks in a Markdown FILE, as in docs/"
    )
    return parser.parse_args()


def _curve_names(text: str) -> Sequence[str]:
    names = text.split(",")
    for name in names:
        if name not in CURVES:
            raise argparse.ArgumentTypeError(f"no curve is called {name!r}; there are {', '.join(CURVES)}")
    return names


_BY_NAME = {peer.name: peer for peer in PEERS}


def _peers(text: str) -> Sequence[Peer]:
    try:
        return [_BY_NAME[name] for name in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"no peer is called {error}; there are {', '.join(_BY_NAME)}") from None


def _rounds(text: str) -> int:
    value = int(text)
    if not 1 <= value <= MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"from 1 to {MAX_ROUNDS}")
    return value


if __name__ == "__main__":
    sys.exit(main())
