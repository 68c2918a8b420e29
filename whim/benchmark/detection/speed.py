"""Frames per second of one detector, one picture at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from whim.benchmark.detection.config import SpeedConfig
from whim.benchmark.detection.types import Image, Subject


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Median times of a picture; None where not measured."""

    network_ms: float | None
    """The network alone, on a prepared input."""
    all_ms: float | None
    """From the picture as an array to its hands."""
    pictures: int

    @property
    def network_fps(self) -> float | None:
        """Pictures per second of the network alone."""
        return 1e3 / self.network_ms if self.network_ms else None

    @property
    def all_fps(self) -> float | None:
        """Pictures per second from picture to hands."""
        return 1e3 / self.all_ms if self.all_ms else None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**vars(self), "network_fps": self.network_fps, "all_fps": self.all_fps}


def measure_speed(
    subject: Subject,
    images: Sequence[Image],
    config: SpeedConfig,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Time ``subject`` on the pictures in turn, after warming up."""
    if not images or not config.pictures:
        return Speed(network_ms=None, all_ms=None, pictures=0)
    order = [images[index % len(images)] for index in range(config.warm_up + config.pictures)]
    whole = [_timed(partial(subject.detector.detect, [image]), clock) for image in order]
    alone = None
    if subject.network is not None:
        prepare = subject.network
        alone = [_timed(prepare(image), clock) for image in order]
    return Speed(
        network_ms=None if alone is None else _median_ms(alone[config.warm_up :]),
        all_ms=_median_ms(whole[config.warm_up :]),
        pictures=config.pictures,
    )


def _timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def _median_ms(seconds: Sequence[float]) -> float:
    return 1e3 * float(np.median(seconds))
