"""Hand boxes: the SSD-MobileNetV2-FPNLite 320 of the npm package ``handtrackjs`` 0.1.5 -> ONNX."""

from __future__ import annotations

from pathlib import Path

from whim.files import atomic_path
from whim.models.convert.emit import Input, Output, to_onnx
from whim.models.convert.tfjs import read_tfjs

SIZE = 320
CLASSES = ("open", "closed", "pinch", "point", "face", "pointtip", "pinchtip")


def convert(model_json: Path, out: Path) -> None:
    """Convert ``models/webmodel/ssd320fpnlite/base/model.json`` (its weight shards lie beside it).

    The ONNX model takes ``image`` (1, 320, 320, 3) float32, RGB scaled to -1..1, and gives, before
    non-maximum suppression, ``scores`` (12804, 7) in the order of ``CLASSES`` and ``boxes`` (12804, 4) as
    y1, x1, y2, x2 in 0..1 of the picture.

    Raises:
        BadFileError: not the expected network.
    """
    top = "StatefulPartitionedCall"
    model = to_onnx(
        read_tfjs(model_json),
        # The cut lies after the network's own resizing loop, before suppression.
        Input(f"{top}/map/TensorArrayV2Stack/TensorListStack", "image", (1, SIZE, SIZE, 3)),
        [
            Output((f"{top}/Postprocessor/Slice",), "scores", len(CLASSES)),
            Output((f"{top}/Postprocessor/ExpandDims_1",), "boxes", 4),
        ],
    )
    with atomic_path(out) as temporary:
        temporary.write_bytes(model)
