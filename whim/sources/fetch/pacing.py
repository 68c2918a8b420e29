"""When a job may start its next attempt: spacing, back-off and the pause that all jobs share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Cancelled(Exception):
    """The run is being stopped."""


class Pacer:
    """Shared by all jobs of a run. ``clock`` and ``wait`` are replaced in tests.

    Args:
        spacing_s: least time between two starts, over all jobs.
        stop: set to end every wait at once.
        clock: monotonic seconds.
        wait: blocks for some seconds, or until ``stop`` is set.
        say: told once when a pause begins.
    """

    def __init__(
        self,
        *,
        spacing_s: float = 0.0,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.stop = stop or threading.Event()
        self.say = say
        self._spacing = spacing_s
        self._clock = clock
        self._wait = wait or self.stop.wait
        self._lock = threading.Lock()
        self._next_start = clock()
        self._paused_until = clock()

    def start(self) -> None:
        """Block until a job may send its next request.

        Raises:
            Cancelled: the run is being stopped.
        """
        while True:
            self.check()
            with self._lock:
                now = self._clock()
                ahead = max(self._next_start, self._paused_until) - now
                if ahead <= 0:
                    self._next_start = now + self._spacing
                    return
            self._wait(ahead)

    def pause(self, seconds: float, why: str) -> None:
        """Let no job start for ``seconds`` from now; a pause under way is never shortened."""
        with self._lock:
            now = self._clock()
            begins = self._paused_until <= now
            self._paused_until = max(self._paused_until, now + seconds)
        if begins and seconds > 0:
            self.say(f"{why}: all downloads pause for {_duration(seconds)}, then go on")

    def sleep(self, seconds: float) -> None:
        """Block one job for ``seconds``.

        Raises:
            Cancelled: the run is being stopped.
        """
        self.check()
        if seconds > 0:
            self._wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise :class:`Cancelled` when the run is being stopped."""
        if self.stop.is_set():
            raise Cancelled


def backoff(attempt: int, *, base_s: float, longest_s: float, chance: float) -> float:
    """Wait in seconds after failed attempt ``attempt`` (from 0): doubling, capped, half of it random.

    ``chance`` is uniform in [0, 1). Jobs that failed together thus do not come back together.
    """
    full = min(longest_s, base_s * 2.0 ** min(attempt, 30))
    return full * (0.5 + 0.5 * chance)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.3g} s"
