"""Early stopping: the best value so far, and how long ago it was."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Best:
    """Tracks a monitored value. A value that is not a number never counts as better."""

    larger_is_better: bool
    value: float = math.nan
    epoch: int = -1

    def offer(self, value: float, epoch: int) -> bool:
        """Whether ``value`` of ``epoch`` is the best so far; remembers it when it is."""
        if math.isnan(value):
            return False
        better = math.isnan(self.value) or (
            value > self.value if self.larger_is_better else value < self.value
        )
        if better:
            self.value, self.epoch = value, epoch
        return better

    def is_over(self, epoch: int, patience: int | None) -> bool:
        """Whether ``patience`` epochs up to ``epoch`` have brought nothing better."""
        return patience is not None and self.epoch >= 0 and epoch - self.epoch >= patience
