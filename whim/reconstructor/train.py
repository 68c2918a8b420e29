"""`whim train-reconstructor`: from shards with hands in space to weights.

The run folder is laid out as the detector's (``whim/detector/train.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whim.errors import UsageError
from whim.hands.model import HandModel
from whim.hands.select import load_hand
from whim.reconstructor.beginning import begin_with_vitpose, begin_with_weights, start_digest
from whim.reconstructor.config import NetworkConfig, VitConfig
from whim.reconstructor.data.batches import CropSource
from whim.reconstructor.data.crops import CropAugmentConfig
from whim.reconstructor.data.means import guessing_error, mean_hand
from whim.reconstructor.data.sets import HandSource, RenderedHands, open_hands
from whim.reconstructor.losses.objective import Objective
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.training.adversary import Contest, real_hands
from whim.reconstructor.training.recipe import HandDataConfig, HandSetConfig, TrainReconstructorConfig
from whim.reconstructor.training.task import ReconstructorTask
from whim.reconstructor.vit import Vit
from whim.shards.ensure import ensure_pixels, is_labels
from whim.synth.config import SynthConfig
from whim.synth.write import synth
from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig
from whim.training.distributed import from_environment, process_group
from whim.training.loop import fit
from whim.training.precision import choose_device
from whim.training.seeding import seed_step
from whim.training.summary import TrainSummary, note_settings

OUT = Path("runs/reconstructor")
_SMOKE = "smoke-hands"
_SMOKE_LOOK = SynthConfig(width=160, height=120, people=0, empty=0, hand_pixels=(0.4, 0.7))


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
                synth(out / _SMOKE, count=400, seed=0, workers=None, config=_SMOKE_LOOK)
            training, validation = _open(config.data, hand, videos, talk)
        seed_step(loop.seed, 0, 0)  # the same first weights in every process
        network = Reconstructor(config.network, hand)
        weights = _weights(config.data, training)
        known = [one.hands for one in training]  # of rendered sets: enough of them
        shares = [w * len(one) / len(one.hands) for w, one in zip(weights, training, strict=True)]
        means = mean_hand(known, shares, hand)
        network.tokens.set_means(*(torch.from_numpy(value) for value in vars(means).values()))
        if config.vitpose is not None:
            begin_with_vitpose(network, config.vitpose)
        if config.begin_with is not None:
            new = begin_with_weights(network, config.begin_with)
            talk(f"begins with {config.begin_with}" + (f", but for {' and '.join(new)}" if new else ""))
        if isinstance(network.backbone, Vit):
            network.backbone.checkpointing = config.checkpointing
        objective, real = Objective(config.loss), None
        model: Reconstructor | Contest = network
        if config.loss.adversarial > 0:
            real = real_hands(known, hand, seed=loop.seed)
            model = Contest(network, objective)
            talk(f"the discriminator learns from {len(real.pose)} hands of {real.origin}")
        facts = _facts(training, validation)
        recipe = {
            **config.recipe(),
            "data_found": facts,
            "topology": hand.topology,
            "begins_with": start_digest(config),
        }
        out.mkdir(parents=True, exist_ok=True)
        common: dict[str, Any] = {
            "size": config.network.crop,
            "vertices": len(hand.v_template),
            "seed": loop.seed,
        }
        task = ReconstructorTask(
            model=model,
            real=real,
            objective=objective,
            training=CropSource(
                training,
                weights,
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
            folder=out,
            say=talk,
        )
        count = sum(parameter.numel() for parameter in network.parameters())
        talk(f"train on {sum(map(len, training))} hands, validate on {sum(map(len, validation))}")
        measured = [one.hands for one in validation if not isinstance(one, RenderedHands)]
        if group.is_main and measured:  # those of rendered sets would have to be rendered first
            guess = 1e3 * guessing_error(means, measured, hand)
            talk(f"guessing the mean hand scores {guess:.2f} mm PA-MPJPE: to be undercut")
        talk(f"{count / 1e6:.2f} M parameters, {device}, {group.size} process(es), run folder {out}")
        result = fit(
            task,
            loop,
            out,
            group=group,
            device=device,
            say=talk,
            begin=lambda: note_settings(out, config, facts),
        )
    return TrainSummary(fit=result, data=facts, is_main=group.is_main)


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
    made = HandSetConfig(path=out / _SMOKE)
    others = HandSetConfig(render=_SMOKE_LOOK, hands=64, seed=1)
    return config.model_copy(
        update={
            "network": NetworkConfig(backbone=VitConfig(size="tiny"), crop=64, width=48),
            "data": config.data.model_copy(update={"train": (made,), "validate_on": (others,)}),
            "vitpose": None,
            "begin_with": None,
            "training": loop,
        }
    )


def _open(
    config: HandDataConfig, hand: HandModel, videos: Path | None, say: Callable[[str], None]
) -> tuple[list[HandSource], list[HandSource]]:
    def one(settings: HandSetConfig) -> HandSource:
        if settings.render is not None:
            return RenderedHands(
                settings.render,
                count=settings.hands,
                seed=settings.seed,
                topology=hand.topology,
                rules=config.rules,
            )
        path = settings.path
        assert path is not None
        if is_labels(path):
            path = ensure_pixels(path, videos=videos, say=say)
        return open_hands(path, hand.topology, config.rules)

    if not config.train:
        raise UsageError("data.train names no set")
    training = [one(settings) for settings in config.train]
    if config.validate_on:
        held = [one(settings) for settings in config.validate_on]
    else:
        training[0], part = training[0].split_off(config.held_out)
        held = [part]
    if not any(map(_in_space, held)):
        names = ", ".join(part.name for part in held)
        raise UsageError(f"{names}: no hand in space to validate with; name another set in data.validate_on")
    return training, held


def _in_space(part: HandSource) -> bool:
    """Whether there is a hand with known joints or pose; rendered hands need not be looked at."""
    if isinstance(part, RenderedHands):
        return True
    known = (part.hands.joints_3d, part.hands.hand_pose)
    return any(bool(np.isfinite(values).all(axis=(1, 2)).any()) for values in known)


def _weights(config: HandDataConfig, sets: list[HandSource]) -> list[float]:
    """How often each hand of a set comes in an epoch."""
    weights = [one.weight for one in config.train]
    if not config.shares:
        return weights
    total = sum(map(len, sets))
    return [w / sum(weights) * total / len(one) for w, one in zip(weights, sets, strict=True)]


def _facts(training: list[HandSource], validation: list[HandSource]) -> dict[str, Any]:
    """What a run is trained and validated on. Rendered hands follow from the settings."""

    def one(part: HandSource) -> dict[str, Any]:
        rendered = isinstance(part, RenderedHands)
        return {
            "set": part.name,
            "hands": len(part),
            "digest": "rendered" if rendered else part.hands.digest(),
        }

    return {"train": [one(part) for part in training], "validate": [one(part) for part in validation]}
