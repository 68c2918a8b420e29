"""Data from elsewhere: import, synth, prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from whim.cli.common import command, count, json_output, settings, show
from whim.importers.registry import IMPORTERS


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

    sub = command(commands, import_set, "bring a public data set into pixel shards", name="import")
    sub.add_argument("name", metavar="NAME", help=", ".join(IMPORTERS))
    sub.add_argument(
        "source", metavar="SOURCE", type=Path, help="its annotation file or its folder, as published"
    )
    sub.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="SHARDS",
        help="folder for the shards, for example data/import/NAME",
    )
    sub.add_argument("--split", help="only this split, or the name of the split where the set has none")
    sub.add_argument("--limit", type=count(1), metavar="N", help="the first N pictures")
    sub.add_argument("--labels", type=Path, metavar="DIR", help="also write label files without pictures")
    settings(sub, "box=keypoint-hull")
    json_output(sub)

    sub = command(commands, prior, "train the pose prior of the fit from your data")
    actions = sub.add_subparsers(dest="action", metavar="fit", required=True)
    fit = actions.add_parser(
        "fit",
        help="from ARCTIC, as in the paper, or from your own good fits",
        description="The prior stays yours: ARCTIC and MANO forbid passing on what comes from them.",
    )
    source = fit.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--arctic", type=Path, metavar="DIR", help="folder of ARCTIC, raw_seqs/ in it; needs --mano"
    )
    source.add_argument(
        "--labels", type=Path, nargs="+", metavar="DIR", help="label folders with fitted hands"
    )
    fit.add_argument("--mano", type=Path, metavar="FILE", help="your MANO_RIGHT.pkl")
    fit.add_argument(
        "--hand",
        metavar="open-hand|FILE",
        help="hand model the prior is for (default: MANO for --arctic, open-hand for --labels)",
    )
    fit.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the prior, for example data/prior.npz"
    )
    json_output(fit)


def import_set(options: argparse.Namespace) -> int:
    """``whim import``."""
    from whim.importers.labels import write_label_folder
    from whim.importers.run import run_import

    summary = run_import(
        options.name,
        options.source,
        options.out,
        split=options.split,
        settings=options.set,
        limit=options.limit,
    )
    if options.labels:
        write_label_folder(options.out, options.labels)
    show(options, summary.to_json, summary.render)
    return summary.exit_code


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


def prior(options: argparse.Namespace) -> int:
    """``whim prior fit``."""
    from whim.errors import UsageError
    from whim.hands.select import OPEN_HAND
    from whim.priors.run import from_arctic, from_labels

    if options.arctic:
        if not options.mano:
            raise UsageError("--arctic needs --mano FILE: ARCTIC's poses are relative to MANO's mean pose")
        report = from_arctic(options.arctic, options.mano, options.out, hand=options.hand)
    else:
        report = from_labels(options.labels, options.out, hand=options.hand or OPEN_HAND)
    show(options, report.to_json, report.render)
    return 0
