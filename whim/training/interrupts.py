"""SIGTERM and Ctrl-C end a run after the step in progress, with a checkpoint."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Context in which the first SIGTERM or SIGINT only sets :attr:`signal`; the second one acts as usual.

    Signals belong to the main thread: elsewhere (in a notebook's worker, say) it does nothing.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self._earlier[number] = signal.signal(number, self._note)
            except ValueError:
                break
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
