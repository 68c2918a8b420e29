"""Detectors that find the bright square of the generated videos: the whole pipeline without weights."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from whim.annotate.config import PipelineConfig
from whim.annotate.executors import Outcome, attempt
from whim.annotate.frame import Detectors
from whim.annotate.segment import Task
from whim.config import load_config
from whim.conventions import Side
from whim.errors import MissingWeightError
from whim.perception.registry import BuiltHands, BuiltPeople
from whim.perception.types import HandVote, Image, Person
from whim.resources import shipped


class SquareHands:
    """Votes for the yellow square, as a left hand."""

    implementation = "test/square"
    weights = ()

    def __init__(self, detector: str) -> None:
        self.detector = detector

    def detect(self, image: Image) -> list[HandVote]:
        rows, columns = np.nonzero((image[..., 0] > 180) & (image[..., 2] < 120))
        if not len(rows):
            return []
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)
        return [
            HandVote(
                box=box,
                score=0.9,
                detector=self.detector,
                implementation=self.implementation,
                side=Side.LEFT,
                side_score=0.8,
            )
        ]

    def close(self) -> None:
        pass


class Nobody:
    """Finds no people."""

    detector = "vitpose"
    implementation = "test/nobody"
    weights = ()

    def detect(self, image: Image) -> list[Person]:
        return []

    def close(self) -> None:
        pass


def detectors() -> Detectors:
    hands = (SquareHands("mediapipe"), SquareHands("contacthands"))
    return Detectors(
        people=BuiltPeople((Nobody(),)),
        hands=BuiltHands(hands, (("frame",),) * 2, {"mediapipe": 1.0, "contacthands": 1.0}),
    )


def config(*overrides: str) -> PipelineConfig:
    return load_config(
        PipelineConfig, shipped("pipelines/embedded.yaml"), ["sampling.duplicate_distance=-1", *overrides]
    )


class SquareExecutor:
    """In-process executor with square detectors; ``trouble`` maps a task key to what happens instead."""

    def __init__(self, settings: PipelineConfig, trouble: dict[str, list[str]] | None = None) -> None:
        self.settings = settings
        self.trouble = trouble or {}
        self.seen: list[str] = []
        self.closed = False

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        loaded = detectors()
        for task in tasks:
            self.seen.append(task.key)
            if planned := self.trouble.get(task.key):
                yield Outcome(task=task, reason=planned.pop(0), detail="as planned by the test")
            else:
                yield attempt(task, loaded, self.settings)

    def close(self) -> None:
        self.closed = True


def slow_annotate_forever(videos: Path, out: Path) -> None:
    """For kill tests, run in a process of its own: annotate with a pause after each segment."""
    from whim.annotate.run import annotate

    class Slow(SquareExecutor):
        def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
            for outcome in super().run(tasks):
                yield outcome
                print(outcome.task.key, flush=True)
                time.sleep(0.15)

    settings = config("segments.length_s=1")
    annotate([videos], out=out, config=settings, executor=lambda workers: Slow(settings))
    os._exit(0)


class Treacherous(SquareHands):
    """Kills its process on pictures 176 wide, hangs on pictures 192 wide."""

    def detect(self, image: Image) -> list[HandVote]:
        if image.shape[1] == 176:
            os._exit(1)
        if image.shape[1] == 192:
            time.sleep(600)
        return super().detect(image)


def treacherous(settings: PipelineConfig) -> Detectors:
    return Detectors(
        people=BuiltPeople((Nobody(),)),
        hands=BuiltHands((Treacherous("mediapipe"),), (("frame",),), {"mediapipe": 1.0}),
    )


def unloadable(settings: PipelineConfig) -> Detectors:
    raise MissingWeightError("no weights here; run: whim models pull")
