"""`whim train-detector`: from labels, shards or image folders to weights.

    torchrun --nproc-per-node 2 -m whim train-detector        several GPUs: see whim/training/distributed.py

A run folder holds ``config.json`` (everything resolved), ``data.json`` (what was trained and validated on),
``steps.csv`` and ``epochs.csv``, ``tensorboard/``, ``samples/`` (validation pictures with predictions),
``best.safetensors`` and ``last.safetensors`` with a JSON each (weights to use), ``checkpoint.safetensors`` (to go on
from), ``broken.txt`` (pictures that could not be read).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whim.detector.data.batches import TrainingSource, WholeSource
from whim.detector.data.config import AugmentConfig, SetConfig
from whim.detector.training.data import Data, open_data
from whim.detector.training.head import build_detector
from whim.detector.training.recipe import TrainDetectorConfig
from whim.detector.training.smoke import write_smoke_set
from whim.detector.training.task import DetectorTask, Head
from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig
from whim.training.distributed import from_environment, process_group
from whim.training.loop import fit
from whim.training.precision import choose_device
from whim.training.seeding import seed_step
from whim.training.summary import TrainSummary, note_settings

OUT = Path("runs/detector")
Build = Callable[[TrainDetectorConfig], tuple[nn.Module, Head]]


def train(
    config: TrainDetectorConfig,
    *,
    out: Path = OUT,
    videos: Path | None = None,
    smoke: bool = False,
    say: Callable[[str], None] = print,
    build: Build = build_detector,
) -> TrainSummary:
    """Train a detector in ``out``, or go on with the run that is there.

    Labels without up-to-date shards are packed first; ``videos``: where to look, when not where they were.
    ``smoke``: a minute on a CPU with made-up pictures and the smallest network, to see that everything works.

    Raises:
        UsageError: settings that do not fit, no data, or a run with another recipe in ``out``.
        BadFileError: damaged data or checkpoint.
        WhimError: the training diverged, or somebody else trains in ``out``.
    """
    if smoke:
        config = smoke_config(config, out)
    loop = config.training
    device = choose_device(loop.device, from_environment().local_rank)
    with process_group(device) as group:
        talk = say if group.is_main else (lambda text: None)
        with group.main_first():
            if smoke and group.is_main:
                write_smoke_set(config.data.train[0].path)
            data = open_data(config.data, seed=loop.seed, videos=videos, say=talk)
        for line in data.describe():
            talk(line)
        seed_step(loop.seed, 0, 0)  # the same first weights in every process
        model, head = build(config)
        recipe = {**config.recipe(), "data_found": data.facts()}
        out.mkdir(parents=True, exist_ok=True)
        task = DetectorTask(
            model=model,
            head=head,
            training=TrainingSource(
                data.train,
                data.weights,
                size=config.size,
                augment=config.augment,
                seed=loop.seed,
                epochs=loop.epochs,
            ),
            validation=WholeSource(data.validate, size=config.size),
            batch=max(1, loop.batch // (group.size * loop.accumulate)),
            pool=config.augment.mosaic_pool,
            workers=loop.workers,
            monitor=config.monitor,
            recipe=recipe,
            device=device,
            folder=out,
            say=talk,
        )
        talk(
            f"{_parameters(model) / 1e6:.2f} M parameters, {device}, {group.size} process(es), run folder {out}"
        )
        result = fit(
            task,
            loop,
            out,
            group=group,
            device=device,
            say=talk,
            begin=lambda: note_settings(out, config, _facts(data)),
        )
    return TrainSummary(fit=result, data=data.facts(), is_main=group.is_main)


def smoke_config(config: TrainDetectorConfig, out: Path) -> TrainDetectorConfig:
    """The smallest network on small made-up pictures, just long enough that it finds their hands (AP50 near 1)."""
    loop = config.training.model_copy(
        update={
            "epochs": 48,
            "batch": 8,
            "accumulate": 1,
            "workers": 0,  # starting them would take longer than they save
            "patience": None,
            "validate_every": 16,
            "optimiser": OptimiserConfig(lr=3e-3),
            "schedule": ScheduleConfig(warmup_epochs=2),
            "ema": EmaConfig(decay=0.9, ramp=5),
        }
    )
    made_up = SetConfig(path=out / "smoke-pictures")
    network = config.detector.network.model_copy(update={"scale": "n"})
    return config.model_copy(
        update={
            "size": 96,
            "detector": config.detector.model_copy(update={"network": network}),
            "data": config.data.model_copy(update={"train": (made_up,), "validate_on": (), "held_out": 0.25}),
            "augment": AugmentConfig.off(),
            "training": loop,
        }
    )


def _facts(data: Data) -> dict[str, Any]:
    held = [{"set": one.name, "recordings": one.recordings} for one in data.validate]
    return {**data.facts(), "validation_recordings": held}


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if isinstance(parameter, torch.Tensor))
