"""What the refinement is worth, at the same budget: the rows of Table 5 that concern it, on a CPU.

    python benchmarks/reconstructor_ablation.py --data data/hands --held data/held [--seeds 0 1] [--epochs 1]
      [--share 0.8] [--begin-with runs/coarse/best.safetensors] [--parallel 2] [--out runs/ablation]
      [--picture FILE.png [--curve runs/coarse]]

Every variant sees the same hands in the same order and is measured on hands of other scenes (``--held``). Seeds change
the first weights, the order, and how crops are varied. With ``--begin-with`` all begin with the same coarse network.
A run that is already there is read, not repeated. The picture needs matplotlib; ``--curve`` puts a training's course
beside the variants.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import statistics
from pathlib import Path
from typing import Any

VARIANTS: dict[str, list[str]] = {
    "correct alignment": [],
    "released alignment": ["network.refinement.alignment=released"],
    "single scale": ["network.refinement.levels=1"],
    "no refinement": ["network.refinement=null"],
    "only the refined hand taught": ["loss.coarse=0"],
}
BLUE, RED = "#1f5fa8", "#c0562b"
METRICS = {
    "pa_mpjpe": "PA-MPJPE (mm)",
    "error_2d": "2D error (% of the crop)",
    "pa_mpjpe_coarse": "coarse: PA-MPJPE",
    "error_2d_coarse": "coarse: 2D error",
}


def one_run(task: tuple[str, int, argparse.Namespace]) -> None:
    """Train one variant with one seed, unless it is there."""
    name, seed, options = task
    import torch

    from whim.config import load_config
    from whim.reconstructor.train import train
    from whim.reconstructor.training.recipe import TrainReconstructorConfig

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.parallel))
    config = load_config(
        TrainReconstructorConfig,
        options.config,
        [
            f"begin_with={json.dumps(options.begin_with and str(options.begin_with))}",
            f"data.train={[{'path': str(options.data), 'weight': options.share}]}",
            f"data.validate_on={[{'path': str(options.held)}]}",
            f"training.epochs={options.epochs}",
            f"training.seed={seed}",
            f"training.optimiser.lr={options.lr}",
            "training.schedule.warmup_epochs=0.1",
            "training.ema.decay=0.99",
            "training.workers=0",
            *VARIANTS[name],
        ],
    )
    log = options.out / folder_name(name, seed) / "said.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        summary = train(config, out=log.parent, say=lambda text: print(text, file=file, flush=True))
    if summary.fit.ended != "epochs":
        raise SystemExit(f"{log.parent}: ended by {summary.fit.ended}; run the same command again")


def folder_name(name: str, seed: int) -> str:
    """Of a run."""
    return f"{name.replace(' ', '-')}-{seed}"


def last_epoch(folder: Path) -> dict[str, float]:
    """Measures after the last epoch."""
    with (folder / "epochs.csv").open() as file:
        return {k: float(v) for k, v in list(csv.DictReader(file))[-1].items() if k in METRICS}


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Mean over seeds, and in brackets the values."""
    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for name, runs in results.items():
        cells = []
        for key in METRICS:
            values = [run[key] for run in runs]
            each = ", ".join(f"{value:.2f}" for value in values)
            cells.append(f"{statistics.mean(values):.2f} ({each})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(results: dict[str, list[dict[str, float]]], course: Path | None, path: Path) -> None:
    """Each run a dot, each variant a bar at the mean; before them, how one training went."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = 0.45 * len(results) + 1.4
    if course is None:
        figure, axes = pyplot.subplots(1, 2, figsize=(9, height))
    else:
        figure, (curve, *axes) = pyplot.subplots(1, 3, figsize=(13, height), width_ratios=(3, 4, 4))
        draw_course(course, curve)
    for axis, key in zip(axes, ("pa_mpjpe", "error_2d"), strict=True):
        for row, runs in enumerate(results.values()):
            final, coarse = ([run[k] for run in runs] for k in (key, f"{key}_coarse"))
            axis.plot(
                coarse, [row] * len(coarse), "o", mfc="none", color=RED, label=None if row else "coarse"
            )
            axis.plot(final, [row] * len(final), "o", color=BLUE, label=None if row else "final")
            axis.plot([statistics.mean(final)] * 2, [row - 0.3, row + 0.3], color=BLUE)
        axis.set_xlabel(METRICS[key])
        axis.grid(axis="x", alpha=0.3)
        axis.invert_yaxis()
        axis.set_yticks(range(len(results)), list(results))
        axis.tick_params(labelleft=axis is axes[0])
    axes[1].legend(loc="best", fontsize="small")
    figure.set_layout_engine("constrained")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_course(folder: Path, axis: Any) -> None:
    """Both measures over the epochs of a training."""
    with (folder / "epochs.csv").open() as file:
        epochs = list(csv.DictReader(file))
    numbers = [int(row["epoch"]) for row in epochs]
    axis.set_xlabel("epoch")
    for one, key, form, colour in (
        (axis, "pa_mpjpe", "o-", BLUE),
        (axis.twinx(), "error_2d", "s--", RED),
    ):
        one.plot(numbers, [float(row[key]) for row in epochs], form, color=colour, markersize=4)
        one.set_ylabel(METRICS[key], color=colour)


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--begin-with", type=Path, metavar="FILE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--held", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--config", type=Path, default=Path("configs/reconstructor/tiny.yaml"), metavar="YAML"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the hands, in each epoch")
    parser.add_argument("--lr", type=float, default=7e-4)
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="runs at a time")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--curve", type=Path, metavar="DIR")
    options = parser.parse_args()
    start = options.begin_with
    if start and json.loads(start.with_suffix(".json").read_text())["config"]["refinement"] is not None:
        raise SystemExit(f"{start} has a refinement: those of its kind would have a head start")
    tasks = [(name, seed, options) for seed in options.seeds for name in options.variants]
    with multiprocessing.get_context("spawn").Pool(options.parallel) as pool:
        for _ in pool.imap_unordered(one_run, tasks, chunksize=1):
            pass
    results = {
        name: [last_epoch(options.out / folder_name(name, seed)) for seed in options.seeds]
        for name in options.variants
    }
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    if options.picture:
        draw(results, options.curve, options.picture)
        print(f"\n{options.picture}")


if __name__ == "__main__":
    main()
