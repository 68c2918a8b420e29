"""Accuracy: benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from whim.cli.common import LABELS, command, count, json_output, settings, show

TABLE_1 = Path("configs/benchmark/table1.yaml")
HANDS = Path("configs/benchmark/reconstruction.yaml")


def add(commands: Any) -> None:
    """Register the commands."""
    sub = command(commands, benchmark, "measure labels and models against truth")
    kinds = sub.add_subparsers(
        dest="kind", metavar="detection|reconstruction|labels|truth", help="default: detection"
    )
    sub.set_defaults(measure=_detection, config=TABLE_1, limit=None, out=None, set=[], json=False)

    _add_table(
        kinds,
        "detection",
        "tables 1 and 2 of the paper: AP, size and speed of hand detectors, published rows beside",
        config=TABLE_1,
        other="rows and sets, for example configs/benchmark/table2.yaml",
        written="curves",
        example="sets.0.path=data/import/mine",
    ).set_defaults(measure=_detection)
    _add_table(
        kinds,
        "reconstruction",
        "tables 3, 4 and 5 of the paper: errors of hands in space as the official scripts compute them",
        config=HANDS,
        other="rows and sets, for example configs/benchmark/reconstruction-table3.yaml",
        written="submissions",
        example="sets.0.path=data/import/freihand",
    ).set_defaults(measure=_reconstruction)

    labels = kinds.add_parser(
        "labels",
        help="recall and precision of the fused boxes against hand-drawn ones, next to each detector",
    )
    labels.add_argument(
        "data", metavar="DIR", type=Path, help="folder with detection/ and annotated/ picture sets"
    )
    labels.add_argument("--limit", type=count(1), metavar="N", help="pictures per set")
    json_output(labels)
    labels.set_defaults(measure=_labels)

    truth = kinds.add_parser(
        "truth", help="boxes, sides, keypoints and 3D joints of labels against labels known to be true"
    )
    truth.add_argument("labels", metavar="LABELS", type=Path, help=f"label folder, for example {LABELS}")
    truth.add_argument(
        "truth", metavar="TRUTH", type=Path, help="labels of the same frames, as `whim synth` writes"
    )
    json_output(truth)
    truth.set_defaults(measure=_truth)


def _add_table(
    kinds: Any, name: str, what: str, *, config: Path, other: str, written: str, example: str
) -> argparse.ArgumentParser:
    """A kind of measurement whose rows and sets come from a file."""
    sub: argparse.ArgumentParser = kinds.add_parser(name, help=what)
    sub.add_argument(
        "config",
        metavar="YAML",
        type=Path,
        nargs="?",
        default=config,
        help=f"{other} (default: %(default)s)",
    )
    sub.add_argument("--limit", type=count(1), metavar="N", help="pictures per set")
    sub.add_argument("--out", type=Path, metavar="DIR", help=f"also write json, csv, md and {written} there")
    settings(sub, example)
    json_output(sub)
    return sub


def benchmark(options: argparse.Namespace) -> int:
    """``whim benchmark``: the report of one kind of measurement."""
    report = options.measure(options)
    show(options, report.to_json, report.render)
    return 0


def _detection(options: argparse.Namespace) -> Any:
    from whim.benchmark.detection.config import DetectionBenchmarkConfig
    from whim.benchmark.detection.run import run_detection_benchmark

    return run_detection_benchmark(_table(options, DetectionBenchmarkConfig))


def _reconstruction(options: argparse.Namespace) -> Any:
    from whim.benchmark.reconstruction.config import ReconstructionBenchmarkConfig
    from whim.benchmark.reconstruction.run import run_reconstruction_benchmark

    return run_reconstruction_benchmark(_table(options, ReconstructionBenchmarkConfig))


def _table(options: argparse.Namespace, kind: type[Any]) -> Any:
    """The rows and sets of a table's file, with the changes of the command line."""
    from whim.config import load_config
    from whim.resources import user_or_shipped

    changes = [*options.set]
    changes += [f"limit={options.limit}"] if options.limit else []
    changes += [f"out={options.out}"] if options.out else []
    return load_config(kind, user_or_shipped(options.config), changes)


def _labels(options: argparse.Namespace) -> Any:
    from whim.benchmark.labels import run

    return run(options.data, limit=options.limit)


def _truth(options: argparse.Namespace) -> Any:
    from whim.benchmark.truth import compare

    return compare(options.labels, options.truth)
