"""The configured sets -> what is trained on and what is validated on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whim.detector.data.config import LabelConfig, SetConfig
from whim.detector.data.records import RecordSet
from whim.detector.data.sources import open_set, training_part, validation_part
from whim.detector.training.recipe import DataConfig
from whim.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Data:
    """Pictures of a run."""

    train: list[RecordSet]
    weights: list[float]
    validate: list[RecordSet]

    def facts(self) -> dict[str, Any]:
        """What goes into the run folder and the recipe: numbers, and marks that change with the content."""
        return {
            "train": [_facts(one) for one in self.train],
            "validate": [_facts(one) for one in self.validate],
        }

    def describe(self) -> list[str]:
        """Lines for the terminal."""
        return [
            f"{kind} {one.name}: {len(one)} pictures, {len(one.recordings)} recordings"
            for kind, sets in (("train on", self.train), ("validate on", self.validate))
            for one in sets
        ]


def open_data(
    config: DataConfig, *, seed: int, videos: Path | None = None, say: Callable[[str], None] = print
) -> Data:
    """Open every set. Without ``validate_on``, whole recordings of each training set that has several are held out.

    Raises:
        UsageError: nothing to train or to validate on.
        BadFileError: a damaged source.
    """
    if not config.train:
        raise UsageError("data.train names no set")
    opened = [_open(one, config.labels, videos, say) for one in config.train]
    train = [training_part(one, settings, seed) for one, settings in zip(opened, config.train, strict=True)]
    if config.validate_on:
        held = [
            validation_part(_open(one, config.labels, videos, say), one, seed) for one in config.validate_on
        ]
    else:
        held = []
        for row, one in enumerate(train):
            if len(one.recordings) > 1:
                train[row], part = one.split_off(config.held_out)
                held.append(part)
        if not held:
            names = ", ".join(one.name for one in train)
            raise UsageError(
                f"{names}: a single recording cannot be split into training and validation; name a set to validate "
                "on: --set 'data.validate_on=[{path: FOLDER}]'"
            )
    if not any(_hands(one) for one in held):
        raise UsageError("there is not one hand in the pictures to validate on")
    return Data(train=train, weights=[one.weight for one in config.train], validate=held)


def _open(
    settings: SetConfig, labels: LabelConfig, videos: Path | None, say: Callable[[str], None]
) -> RecordSet:
    return open_set(settings, labels, videos=videos, say=say)


def _hands(pictures: RecordSet) -> int:
    first = pictures.records.first
    return int((first[pictures.rows + 1] - first[pictures.rows]).sum())


def _facts(pictures: RecordSet) -> dict[str, Any]:
    records, rows = pictures.records, pictures.rows
    first = records.first
    which = np.concatenate(
        [np.arange(first[r], first[r + 1]) for r in rows[:20_000]] or [np.zeros(0, np.int64)]
    )
    digest = hashlib.sha256()
    digest.update(json.dumps(pictures.recordings).encode())
    for column in (
        records.size[rows],
        records.frame[rows],
        first[rows + 1] - first[rows],
        records.boxes[which],
    ):
        digest.update(np.ascontiguousarray(column).tobytes())
    return {
        "pictures": len(pictures),
        "hands": _hands(pictures),
        "recordings": len(pictures.recordings),
        "digest": digest.hexdigest()[:16],
    }
