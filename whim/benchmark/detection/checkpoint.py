"""A detector trained by `whim train-detector`, as the benchmark runs it. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from whim.benchmark.detection.types import Hands, Image, Subject
from whim.benchmark.machine import device_name
from whim.detector.predict import STRIDE, HandPredictor, letterbox, load, to_input
from whim.errors import UsageError

SIZE = 640
"""Longer side of the input in pixels, unless the row says otherwise."""


def checkpoint_subject(
    path: Path, settings: Mapping[str, Any], *, device: str, least_score: float
) -> Subject:
    """Load weights. ``settings`` may have ``size``, the longer side of the input in pixels.

    Raises:
        UsageError: an unknown setting or device.
        BadFileError: weights that cannot be read.
    """
    if unknown := settings.keys() - {"size"}:
        raise UsageError(f"a checkpoint has no setting {sorted(unknown)[0]!r}; it has size")
    size = int(settings.get("size", SIZE))
    if size < STRIDE:
        raise UsageError(f"size {size} is less than {STRIDE}")
    _check_device(device)
    detector = _Checkpoint(load(path, device=device, size=size), least_score)
    network = detector.predictor.config.network
    # With a one-to-one head the other serves training alone.
    dropped = "heads." if network.one_to_one else "\0"
    weights = dict(detector.predictor.model.named_parameters())
    parameters = sum(value.numel() for name, value in weights.items() if not name.startswith(dropped))
    return Subject(
        detector=detector,
        implementation=f"whim {network.scale}, {network.backbone}, at {size}",
        device=device_name(next(iter(weights.values())).device),
        parameters=parameters,
        size_mb=2 * parameters / 1e6,
        size_note="half precision",
        network=detector.prepared,
    )


def _check_device(name: str) -> None:
    if name == "auto":
        return
    try:
        place = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r}: {error}") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: no such GPU here")


class _Checkpoint:
    def __init__(self, predictor: HandPredictor, least_score: float) -> None:
        self.predictor = predictor
        self._least_score = least_score

    def detect(self, pictures: list[Image]) -> Sequence[Hands]:
        """Hands of each picture, in its pixels."""
        return self.predictor.detect_batch(pictures, least_score=self._least_score)

    def prepared(self, picture: Image) -> Callable[[], object]:
        """A call that runs the network alone, and waits for it."""
        model = self.predictor.model
        place = next(model.parameters()).device
        canvas = letterbox(picture, self.predictor.size)[0]
        batch = to_input(torch.from_numpy(canvas[None]).to(place))

        def run() -> None:
            with torch.inference_mode():
                model(batch)
            if place.type == "cuda":
                torch.cuda.synchronize(place)

        return run
