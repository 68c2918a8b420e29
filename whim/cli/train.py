"""Training and use of the models: train-detector, predict."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from whim.cli.common import LABELS, VIDEOS, command, count, json_output, say, settings, show

DETECTOR_RUN = Path("runs/detector")


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, train_detector, "train the hand detector from labels, shards or image folders")
    sub.add_argument(
        "--data",
        type=Path,
        nargs="+",
        metavar="PATH",
        help=f"labels, pixel shards, COCO or YOLO folders (default: {LABELS}); labels are packed on the way",
    )
    sub.add_argument(
        "--out",
        type=Path,
        default=DETECTOR_RUN,
        help="run folder; a run there goes on (default: %(default)s)",
    )
    sub.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        help="recipe, for example configs/detector/paper-m.yaml (default: built in)",
    )
    sub.add_argument("--videos", type=Path, metavar="DIR", help=f"where the videos lie, when not in {VIDEOS}")
    sub.add_argument(
        "--smoke", action="store_true", help="a minute on made-up pictures, to see that everything works"
    )
    settings(sub, "detector.network.scale=m, training.epochs=50")
    json_output(sub)

    sub = command(commands, predict, "find hands in pictures and videos with a trained detector")
    sub.add_argument("source", metavar="PICTURE|VIDEO|DIR", type=Path)
    sub.add_argument(
        "--detector",
        type=Path,
        default=DETECTOR_RUN / "best.safetensors",
        metavar="FILE",
        help="weights (default: %(default)s)",
    )
    sub.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default: %(default)s)")
    sub.add_argument(
        "--size", type=count(32), default=640, metavar="N", help="longer side of the input, pixels"
    )
    sub.add_argument(
        "--score", type=float, default=0.3, metavar="S", help="least score (default: %(default)s)"
    )
    sub.add_argument("--device", default="auto", metavar="cpu|cuda|auto")
    json_output(sub)


def train_detector(options: argparse.Namespace) -> int:
    """``whim train-detector``."""
    from whim.config import load_config
    from whim.detector.train import train
    from whim.detector.training.recipe import TrainDetectorConfig
    from whim.resources import user_or_shipped

    sets = [f"data.train={[{'path': str(path)} for path in options.data]}"] if options.data else []
    path = user_or_shipped(options.config) if options.config else None
    summary = train(
        load_config(TrainDetectorConfig, path, [*sets, *options.set]),
        out=options.out,
        videos=options.videos,
        smoke=options.smoke,
        say=say,
    )
    show(options, summary.to_json, summary.render)
    return summary.exit_code


def predict(options: argparse.Namespace) -> int:
    """``whim predict``."""
    from whim.detector.command import predict as run
    from whim.detector.predict import load

    detector = load(options.detector, device=options.device, size=options.size)
    summary = run(options.source, detector, options.out, least_score=options.score)
    show(options, summary.to_json, summary.render)
    return summary.exit_code
