"""Label schema, version 1: the contract between what makes labels and what reads them.

One row per sampled frame, hands nested. No pixels (``whim pack`` adds them). Units, orders and side
convention stand in the metadata of each field, so that a file explains itself.

Shapes: what is always there is a nested fixed-size list, whose length Arrow checks. What may be null
(keypoints, the fit) is a plain list at its outermost level, because pyarrow before 26 writes null
fixed-size lists but cannot read them (apache/arrow issue 35692); its length stands in the metadata as
``shape``, and the writer checks it. Both load in Hugging Face ``datasets`` without a cast.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

FORMAT_VERSION = 1

KEY_VERSION = b"whim.format_version"
KEY_LINEAGE = b"whim.lineage"
KEY_HUGGINGFACE = b"huggingface"
KEY_SHAPE = b"shape"
"""Field metadata: required lengths, outermost first, as ``21,2``."""


def _list(item: pa.DataType, *shape: int) -> pa.DataType:
    """Nested fixed-size list: ``_list(float32, 21, 2)`` is 21 pairs."""
    for length in reversed(shape):
        item = pa.list_(pa.field("item", item, nullable=False), length)
    return item


def _field(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def _checked(name: str, shape: tuple[int, ...], doc: str, *, nullable: bool = False) -> pa.Field:
    """float32 field of a shape that may be null, or lies in a struct that may be."""
    item = pa.field("item", _list(pa.float32(), *shape[1:]), nullable=False)
    metadata = {b"doc": doc.encode(), KEY_SHAPE: ",".join(map(str, shape)).encode()}
    return pa.field(name, pa.list_(item), nullable=nullable, metadata=metadata)


_BOX = _list(pa.float32(), 4)
_BOX_DOC = "x1, y1, x2, y2; pixels of the upright frame at width x height; 0-based; x2, y2 are the far edge"
_SIDE_DOC = "anatomical: 0 left, 1 right, -1 unknown; never mirrored"
_KEYPOINTS_DOC = (
    "x, y in pixels; OpenPose order: wrist, then thumb, index, middle, ring, little, each base to tip"
)
_DETECTOR_DOC = "system of the paper whose place this fills"
_IMPLEMENTATION_DOC = "network that really ran"

PERSON = pa.struct(
    [
        _field("box", _BOX, _BOX_DOC),
        _field("score", pa.float32(), "confidence 0..1"),
        _field("detector", pa.string(), _DETECTOR_DOC),
        _field("implementation", pa.string(), _IMPLEMENTATION_DOC),
    ]
)

VOTE = pa.struct(
    [
        _field("box", _BOX, _BOX_DOC),
        _field("score", pa.float32(), "confidence 0..1: P(b|d) of eq. 1"),
        _field("side", pa.int8(), _SIDE_DOC),
        _field("side_score", pa.float32(), "confidence of the side, 0..1"),
        _field("detector", pa.string(), _DETECTOR_DOC),
        _field("implementation", pa.string(), _IMPLEMENTATION_DOC),
        _field("person", pa.int16(), "row of `persons` whose crop was searched; -1: whole frame"),
    ]
)

MANO = pa.struct(
    [
        _checked("global_orient", (3,), "axis-angle, radians, camera axes (OpenCV)"),
        _checked("hand_pose", (15, 3), "axis-angle, radians, MANO joint order, mean pose added"),
        _checked("betas", (10,), "shape coefficients of the model named by `topology`"),
        _checked("translation", (3,), "metres, camera axes"),
        _field("topology", pa.string(), "hand model that these parameters belong to"),
    ]
)

CAMERA = pa.struct(
    [
        _checked("focal", (2,), "fx, fy in pixels"),
        _checked("center", (2,), "cx, cy in pixels"),
        _field("assumed", pa.bool_(), "true when the focal length is an assumption, not a calibration"),
    ]
)

FIT = pa.struct(
    [
        _field("residual", pa.float32(), "mean reprojection error relative to the longer box side"),
        _field("violation", pa.float32(), "largest excess over the joint-angle limits, radians"),
        _field("converged", pa.bool_(), "the solver's own verdict"),
        _field("solver", pa.string(), "solver/number of the start that won"),
    ]
)

HAND = pa.struct(
    [
        _field("box", _BOX, f"fused by eq. 1; {_BOX_DOC}"),
        _field("side", pa.int8(), _SIDE_DOC),
        _field("side_score", pa.float32(), "probability of the side, from votes, arm and track; 0..1"),
        _field("score", pa.float32(), "confidence 0..1 of the fused hand"),
        _checked("keypoints_2d", (21, 2), _KEYPOINTS_DOC, nullable=True),
        _checked("keypoint_scores", (21,), "confidence 0..1 per keypoint", nullable=True),
        _field("person", pa.int16(), "row of `persons`; -1: none"),
        _field(
            "votes", pa.list_(pa.field("item", VOTE, nullable=False)), "every detector's vote for this hand"
        ),
        _field(
            "agreement",
            pa.float32(),
            "0..1: mean IoU of the votes with the fused box x share of detectors that voted",
        ),
        _checked("joints_3d", (21, 3), "metres, camera axes (OpenCV), OpenPose order", nullable=True),
        _field("mano", MANO, "fitted hand parameters", nullable=True),
        _field("camera", CAMERA, "camera that the fit used", nullable=True),
        _field("fit", FIT, "quality of the fit", nullable=True),
    ]
)

_COLUMNS = [
    _field("video_id", pa.string(), "manifest key of the video"),
    _field("split", pa.string(), "train, test, or empty"),
    _field("frame_index", pa.int32(), "index among the decoded frames of the source video, from 0"),
    _field("time_s", pa.float64(), "presentation time in seconds since the first frame"),
    _field("width", pa.int32(), "pixels of the upright frame"),
    _field("height", pa.int32(), "pixels of the upright frame"),
    _field("picture_hash", pa.uint64(), "64-bit difference hash of the frame"),
    _field(
        "persons",
        pa.list_(pa.field("item", PERSON, nullable=False)),
        "people kept by the pipeline's threshold",
    ),
    _field("hands", pa.list_(pa.field("item", HAND, nullable=False)), "fused hands, best score first"),
]

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def label_schema(lineage: dict[str, Any] | None = None) -> pa.Schema:
    """Schema of a label file; ``lineage`` (JSON-able) records what made it."""
    return _with_metadata(pa.schema(_COLUMNS), lineage)


def pixel_schema(lineage: dict[str, Any] | None = None) -> pa.Schema:
    """Schema of a pixel shard: the label columns after ``image``, a struct of JPEG bytes and path."""
    return _with_metadata(pa.schema([pa.field("image", IMAGE), *_COLUMNS]), lineage)


def _with_metadata(schema: pa.Schema, lineage: dict[str, Any] | None) -> pa.Schema:
    features = {
        field.name: {"_type": "Image"} if field.type == IMAGE else _feature(field.type) for field in schema
    }
    return schema.with_metadata(
        {
            KEY_VERSION: str(FORMAT_VERSION),
            KEY_LINEAGE: json.dumps(lineage or {}, sort_keys=True),
            KEY_HUGGINGFACE: json.dumps({"info": {"features": features}}),
        }
    )


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """Hugging Face ``datasets`` feature of an Arrow type."""
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
