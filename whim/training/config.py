"""Settings of a training run, shared by the detector and the reconstructor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from whim.config import Config


class OptimiserConfig(Config):
    """Which optimiser, how fast, how much decay."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    """``adam`` is the paper's (section 7.1); its decay is part of the gradient, that of ``adamw`` is not."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate for ``batch`` pictures a step. The paper's 0.01 (section 7.1) is a usual value for SGD and
    a high one for Adam."""
    weight_decay: float = Field(default=0.05, ge=0)
    """On weights only: biases, norms and other vectors are never decayed."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of SGD (Nesterov), and the first beta of Adam."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Second beta of Adam."""


class ScheduleConfig(Config):
    """How the learning rate changes over the steps."""

    shape: Literal["linear", "cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=3.0, ge=0)
    """Rises linearly from 0 to the peak."""
    decay_epochs: float | None = Field(default=None, gt=0)
    """Length of the descent at the end; None: everything after the warm-up. The paper: 30 (section 7.1)."""
    final: float = Field(default=0.01, ge=0, le=1)
    """Learning rate at the end as a share of the peak. The paper: 1e-6 / 0.01 = 1e-4 (section 7.1)."""


class EmaConfig(Config):
    """Running mean of the weights: what is validated and shipped."""

    decay: float = Field(default=0.9999, ge=0, lt=1)
    """0 turns it off."""
    ramp: float = Field(default=2000.0, gt=0)
    """Steps over which the decay rises: decay * (1 - exp(-step / ramp)), so that early weights are forgotten."""


class TrainingConfig(Config):
    """One run of the loop. Numbers of steps are optimiser steps."""

    epochs: int = Field(default=100, ge=1)
    """The paper: 200 (section 7.1)."""
    batch: int = Field(default=64, ge=1)
    """Pictures per optimiser step, over all processes and accumulated parts. The paper: 256 (section 7.1)."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a process cuts its share of the batch into, one after the other: memory for time."""
    workers: int = Field(default=8, ge=0)
    """Loader processes per training process, at most the number of cores; the result does not depend on it."""
    seed: int = Field(default=0, ge=0)
    deterministic: bool = False
    """Ask CUDA for repeatable kernels: slower. On a CPU a run repeats bit for bit without it, given the same
    number of threads."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: CUDA when there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """``auto``: bf16 where the hardware multiplies in it, else fp32. Weights stay fp32."""
    channels_last: bool = True
    """Memory order of pictures and convolution weights; the same numbers, faster."""
    compile: bool = False
    """``torch.compile`` the network: minutes at the start, faster steps after."""
    clip_norm: float | None = Field(default=10.0, gt=0)
    """Longest gradient."""
    patience: int | None = Field(default=30, ge=1)
    """Stop after so many epochs without a better value of what is monitored. The paper: 30 (section 7.1)."""
    validate_every: int = Field(default=1, ge=1)
    """Epochs between validations; the last epoch is always validated."""
    checkpoint_minutes: float = Field(default=10.0, ge=0)
    """Longest work that a kill can cost, besides the end of each epoch; 0: every step."""
    log_every: int = Field(default=20, ge=1)
    """Steps between lines of the step log."""
    tensorboard: bool = True
    """Also write TensorBoard events when that package is installed."""
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    ema: EmaConfig = EmaConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> TrainingConfig:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} does not divide into {self.accumulate} parts")
        return self
