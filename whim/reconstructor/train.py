"""`whim train-reconstructor`: from shards with hands in space to weights.

The run folder is laid out as the detector's (``whim/detector/train.py``). The adversarial term of eq. 8 is not trained
here: its discriminator needs an optimiser of its own, which the shared loop does not have; the weights say so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim import __version__
from whim.config import config_hash
from whim.files import write_text
from whim.hands.model import HandModel
from whim.hands.select import load_hand
from whim.reconstructor.config import NetworkConfig, VitConfig
from whim.reconstructor.convert.vitpose import init_from_vitpose
from whim.reconstructor.data.batches import CropSource, HandSet, open_hands
from whim.reconstructor.data.crops import CropAugmentConfig
from whim.reconstructor.losses.objective import Objective
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.training.recipe import HandDataConfig, HandSetConfig, TrainReconstructorConfig
from whim.reconstructor.training.task import ReconstructorTask
from whim.shards.ensure import ensure_pixels, is_labels
from whim.synth.config import SynthConfig
from whim.synth.write import synth
from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig
from whim.training.distributed import from_environment, process_group
from whim.training.loop import fit
from whim.training.precision import choose_device
from whim.training.run import FitResult
from whim.training.seeding import seed_step

OUT = Path("runs/reconstructor")


@dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """How a training ended."""

    fit: FitResult
    hands: int
    is_main: bool

    @property
    def exit_code(self) -> int:
        """0, or 128 + the number of the signal that stopped it."""
        return self.fit.exit_code

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        best = self.fit.best_value
        return {
            "out": str(self.fit.folder),
            "ended": self.fit.ended,
            "epochs": self.fit.epoch,
            "steps": self.fit.step,
            "hands": self.hands,
            "pa_mpjpe_mm": None if math.isnan(best) else best,
            "best_epoch": self.fit.best_epoch,
        }

    def render(self) -> str:
        """Text for the terminal."""
        fit = self.fit
        lines = [f"{fit.folder}: {fit.epoch} epochs, {fit.step} steps on {self.hands} hands ({fit.ended})"]
        if fit.best_epoch:
            lines.append(f"best PA-MPJPE {fit.best_value:.2f} mm in epoch {fit.best_epoch}: best.safetensors")
        return "\n".join(lines)


def train(
    config: TrainReconstructorConfig,
    *,
    out: Path = OUT,
    videos: Path | None = None,
    smoke: bool = False,
    say: Callable[[str], None] = print,
) -> TrainSummary:
    """Train a reconstructor in ``out``, or go on with the run that is there.

    Labels without up-to-date shards are packed first. ``smoke``: a minute on a CPU with rendered hands and a tiny
    network, to see that everything works.

    Raises:
        UsageError: settings that do not fit, no hands, or a run with another recipe in ``out``.
        BadFileError: damaged data or checkpoint.
        WhimError: the training diverged, or somebody else trains in ``out``.
    """
    if smoke:
        config = smoke_config(config, out)
    loop = config.training
    device = choose_device(loop.device, from_environment().local_rank)
    hand = load_hand(config.hand)
    with process_group(device) as group:
        talk = say if group.is_main else (lambda text: None)
        with group.main_first():
            if smoke and group.is_main:
                settings = SynthConfig(width=160, height=120, people=0, empty=0, hand_pixels=(0.4, 0.7))
                synth(config.data.train[0].path, count=1200, seed=0, workers=None, config=settings)
            training, validation = _open(config.data, hand, videos, talk)
        seed_step(loop.seed, 0, 0)  # the same first weights in every process
        model = Reconstructor(config.network, hand)
        if config.vitpose is not None:
            init_from_vitpose(model, config.vitpose)
        recipe = {**config.recipe(), "hands": [len(one) for one in training], "topology": hand.topology}
        out.mkdir(parents=True, exist_ok=True)
        common: dict[str, Any] = {
            "size": config.network.crop,
            "vertices": len(hand.v_template),
            "seed": loop.seed,
        }
        task = ReconstructorTask(
            model=model,
            objective=Objective(config.loss),
            training=CropSource(
                training,
                [one.weight for one in config.data.train],
                augment=config.augment,
                shuffled=True,
                **common,
            ),
            validation=CropSource(
                validation, [1.0] * len(validation), augment=CropAugmentConfig.off(), shuffled=False, **common
            ),
            batch=max(1, loop.batch // (group.size * loop.accumulate)),
            workers=loop.workers,
            recipe=recipe,
            device=device,
            say=talk,
        )
        count = sum(parameter.numel() for parameter in model.parameters())
        talk(f"train on {sum(map(len, training))} hands, validate on {sum(map(len, validation))}")
        talk(f"{count / 1e6:.2f} M parameters, {device}, {group.size} process(es), run folder {out}")
        result = fit(task, loop, out, group=group, device=device, say=talk, begin=lambda: _note(out, config))
    return TrainSummary(fit=result, hands=sum(map(len, training)), is_main=group.is_main)


def smoke_config(config: TrainReconstructorConfig, out: Path) -> TrainReconstructorConfig:
    """A tiny network on rendered hands, a few steps."""
    loop = config.training.model_copy(
        update={
            "epochs": 3,
            "batch": 16,
            "accumulate": 1,
            "workers": 0,
            "patience": None,
            "optimiser": OptimiserConfig(lr=5e-4),
            "schedule": ScheduleConfig(warmup_epochs=0.2),
            "ema": EmaConfig(decay=0.9, ramp=5),
        }
    )
    made = HandSetConfig(path=out / "smoke-hands")
    return config.model_copy(
        update={
            "network": NetworkConfig(backbone=VitConfig(size="tiny"), crop=64, width=48),
            "data": config.data.model_copy(update={"train": (made,), "validate_on": (), "held_out": 0.15}),
            "vitpose": None,
            "training": loop,
        }
    )


def _open(
    config: HandDataConfig, hand: HandModel, videos: Path | None, say: Callable[[str], None]
) -> tuple[list[HandSet], list[HandSet]]:
    def one(settings: HandSetConfig) -> HandSet:
        path = settings.path
        if is_labels(path):
            path = ensure_pixels(path, videos=videos, say=say)
        return open_hands(
            path, hand.topology, least_score=config.least_score, most_residual=config.most_residual
        )

    training = [one(settings) for settings in config.train]
    if config.validate_on:
        return training, [one(settings) for settings in config.validate_on]
    training[0], held = training[0].split_off(config.held_out)
    return training, [held]


def _note(out: Path, config: TrainReconstructorConfig) -> None:
    """Leave the resolved settings in the run folder."""
    settings = {"whim_version": __version__, "hash": config_hash(config), **config.model_dump(mode="json")}
    write_text(out / "config.json", json.dumps(settings, indent=1) + "\n")
