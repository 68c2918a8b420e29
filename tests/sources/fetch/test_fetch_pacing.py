"""Spacing, pauses and back-off on a clock that does not tick by itself."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whim.sources.fetch.pacing import Cancelled, Pacer, backoff


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def test_starts_keep_their_distance() -> None:
    clock = Clock()
    pacer = Pacer(spacing_s=12, clock=clock, wait=clock.wait)
    starts = []
    for work in (0, 5, 30, 0):
        pacer.start()
        starts.append(clock.now)
        clock.now += work
    assert starts == [100, 112, 124, 154]


def test_a_pause_holds_everyone_and_is_told_once() -> None:
    clock, told = Clock(), []
    pacer = Pacer(clock=clock, wait=clock.wait, say=told.append)
    pacer.pause(900, "a: HTTP 429")
    clock.now += 1
    pacer.pause(900, "b: HTTP 429")  # the other job ran into the same limit
    pacer.pause(10, "c: HTTP 429")  # never shortened
    pacer.start()
    assert clock.now == 1001
    assert told == ["a: HTTP 429: all downloads pause for 15 min, then go on"]
    pacer.start()
    assert clock.now == 1001


def test_a_pause_that_grows_while_waiting() -> None:
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.wait(seconds)
        if len(clock.waits) == 1:
            pacer.pause(50, "again")

    pacer = Pacer(clock=clock, wait=wait)
    pacer.pause(20, "first")
    pacer.start()
    assert clock.waits == [20, 50]


def test_a_stop_ends_every_wait() -> None:
    stop = threading.Event()
    pacer = Pacer(stop=stop, spacing_s=3600)
    pacer.start()
    ended = []

    def blocked(call: str) -> None:
        with pytest.raises(Cancelled):
            pacer.start() if call == "start" else pacer.sleep(3600)
        ended.append(call)

    threads = [threading.Thread(target=blocked, args=(call,)) for call in ("start", "sleep")]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join(timeout=5)
    assert sorted(ended) == ["sleep", "start"]
    with pytest.raises(Cancelled):
        pacer.sleep(0)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_bounded_and_half_random(attempt: int, chance: float) -> None:
    wait = backoff(attempt, base_s=2, longest_s=60, chance=chance)
    full = min(60, 2 * 2.0 ** min(attempt, 30))
    assert full / 2 <= wait <= full
