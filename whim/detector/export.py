"""A trained detector for other runtimes: ONNX, checked against the network it came from.

The graph takes pictures (1, 3, H, W), RGB in 0..1, and gives the best cells decoded: ``boxes`` (1, N, 4) xyxy pixels,
``scores`` (1, N), ``sides`` (1, N) 0 left, 1 right, ``keypoints`` (1, N, 21, 3). There is no NMS in it: a network with
a one-to-one head needs none; for others the metadata say at which overlap to drop the weaker of two hands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from whim import __version__
from whim.detector.checkpoint import load_detector
from whim.detector.config import DetectorConfig
from whim.detector.decode import decode_boxes, decode_keypoints
from whim.detector.network.detector import Detector
from whim.detector.network.head import Raw
from whim.errors import WhimError, require
from whim.files import atomic_path, write_text

TOLERANCE_PX = 0.5
"""Boxes and keypoints of the exported graph may differ by so much, scores by a thousandth."""
_NAMES = ("boxes", "scores", "sides", "keypoints")
_OPSET = 17


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how near it is to the network."""

    path: Path
    megabytes: float
    pixels: float
    """Largest difference of boxes and keypoints of cells that both rank alike."""
    scores: float

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "path": str(self.path),
            "megabytes": self.megabytes,
            "pixels": self.pixels,
            "scores": self.scores,
        }

    def render(self) -> str:
        """Text for the terminal."""
        return (
            f"{self.path}: {self.megabytes:.1f} MB; against the network: {self.pixels:.3g} pixels, "
            f"{self.scores:.2g} of score"
        )


class _Graph(nn.Module):
    """The network with its decoding."""

    def __init__(self, model: Detector, config: DetectorConfig, most: int) -> None:
        super().__init__()
        self.model = model
        self.bins = config.network.bins
        self.most = most

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        raw = self.model(pictures).best
        scores, sides = raw.side.sigmoid().max(dim=-1)
        values, cells = scores.topk(self.most, dim=1)
        row = cells[0]
        part = Raw(
            box=raw.box[:, row],
            side=raw.side[:, row],
            keypoints=raw.keypoints[:, row],
            centres=raw.centres[row],
            strides=raw.strides[row],
        )
        return decode_boxes(part, self.bins), values, sides[:, row], decode_keypoints(part)


def export_onnx(
    weights: Path, out: Path, *, height: int = 640, width: int = 640, most: int = 300
) -> ExportReport:
    """Write ``out`` (.onnx) for pictures of one size and compare it with the network on noise.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
        WhimError: the exported graph differs from the network; nothing is written.
        UsageError, BadFileError: as ``load_detector``.
    """
    onnx: Any = require("onnx", extra="annotate")
    ort: Any = require("onnxruntime", extra="annotate")
    model, config, facts = load_detector(weights)
    model = model.to(memory_format=torch.contiguous_format)
    cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    graph = _Graph(model, config, min(most, cells)).eval()
    example = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    with atomic_path(out) as temporary:
        torch.onnx.export(
            graph,
            (example,),
            str(temporary),
            input_names=["pictures"],
            output_names=list(_NAMES),
            opset_version=_OPSET,
            dynamo=False,
        )
        proto = onnx.load(str(temporary))
        for key, value in {
            "whim_version": __version__,
            "config": json.dumps(config.model_dump(mode="json")),
            "classes": json.dumps(["left", "right"]),
            "keypoints": "21, OpenPose order; x, y in pixels of the input, visibility",
            "nms_iou": "none" if model.single_heads is not None else str(config.decode.nms_iou),
            "facts": json.dumps(facts, default=str),
        }.items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.checker.check_model(proto)
        onnx.save(proto, str(temporary))
        session = ort.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        with torch.inference_mode():
            wanted = [value.numpy() for value in _Graph(model, config, cells).eval()(example)]
        found = session.run(list(_NAMES), {"pictures": example.numpy()})
        pixels, scores = _differences(wanted, found)
        if pixels > TOLERANCE_PX or scores > 1e-3:
            raise WhimError(
                f"the exported graph differs from the network: {pixels:.3g} pixels, {scores:.3g} of score"
            )
        size = temporary.stat().st_size / 1e6
    return ExportReport(path=out, megabytes=size, pixels=pixels, scores=scores)


def export_openvino(onnx_file: Path, out: Path) -> Path:
    """An ONNX file of :func:`export_onnx` as OpenVINO's XML and BIN, with weights in half precision.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    openvino: Any = require("openvino", extra="openvino")
    openvino.save_model(openvino.convert_model(str(onnx_file)), str(out))
    return out


TENSORRT = """\
#!/bin/sh
# Builds a TensorRT engine on the machine that will run it: engines fit one GPU and one version of TensorRT.
set -e
trtexec --onnx={onnx} --saveEngine={engine} --fp16 --builderOptimizationLevel=5
"""


def write_tensorrt_script(onnx_file: Path, out: Path) -> Path:
    """A script that builds a TensorRT engine from an ONNX file; never run here, TensorRT needs its GPU."""
    text = TENSORRT.format(onnx=onnx_file.name, engine=onnx_file.with_suffix(".engine").name)
    write_text(out, text)
    out.chmod(0o755)
    return out


def _differences(wanted: list[np.ndarray], found: list[np.ndarray]) -> tuple[float, float]:
    """Largest differences of places and of scores.

    ``wanted`` holds all cells, ``found`` the best. Which of two cells of nearly equal score comes first, or makes it
    into the list at all, is rounding: each found hand is compared with the cell that is nearest to it.
    """
    count = found[1].shape[1]
    scores = float(np.abs(wanted[1][0, :count] - found[1][0]).max())
    everywhere, here = (
        np.concatenate([values[0][0], values[3][0][..., :2].reshape(len(values[0][0]), -1)], axis=1)
        for values in (wanted, found)
    )
    nearest = np.asarray(cKDTree(everywhere).query(here, p=np.inf)[0])
    return float(nearest.max()), scores
