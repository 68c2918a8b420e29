"""Rows of the table -> detectors ready to be measured. What is heavy is imported inside the functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whim.benchmark.detection.config import RowConfig
from whim.benchmark.detection.types import Found, Image, Subject
from whim.benchmark.machine import processor
from whim.config import load_config
from whim.conventions import HAND_KEYPOINTS
from whim.errors import MissingExtraError, UsageError


def subject(row: RowConfig, device: str) -> Subject:
    """Load the detector of a row.

    Raises:
        UsageError: an unknown detector or setting, no such weights, a package is not installed.
        MissingWeightError: the weights are not in the cache.
        BadFileError: weights that cannot be read.
    """
    if row.checkpoint is not None:
        if not row.checkpoint.is_file():
            recipe = f" --config {row.training}" if row.training else ""
            advice = f"whim train-detector{recipe} --out {row.checkpoint.parent}"
            raise UsageError(f"{row.checkpoint}: no such weights; `{advice}` makes them")
        from whim.benchmark.detection.checkpoint import checkpoint_subject

        return checkpoint_subject(row.checkpoint, row.settings, device=device, least_score=row.least_score)
    if row.detector is not None:
        return _registered(row)
    raise UsageError("nobody has this detector here")


class _Votes:
    """A hand detector of the annotating wing on whole pictures."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def detect(self, pictures: list[Image]) -> Sequence[Found]:
        """Hands of each picture."""
        return [found_of(self._inner.detect(picture)) for picture in pictures]  # type: ignore[attr-defined]


def found_of(votes: Sequence[object]) -> Found:
    """Votes of :mod:`whim.perception.types` as arrays."""
    if not votes:
        return Found.none()
    missing = np.full((len(HAND_KEYPOINTS), 2), np.nan)
    points = [vote.keypoints for vote in votes]  # type: ignore[attr-defined]
    known = any(one is not None for one in points)
    return Found(
        boxes=np.array([vote.box for vote in votes], dtype=np.float64),  # type: ignore[attr-defined]
        side=np.array([int(vote.side) for vote in votes], dtype=np.int64),  # type: ignore[attr-defined]
        score=np.array([vote.score for vote in votes], dtype=np.float64),  # type: ignore[attr-defined]
        keypoints=np.array([missing if one is None else one for one in points]) if known else None,
    )


def _registered(row: RowConfig) -> Subject:
    from whim.models.catalog import weight_path
    from whim.perception.config import HAND_ADAPTERS, HandsConfig
    from whim.perception.registry import adapter, build_hands

    if row.detector not in HAND_ADAPTERS:
        raise UsageError(f"no detector {row.detector!r}; there are {', '.join(HAND_ADAPTERS)}")
    settings = [f"detectors.0.{key}={value}" for key, value in row.settings.items()]
    first = [f"detectors=[{{use: {row.detector}, detector: {row.detector}}}]"]
    config = load_config(HandsConfig, None, [*first, *settings])
    built = build_hands(config)
    (inner,) = built.detectors
    paths = [weight_path(name) for name in adapter(row.detector).weights]
    return Subject(
        detector=_Votes(inner),
        implementation=inner.implementation,
        device=processor(),
        parameters=_parameters(paths),
        size_mb=sum(path.stat().st_size for path in paths) / 1e6,
        size_note="weight file",
        close=built.close,
    )


def _parameters(paths: Sequence[Path]) -> int | None:
    """Numbers in the initialisers of ONNX files; None for other formats."""
    if any(path.suffix != ".onnx" for path in paths):
        return None
    from whim.errors import require

    try:
        onnx = require("onnx", extra="annotate")
    except MissingExtraError:
        return None
    return sum(
        int(np.prod(tensor.dims, dtype=np.int64))
        for path in paths
        for tensor in onnx.load(str(path)).graph.initializer
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    )
