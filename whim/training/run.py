"""A run's place on disk: where it stands, what its checkpoint holds, how it goes on."""

from __future__ import annotations

import fcntl
import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whim.errors import UsageError, WhimError
from whim.training import checkpoint
from whim.training.ema import Ema
from whim.training.precision import Precision

CHECKPOINT = "checkpoint.safetensors"


@dataclass
class Standing:
    """Where a run stands; goes into the checkpoint as JSON."""

    step: int = 0
    """Optimiser steps done."""
    epoch: int = 0
    """Epochs done, validation included."""
    finished: str = ""
    """``epochs`` or ``patience`` when nothing is left to do."""
    best_value: float = math.nan
    best_epoch: int = -1
    sums: dict[str, float] = field(default_factory=dict)
    """Loss terms summed over the steps of the epoch in progress."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a call of :func:`whim.training.loop.fit` ended."""

    folder: Path
    step: int
    epoch: int
    monitor: str
    best_value: float
    best_epoch: int
    """Counted from 1; 0 when nothing was validated."""
    ended: str
    """``epochs``, ``patience``, or ``SIGTERM``/``SIGINT`` when interrupted."""

    @property
    def exit_code(self) -> int:
        """0, or 128 + the signal's number as a shell has it."""
        return 128 + signal.Signals[self.ended] if self.ended.startswith("SIG") else 0


class Run:
    """The parts of a run that a checkpoint holds.

    ``recipe`` is everything that determines the result: a run goes on only with the one that it began with.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recipe: Mapping[str, Any],
        model: nn.Module,
        ema: Ema,
        optimiser: torch.optim.Optimizer,
        precision: Precision,
    ) -> None:
        self.folder = folder
        self._recipe = recipe
        self._model = model
        self._ema = ema
        self._optimiser = optimiser
        self._precision = precision

    def save(self, standing: Standing) -> None:
        """Write ``checkpoint.safetensors``.

        Raises:
            OSError: the disk is full, say; the earlier checkpoint is still there.
        """
        tensors, rest = checkpoint.optimiser_state(self._optimiser)
        state = {
            "standing": vars(standing),
            "optimiser": rest,
            "scaler": self._precision.scaler.state_dict(),
            "precision": self._precision.name,
            "recipe": self._recipe,
        }
        checkpoint.save(
            self.folder / CHECKPOINT,
            {
                **checkpoint.with_prefix("model", self._model.state_dict()),
                **checkpoint.with_prefix("ema", self._ema.model.state_dict()),
                **checkpoint.with_prefix("optimiser", tensors),
            },
            state,
        )

    def resume(self) -> Standing:
        """Take everything from ``checkpoint.safetensors``; a new standing when there is none.

        Raises:
            UsageError: the run began with another recipe, or in another precision.
            BadFileError: the checkpoint cannot be read.
        """
        path = self.folder / CHECKPOINT
        if not path.exists():
            return Standing()
        tensors, state = checkpoint.load(path)
        earlier = {**state["recipe"], "precision": state["precision"]}
        _compare(earlier, {**self._recipe, "precision": self._precision.name}, self.folder)
        checkpoint.load_weights(self._model, checkpoint.part("model", tensors), path)
        checkpoint.load_weights(self._ema.model, checkpoint.part("ema", tensors), path)
        checkpoint.load_optimiser(self._optimiser, checkpoint.part("optimiser", tensors), state["optimiser"])
        if state["scaler"]:
            self._precision.scaler.load_state_dict(state["scaler"])
        return Standing(**state["standing"])


@contextmanager
def locked(folder: Path, main: bool) -> Iterator[None]:
    """Keep a second run out of ``folder``; the lock goes with the process, so a killed one blocks nobody.

    Raises:
        WhimError: another process trains here (code ``locked``).
    """
    if not main:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by loader workers
        except (BlockingIOError, PermissionError) as error:
            raise WhimError(f"{folder}: another process trains here", code="locked") from error
        yield


def _compare(earlier: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    before, after = dict(_flat(earlier)), dict(_flat(now))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        lines = [f"  {key}: {before.get(key)!r} then, {after.get(key)!r} now" for key in changed[:8]]
        raise UsageError(
            "\n".join(
                [f"{folder}: this run began with another recipe; choose another --out, or go back to"]
                + lines
                + ([f"  ... and {len(changed) - 8} more"] if len(changed) > 8 else [])
            )
        )


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Leaves of nested dictionaries and lists with dotted names; tuples count as lists, as in JSON."""
    if isinstance(tree, Mapping) and tree:
        return [leaf for key, value in tree.items() for leaf in _flat(value, f"{prefix}{key}.")]
    if isinstance(tree, list | tuple) and tree:
        return [leaf for key, value in enumerate(tree) for leaf in _flat(value, f"{prefix}{key}.")]
    return [(prefix[:-1], list(tree) if isinstance(tree, tuple) else tree)]
