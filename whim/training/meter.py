"""Sums of loss terms over an epoch."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from whim.errors import WhimError


class Meter:
    """Keeps sums on the device in double precision; read only when somebody looks, so that steps need not wait.

    ``sums`` are those of the steps of this epoch that an earlier call has done.
    """

    def __init__(self, sums: dict[str, float]) -> None:
        self._sums: dict[str, Any] = dict(sums)
        self._read: dict[str, float] = dict(sums)
        self._steps = 0

    def add(self, terms: dict[str, Tensor], share: float) -> None:
        """Add ``share`` of each term: 1 / parts when a step is accumulated from several."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().double() * share

    def step(self) -> None:
        """One step is complete."""
        self._steps += 1

    def sums(self, step: int) -> dict[str, float]:
        """Sums as numbers; ``step`` is for the message.

        Raises:
            WhimError: one is not a number any more (code ``diverged``).
        """
        values = {name: float(value) for name, value in self._sums.items()}
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise WhimError(
                f"by step {step} {', '.join(wrong)} is no longer a finite number; the last checkpoint is from "
                "before. Lower optimiser.lr, or set precision=fp32, in another run folder",
                code="diverged",
            )
        return values

    def since_last(self, step: int) -> dict[str, float]:
        """Means over the steps since this was last called."""
        now = self.sums(step)
        means = {
            name: (value - self._read.get(name, 0.0)) / max(1, self._steps) for name, value in now.items()
        }
        self._read, self._steps = now, 0
        return means
