"""Videos to labels to shards: fetch, annotate, status, view, stats, pack."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from whim.cli.common import (
    LABELS,
    MANIFEST,
    PIPELINE,
    VIDEOS,
    command,
    count,
    json_output,
    say,
    settings,
    show,
)


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, fetch, "download the videos of a manifest and check each against it")
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
        type=count(1),
        default=2,
        metavar="N",
        help="downloads at a time; more than 2 only brings blocks (default: %(default)s)",
    )
    sub.add_argument("--limit", type=count(1), metavar="N", help="stop after N videos that need work")
    sub.add_argument("--only", choices=["failed"], help="retry what failed instead of fetching what is new")
    sub.add_argument(
        "--cookies",
        type=Path,
        metavar="FILE",
        help="Netscape cookies file for age-restricted or private videos; never logged",
    )
    settings(sub, "retries=5")
    json_output(sub)

    sub = command(commands, annotate, "find people and hands in videos and write labels")
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
        type=count(0),
        metavar="N",
        help="worker processes on Ray, at most what the machine carries (the default); 0: in this process",
    )
    settings(sub, "sampling.fps=2")
    json_output(sub)

    sub = command(commands, status, "what is done, what failed and why, from the ledger of a folder")
    sub.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        help=f"folder written by fetch, annotate or pack, for example {VIDEOS}",
    )
    json_output(sub)

    sub = command(commands, view, "write a gallery page of labels; no server needed")
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
        type=count(1),
        default=240,
        metavar="N",
        help="frames to show: worst agreement, random, empty (default: %(default)s)",
    )

    sub = command(commands, stats, "count videos, frames, hands, votes")
    sub.add_argument(
        "path",
        metavar="PATH",
        type=Path,
        nargs="?",
        default=LABELS,
        help="labels or shards (default: %(default)s)",
    )
    json_output(sub)

    sub = command(commands, pack, "rebuild pictures from the videos into pixel shards")
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
    json_output(sub)


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
    show(options, summary.to_json, summary.render)
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
        say=say,
    )
    show(options, summary.to_json, summary.render)
    if not options.json:
        print(f"next: whim view {options.out}")
    return summary.exit_code


def status(options: argparse.Namespace) -> int:
    """``whim status``."""
    from whim.status import status as read

    report = read(options.path)
    show(options, report.to_json, report.render)
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
    show(options, lambda: numbers, lambda: module.render(numbers))
    return 0


def pack(options: argparse.Namespace) -> int:
    """``whim pack``."""
    from whim.shards.pack import pack as run

    summary = run(options.labels, videos=options.videos, out=options.out)
    show(options, summary.to_json, summary.render)
    return summary.exit_code
