"""The training loop, to be read from top to bottom.

A run lives in a folder. ``checkpoint.safetensors`` holds all that it takes to go on; whoever calls :func:`fit` again
with the same recipe goes on from there, and ends with the same weights, bit for bit, as a run that nobody disturbed.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from whim.errors import UsageError
from whim.progress import Progress
from whim.training.checkpoint import remove_leftovers
from whim.training.config import TrainingConfig
from whim.training.distributed import Group
from whim.training.ema import Ema
from whim.training.interrupts import Interrupts
from whim.training.logs import Logs
from whim.training.meter import Meter
from whim.training.optimiser import build_optimiser
from whim.training.precision import Precision
from whim.training.run import FitResult, Run, Standing, locked
from whim.training.sampler import share_of_step
from whim.training.schedule import learning_rate_share, set_learning_rate
from whim.training.seeding import make_deterministic, seed_step
from whim.training.stopping import Best
from whim.training.task import Task

_ASK_EVERY = 8
"""Steps between questions whether another process was told to stop."""


def fit(
    task: Task,
    config: TrainingConfig,
    folder: Path,
    *,
    group: Group,
    device: torch.device,
    say: Callable[[str], None] = print,
    begin: Callable[[], None] = lambda: None,
) -> FitResult:
    """Train ``task`` in ``folder``, from its last checkpoint if there is one.

    ``begin`` is called in the main process once the folder is known to be this run's.

    Raises:
        UsageError: the folder holds a run with another recipe, or the batch does not divide among the processes.
        WhimError: the loss is no longer a number.
        BadFileError: the checkpoint cannot be read.
        OSError: the disk is full, say; the last checkpoint is still there.
    """
    with locked(folder, group.is_main):
        return _fit(task, config, folder, group, device, say, begin)


def _fit(
    task: Task,
    config: TrainingConfig,
    folder: Path,
    group: Group,
    device: torch.device,
    say: Callable[[str], None],
    begin: Callable[[], None],
) -> FitResult:
    parts = config.accumulate
    if config.batch % (group.size * parts):
        raise UsageError(f"batch {config.batch} does not divide by {group.size} processes x {parts} parts")
    talk = say if group.is_main else _silent
    steps_per_epoch = max(1, task.samples // config.batch)

    # 1. What is trained, and what a checkpoint holds.
    if config.deterministic:
        make_deterministic()
    memory = torch.channels_last if config.channels_last else torch.preserve_format
    model = task.model.to(device=device, memory_format=memory)  # type: ignore[call-overload]
    ema = Ema(model, config.ema)
    optimiser = build_optimiser(model, config.optimiser)
    precision = Precision(config.precision, device)
    run = Run(folder, recipe=task.recipe, model=model, ema=ema, optimiser=optimiser, precision=precision)
    standing = run.resume()
    best = Best(task.larger_is_better, standing.best_value, standing.best_epoch)
    if standing.finished:
        talk(f"{folder}: this run is finished ({standing.finished}); another --out starts a new one")
        return _result(folder, task, standing, standing.finished)
    if standing.step:
        talk(f"{folder}: going on after step {standing.step} of {steps_per_epoch * config.epochs}")
    if config.compile:
        model.compile()
    wrapped = group.wrap(model, device)
    group.wait()  # everybody has read before anybody writes
    if group.is_main:
        remove_leftovers(folder)
        begin()
    logs = Logs(folder, resume=standing.step, tensorboard=config.tensorboard) if group.is_main else None

    with Interrupts() as interrupts, contextlib.closing(logs) if logs else contextlib.nullcontext():
        for epoch in range(standing.epoch, config.epochs):
            # 2. One epoch, or what is left of it.
            begun = saved = time.monotonic()
            done = standing.step - epoch * steps_per_epoch
            shares = [
                share_of_step(s, config.batch, rank=group.rank, world=group.size, part=p, parts=parts)
                for s in range(steps_per_epoch)
                for p in range(parts)
            ]
            batches = task.batches(epoch, shares, done * parts)
            meter = Meter(standing.sums)
            with _Bar(group, done, steps_per_epoch, f"epoch {epoch + 1}/{config.epochs}") as bar:
                for number in range(done, steps_per_epoch):
                    # 3. One optimiser step.
                    rate = set_learning_rate(
                        optimiser,
                        learning_rate_share(
                            standing.step,
                            steps_per_epoch=steps_per_epoch,
                            epochs=config.epochs,
                            config=config.schedule,
                        ),
                    )
                    wrapped.train()
                    for part in range(parts):
                        batch = next(batches)
                        seed_step(config.seed, group.rank, standing.step * parts + part)
                        with _gradients_meet(wrapped, part == parts - 1):
                            with precision.autocast():
                                loss, terms = task.loss(wrapped, batch, epoch)
                            precision.scaler.scale(loss / parts).backward()
                        meter.add({"loss": loss, **terms}, 1 / parts)
                    precision.scaler.unscale_(optimiser)
                    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm or math.inf)
                    precision.scaler.step(optimiser)
                    precision.scaler.update()
                    optimiser.zero_grad(set_to_none=True)
                    standing.step += 1
                    ema.update(model, standing.step)
                    if precision.name != "fp16":  # its scaler skips steps whose gradients overflow
                        meter.add({"norm": norm}, 1.0)
                    meter.step()
                    bar.step()

                    # 4. Write down where we are; stop when told to.
                    end = number + 1 == steps_per_epoch
                    if logs and (end or standing.step % config.log_every == 0):
                        seconds = time.monotonic() - begun
                        values = {"epoch": epoch + 1, "lr": rate, **meter.since_last(standing.step)}
                        values["pictures_per_s"] = (number + 1 - done) * config.batch / seconds
                        logs.step(standing.step, values)
                    if end:
                        continue
                    asked = group.size == 1 or standing.step % _ASK_EVERY == 0
                    stop = asked and group.any(bool(interrupts.signal), device)
                    if stop or (group.is_main and time.monotonic() - saved >= 60 * config.checkpoint_minutes):
                        standing.sums = meter.sums(standing.step)
                        if group.is_main:
                            run.save(standing)
                        saved = time.monotonic()
                    if stop:
                        return _interrupted(folder, task, standing, interrupts, talk)

            # 5. Measure the running mean of the weights.
            train = {name: value / steps_per_epoch for name, value in meter.sums(standing.step).items()}
            metrics: dict[str, float] = {}
            last = epoch + 1 == config.epochs
            if last or (epoch + 1) % config.validate_every == 0:
                group.share(ema.model)
                with precision.autocast(), torch.inference_mode():
                    metrics = task.validate(ema.model.eval(), group)
                improved = best.offer(metrics[task.monitor], epoch)
                standing.best_value, standing.best_epoch = best.value, best.epoch
                if group.is_main:
                    task.epoch_done(ema.model, folder, epoch, metrics, best=improved)
            standing.epoch, standing.sums = epoch + 1, {}
            if last:
                standing.finished = "epochs"
            elif best.is_over(epoch, config.patience):
                standing.finished = "patience"
            if logs:
                values = {f"train_{name}": value for name, value in train.items()}
                logs.epoch(
                    standing.step, epoch + 1, {**values, **metrics, "seconds": time.monotonic() - begun}
                )
            if group.is_main:
                run.save(standing)
            talk(_line(epoch, config, train, metrics, task, best))
            if standing.finished:
                break
            if group.any(bool(interrupts.signal), device):
                return _interrupted(folder, task, standing, interrupts, talk)
    if standing.finished == "patience":
        talk(f"stopped early: no better {task.monitor} for {config.patience} epochs")
    return _result(folder, task, standing, standing.finished)


def _silent(text: str) -> None:
    pass


class _Bar:
    """A progress bar in the main process, nothing in the others."""

    def __init__(self, group: Group, done: int, total: int, label: str) -> None:
        self._progress = Progress(total, label, "step") if group.is_main else None
        if self._progress and done:
            self._progress.step(amount=done)

    def step(self) -> None:
        if self._progress:
            self._progress.step()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress:
            self._progress.__exit__(None, None, None)


def _gradients_meet(model: nn.Module, now: bool) -> AbstractContextManager:
    """Several processes exchange gradients once per optimiser step, with its last part."""
    if now or not isinstance(model, nn.parallel.DistributedDataParallel):
        return contextlib.nullcontext()
    return model.no_sync()


def _line(
    epoch: int,
    config: TrainingConfig,
    train: dict[str, float],
    metrics: dict[str, float],
    task: Task,
    best: Best,
) -> str:
    """An epoch in one line."""
    parts = [f"loss {train['loss']:.4g}", *(f"{name} {value:.4g}" for name, value in metrics.items())]
    if best.epoch >= 0:
        parts.append(f"best {task.monitor} {best.value:.4g} in epoch {best.epoch + 1}")
    return f"epoch {epoch + 1}/{config.epochs}: " + ", ".join(parts)


def _interrupted(
    folder: Path, task: Task, standing: Standing, interrupts: Interrupts, talk: Callable[[str], None]
) -> FitResult:
    name = signal.Signals(interrupts.signal or signal.SIGTERM).name
    talk(
        f"{name}: stopped after step {standing.step}; the checkpoint is in {folder}, "
        "run the same command again to go on"
    )
    return _result(folder, task, standing, name)


def _result(folder: Path, task: Task, standing: Standing, ended: str) -> FitResult:
    return FitResult(
        folder=folder,
        step=standing.step,
        epoch=standing.epoch,
        monitor=task.monitor,
        best_value=standing.best_value,
        best_epoch=standing.best_epoch + 1,
        ended=ended,
    )
