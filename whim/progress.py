"""Progress on stderr: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from types import TracebackType

from tqdm import tqdm


class Progress:
    """Counts items with a rate and the number in each state."""

    def __init__(self, total: int | None, label: str, unit: str = "item") -> None:
        on_terminal = sys.stderr.isatty()
        self._states: Counter[str] = Counter()
        self._bar = tqdm(
            total=total,
            desc=label,
            unit=f" {unit}",
            file=sys.stderr,
            mininterval=0.1 if on_terminal else 10.0,
            dynamic_ncols=True,
        )

    def step(self, state: str = "", amount: int = 1) -> None:
        """One item (or ``amount``) further, ending in ``state``."""
        if state:
            self._states[state] += 1
            self._bar.set_postfix_str(
                ", ".join(f"{name} {n}" for name, n in self._states.items()), refresh=False
            )
        self._bar.update(amount)

    def say(self, text: str) -> None:
        """Print a line without tearing the bar."""
        tqdm.write(text, file=sys.stderr)

    def total(self, total: int) -> None:
        """Correct the total once it is known better."""
        self._bar.total = total
        self._bar.refresh()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
