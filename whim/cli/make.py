"""Pictures with exact truth: synth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from whim.cli.common import command, count, json_output, settings, show


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, synth, "render scenes of hands with exact truth into pixel shards")
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="SHARDS",
        help="folder for the shards, for example data/synth",
    )
    sub.add_argument(
        "--count", type=count(1), default=1000, metavar="N", help="pictures (default: %(default)s)"
    )
    sub.add_argument(
        "--seed", type=count(0), default=0, metavar="S", help="the same seed gives the same pictures"
    )
    sub.add_argument("--split", default="train", help="name of the split (default: %(default)s)")
    sub.add_argument("--workers", type=count(1), metavar="N", help="processes (default: one per core)")
    settings(sub, "width=1280, sequence_s=4 (moving scenes) or backgrounds=DIR")
    json_output(sub)


def synth(options: argparse.Namespace) -> int:
    """``whim synth``."""
    from whim.config import load_config
    from whim.synth.config import SynthConfig
    from whim.synth.write import synth as run

    summary = run(
        options.out,
        count=options.count,
        seed=options.seed,
        split=options.split,
        workers=options.workers,
        config=load_config(SynthConfig, None, options.set),
    )
    show(options, summary.to_json, summary.render)
    if not options.json:
        print(f"next: whim view {options.out}")
    return 0
