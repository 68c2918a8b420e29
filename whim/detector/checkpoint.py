"""Weights of a detector as two files: tensors in safetensors, everything else as JSON beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from whim import __version__
from whim.detector.config import DetectorConfig
from whim.detector.network.detector import Detector
from whim.errors import BadFileError, UsageError
from whim.files import atomic_path, write_text

FORMAT = "whim detector 1"


def save_detector(path: Path, model: Detector, config: DetectorConfig, facts: dict[str, Any]) -> None:
    """Write ``path`` (.safetensors) and a JSON of the same name; whole or not at all.

    ``facts``: JSON-able, such as the training's recipe and its metrics.
    """
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    record = {
        "format": FORMAT,
        "whim_version": __version__,
        "classes": ["left", "right"],
        "config": config.model_dump(mode="json"),
        "facts": facts,
    }
    # The JSON first: weights never lie there without what explains them.
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    with atomic_path(path) as temporary:
        temporary.write_bytes(to_bytes(tensors))


def load_detector(path: Path) -> tuple[Detector, DetectorConfig, dict[str, Any]]:
    """The network (evaluation mode, on the CPU), its settings, and the facts written with it.

    Raises:
        UsageError: no such file.
        BadFileError: it or its JSON is missing, damaged, or of another format or network.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such weights; `whim train-detector` makes some")
    beside = path.with_suffix(".json")
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
        if record.get("format") != FORMAT:
            raise ValueError(f"format {record.get('format')!r} instead of {FORMAT!r}")
        config = DetectorConfig.model_validate(record["config"])
        tensors = from_bytes(path.read_bytes())
    except (OSError, ValueError, KeyError, ValidationError, SafetensorError) as error:
        raise BadFileError(
            f"{path}: not the weights of a detector, or {beside.name} is missing ({error})"
        ) from error
    model = Detector(config.network)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise BadFileError(
            f"{path}: the weights do not fit the network in {beside.name} ({error})"
        ) from error
    return model.eval().to(memory_format=torch.channels_last), config, record["facts"]
