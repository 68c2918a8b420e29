"""The embedded hand: free of licence conditions, in MANO's shape, made from MakeHuman's CC0 assets.

It has MANO's tree, canonical frame, ten shape coefficients and 778 vertices, so pose and shape vectors have
MANO's layout. Vertex numbers and shape coefficients mean something else than in MANO: the topology tag tells
them apart. Joints and fingertips lie where an image keypoint detector sees them (MediaPipe's convention), and
the first shape coefficient is the size of the hand. There are no pose blend shapes.
``models/build/open_hand.py`` makes the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from whim.hands.model import Floats, HandModel, topology_tag
from whim.resources import read_shipped_arrays, shipped

FORMAT = "whim open hand 1"

_FIELDS = {
    "format", "name", "topology", "licence", "provenance",
    "v_template", "shapedirs", "weight_joint", "weight", "faces", "cap",
    "J_rows", "J_columns", "J_values", "tip_rows", "tip_columns", "tip_values",
}  # fmt: skip


@lru_cache(maxsize=1)
def load_open_hand() -> HandModel:
    """The embedded right hand.

    Raises:
        BadFileError: when the shipped file is damaged.
        UsageError: when the installation lacks it.
    """
    return read_open_hand(shipped("models/open_hand.npz"))


def read_open_hand(path: Path) -> HandModel:
    """Read a file of ``models/build/open_hand.py``, strictly: no other fields, shapes or contents.

    Raises:
        BadFileError: for anything else.
    """
    return read_shipped_arrays(path, _FIELDS, FORMAT, _checked, "an open hand model")


def _checked(fields: Mapping[str, Any]) -> HandModel:
    model = unpack(fields)
    if model.topology != str(fields["topology"]):
        raise ValueError(f"it does not hold the hand it names, {fields['topology']}")
    return model


def unpack(fields: Mapping[str, Any]) -> HandModel:
    """Arrays of a HandModel from the packed ones of the file.

    Raises:
        ValueError: for shapes or numbers that make no hand.
        IndexError: for a vertex or joint number out of range.
    """
    v_template = fields["v_template"].astype(np.float64)
    count = len(v_template)
    shapedirs = fields["shapedirs"].astype(np.float64)
    shapes = {
        "v_template": (count, 3),
        "shapedirs": (count, 3, 10),
        "weight_joint": (count, 4),
        "weight": (count, 4),
    }
    for key, shape in shapes.items():
        if fields[key].shape != shape or not np.isfinite(fields[key]).all():
            raise ValueError(f"{key} must be finite numbers of shape {shape}")
    weights = np.zeros((count, 16))
    np.put_along_axis(weights, fields["weight_joint"].astype(np.int64), fields["weight"] / 255.0, axis=1)
    if not np.allclose(weights.sum(axis=1), 1.0, atol=1e-9):
        raise ValueError("skinning weights do not sum to one")
    faces = fields["faces"].astype(np.int64)
    faces_closed = np.concatenate([faces, fields["cap"].astype(np.int64)])
    if faces_closed.ndim != 2 or faces_closed.shape[1] != 3 or faces_closed.max() >= count:
        raise ValueError("faces do not fit the vertices")
    arrays = {
        "v_template": v_template,
        "shapedirs": shapedirs,
        "weights": weights,
        "J_regressor": _dense(fields, "J", 16, count),
        "tip_regressor": _dense(fields, "tip", 5, count),
        "faces": faces,
    }
    name = str(fields["name"])
    return HandModel(
        name=name,
        topology=topology_tag(name, arrays),
        posedirs=None,
        faces_closed=faces_closed,
        pose_mean=np.zeros((15, 3)),
        **arrays,
    )


def _dense(fields: Mapping[str, Any], name: str, rows: int, columns: int) -> Floats:
    """A regressor from its non-zero entries, every row summing to one."""
    result = np.zeros((rows, columns))
    result[fields[f"{name}_rows"], fields[f"{name}_columns"]] = fields[f"{name}_values"]
    total = result.sum(axis=1, keepdims=True)
    if not np.allclose(total, 1.0, atol=1e-5):
        raise ValueError(f"rows of {name}_values do not sum to one")
    return result / total
