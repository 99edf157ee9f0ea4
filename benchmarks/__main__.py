"""``python -m benchmarks``: the command line."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = """\
examples:
  python -m benchmarks --quick                         a look at everything, numbers mean nothing
  python -m benchmarks                                 everything, which takes hours
  python -m benchmarks --only drain,enqueue --peers soniq,limit,pgqueuer
  python -m benchmarks --list                          what there is, and what is missing here

Nothing is installed. A peer whose packages are missing is reported as not run;
`pip install -e '.[bench]'` brings all of them. What is measured, and how: benchmarks/README.md.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Soniq beside other job queues and beside the least a database queue has to do.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = made.add_argument_group("what to measure")
    what.add_argument("--only", metavar="A,B", type=_names, help="these figures (default: all)")
    what.add_argument("--peers", metavar="A,B", type=_names, help="these peers (default: all)")
    what.add_argument("--list", action="store_true", help="list figures and peers, and exit")
    scale = made.add_argument_group("how much of it")
    scale.add_argument(
        "--quick", action="store_true", help="small numbers and one round, to see that it works"
    )
    scale.add_argument("--rounds", metavar="N", type=_positive, help="rounds (default: 3; --quick: 1)")
    scale.add_argument("--jobs", metavar="N", type=_positive, help="jobs per drain (default: 20000)")
    scale.add_argument("--big", metavar="N", type=_positive, help="rows of a big backlog (default: 1000000)")
    scale.add_argument(
        "--seconds", metavar="N", type=_positive, help="cut a slow drain off after this time (default: 60)"
    )
    where = made.add_argument_group("where")
    where.add_argument(
        "--url", help="a PostgreSQL server to use, with a user who may create databases (default: start one)"
    )
    where.add_argument("--data", metavar="DIR", help="a folder on the disk to measure (default: $TMPDIR)")
    where.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("build/benchmarks"),
        help="for report.md, report.json and the chart (default: %(default)s)",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. 1 if something failed, 2 if it cannot run here."""
    made = parser()
    options = made.parse_args(arguments)
    try:
        import psycopg  # noqa: PLC0415  # as below

        from benchmarks import chart, report  # noqa: PLC0415  # --help works without the extra
        from benchmarks.figures import FIGURES, QUICK, Scale  # noqa: PLC0415  # as above
        from benchmarks.peers import NAMES, all_peers  # noqa: PLC0415  # as above
        from benchmarks.runner import measure  # noqa: PLC0415  # as above
        from benchmarks.server import Server  # noqa: PLC0415  # as above
    except ModuleNotFoundError as error:
        print(f"{error.name} is missing: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    _check(made, options.only, FIGURES, "figure")
    _check(made, options.peers, NAMES, "peer")
    figures = [figure for name, figure in FIGURES.items() if not options.only or name in options.only]
    peers = [peer for peer in all_peers() if not options.peers or peer.name in options.peers]
    if options.list:
        _list(figures, peers)
        return 0
    scale = _scaled(QUICK if options.quick else Scale(), options)
    rounds = options.rounds or (1 if options.quick else 3)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    try:
        server = Server(options.url, options.data)
    except (RuntimeError, OSError, psycopg.Error) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        about = server.describe()
        results = measure(figures, peers, server, scale, rounds)
    finally:
        server.stop()
    made_report = report.data(results, figures, peers, scale, rounds=rounds, server=about)
    words = report.heading(made_report) + "\n\n" + report.text(results, figures, peers, scale) + "\n"
    print(words)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "report.md").write_text(words)
    report.write_json(made_report, options.output / "report.json")
    drawn = chart.draw(made_report, options.output)
    written = ["report.md", "report.json", *(path.name for path in drawn)]
    print(f"Written to {options.output}: {', '.join(written)}", file=sys.stderr)
    return int(bool(results.failures))


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _positive(value: str) -> int:
    number = int(value.replace("_", "").replace(",", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return number


def _check(made: argparse.ArgumentParser, given: list[str] | None, known: Any, what: str) -> None:
    for name in given or []:
        if name not in known:
            made.error(f"unknown {what} {name!r}; known: {', '.join(known)}")


def _list(figures: Sequence[Any], peers: Sequence[Any]) -> None:
    print("figures:")
    for figure in figures:
        print(f"  {figure.name:<12} {figure.title}")
    print("peers:")
    reasons = {peer.name: peer.missing() for peer in peers}
    for name, reason in reasons.items():
        print(f"  {name:<16} {'not here: ' + reason if reason else 'ready'}")


def _scaled(scale: Any, options: argparse.Namespace) -> Any:
    changes: dict[str, Any] = {}
    if options.jobs:
        changes |= {"jobs": options.jobs}
    if options.seconds:
        changes |= {"seconds": options.seconds}
    if options.big:
        changes |= {"backlogs": tuple({*(n for n in scale.backlogs if n < options.big), options.big})}
    return dataclasses.replace(scale, **changes)


if __name__ == "__main__":
    sys.exit(main())
