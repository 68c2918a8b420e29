"""The hands of pixel shards as arrays: one row per hand, in the order of the pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from whim.config import Config
from whim.conventions import Side
from whim.detector.data.pixel_shards import shard_files
from whim.errors import BadFileError, UsageError
from whim.shards.reader import read_file
from whim.shards.rows import Row
from whim.shards.schema import label_schema

_FIELDS = (
    "box",
    "side",
    "side_score",
    "score",
    "keypoints_2d",
    "keypoint_scores",
    "joints_3d",
    "mano",
    "camera",
    "fit",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class HandLabels:
    """N hands; what is not known is NaN."""

    picture: NDArray[np.int64]
    """(N,) number of the picture."""
    box: NDArray[np.float32]
    """(N, 4)."""
    side: NDArray[np.int64]
    """(N,)."""
    keypoints_2d: NDArray[np.float32]
    """(N, 21, 2) pixels; those that nobody saw where a calibrated camera puts their joints in space."""
    joints_3d: NDArray[np.float32]
    """(N, 21, 3) metres, camera axes."""
    global_orient: NDArray[np.float32]
    """(N, 3) axis-angle."""
    hand_pose: NDArray[np.float32]
    """(N, 15, 3)."""
    betas: NDArray[np.float32]
    """(N, 10)."""
    translation: NDArray[np.float32]
    """(N, 3) metres, camera axes: from the hand's own frame to ``joints_3d``."""
    recording: NDArray[np.int64]
    """(N,) number of the recording."""

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, rows: Any) -> HandLabels:
        return HandLabels(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def digest(self) -> str:
        """Short hash of everything in them."""
        found = hashlib.sha256()
        for f in fields(self):
            found.update(np.ascontiguousarray(getattr(self, f.name)).tobytes())
        return found.hexdigest()[:16]

    @staticmethod
    def join(parts: Sequence[HandLabels]) -> HandLabels:
        """All hands of at least one part."""
        names = [f.name for f in fields(HandLabels)]
        return HandLabels(**{n: np.concatenate([getattr(part, n) for part in parts]) for n in names})


class LabelRules(Config):
    """Which hands, and what of them, is believed."""

    least_score: float = Field(default=0.6, ge=0, le=1)
    """Hands with a lower score are left out."""
    most_residual: float = Field(default=0.025, gt=0)
    """Fits with a larger residual teach only their 2D keypoints."""
    least_keypoint_score: float = Field(default=0.3, ge=0, le=1)
    """Keypoints below count as unknown (as in [63])."""
    least_keypoints: int = Field(default=5, ge=1)
    """Hands with fewer known keypoints and nothing in space are left out (as in [63])."""
    largest_beta: float = Field(default=3.0, gt=0)
    """Parameters with a shape coefficient beyond this are not believed (as in [63])."""


def read_hands(folder: Path, topology: str, rules: LabelRules) -> tuple[HandLabels, list[str]]:
    """Hands of known side in the shards of ``folder`` that can teach something, and the names of their recordings.

    Parameters of another hand model than ``topology`` are left out; their joints stay. About 1 KB of memory per hand.

    Raises:
        UsageError: not one hand.
        BadFileError: no shards, or a damaged one.
    """
    files = shard_files(folder)
    if not files:
        raise BadFileError(
            f"{folder}: no pixel shards here; `whim pack`, `whim import` and `whim synth` write them"
        )
    parts: list[HandLabels] = []
    names: dict[str, int] = {}
    pictures = 0
    for path in files:
        columns = ["video_id", *(f"hands.list.element.{name}" for name in _FIELDS)]
        table = read_file(path, columns).combine_chunks()
        hands = table["hands"].chunk(0) if table["hands"].num_chunks else pa.array([], table["hands"].type)
        videos = [names.setdefault(video, len(names)) for video in table["video_id"].to_pylist()]
        parts.append(_labels(hands, np.array(videos, dtype=np.int64), pictures, topology, rules))
        pictures += len(hands)
    labels = HandLabels.join(parts)
    if not len(labels):
        raise UsageError(f"{folder}: not one hand of known side to learn from")
    return labels, list(names)


def hands_of_row(row: Row, topology: str, rules: LabelRules) -> HandLabels:
    """The same of one row of the label schema; possibly none."""
    hands = pa.array([row["hands"]], label_schema().field("hands").type)
    return _labels(hands, np.zeros(1, dtype=np.int64), 0, topology, rules)


def _labels(
    hands: Any, recording: NDArray[np.int64], first: int, topology: str, rules: LabelRules
) -> HandLabels:
    """Hands of the pictures ``first`` and following of these recordings, from the nested column."""
    owner = np.repeat(np.arange(len(hands)), np.diff(hands.offsets.to_numpy()))
    flat = dict(zip((f.name for f in hands.type.value_type), hands.flatten().flatten(), strict=True))
    part = _columns(flat, topology, rules)
    part |= {"picture": owner + first, "recording": recording[owner] if len(owner) else owner}
    scores = flat["score"].to_numpy(zero_copy_only=False)
    kept = (part["side"] != Side.UNKNOWN) & (scores >= rules.least_score) & _area(part["box"])
    kept &= _teaches(part, rules.least_keypoints)
    return HandLabels(**{name: value[kept] for name, value in part.items()})


def _columns(flat: dict[str, Any], topology: str, rules: LabelRules) -> dict[str, np.ndarray]:
    count = len(flat["side"])
    mano = {f.name: column for f, column in zip(flat["mano"].type, flat["mano"].flatten(), strict=True)}
    keypoints = _filled(flat["keypoints_2d"], count, 21, 2)
    scores = _filled(flat["keypoint_scores"], count, 21)
    keypoints[scores < rules.least_keypoint_score] = np.nan  # without scores (NaN) all are labelled
    residual = flat["fit"].field("residual").to_numpy(zero_copy_only=False).astype(np.float64)
    good = ~(residual > rules.most_residual)  # truth has no residual
    same = np.array([name == topology for name in mano["topology"].to_pylist()], dtype=bool)
    betas = _filled(mano["betas"], count, 10)
    same &= ~(np.abs(betas) > rules.largest_beta).any(axis=1)

    def in_space(column: Any, *shape: int, model: bool) -> np.ndarray:
        values = _filled(column, count, *shape)
        values[~(good & same) if model else ~good] = np.nan
        return values

    joints = in_space(flat["joints_3d"], 21, 3, model=False)
    seen = _project(joints, flat["camera"])
    hidden = np.isnan(keypoints)
    keypoints[hidden] = seen[hidden]
    return {
        "box": flat["box"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 4).astype(np.float32),
        "side": flat["side"].to_numpy(zero_copy_only=False).astype(np.int64),
        "keypoints_2d": keypoints,
        "joints_3d": joints,
        "global_orient": in_space(mano["global_orient"], 3, model=True),
        "hand_pose": in_space(mano["hand_pose"], 15, 3, model=True),
        "betas": in_space(mano["betas"], 10, model=True),
        "translation": in_space(mano["translation"], 3, model=True),
    }


def _project(joints: np.ndarray, camera: Any) -> np.ndarray:
    """(N, 21, 2) pixels of joints (N, 21, 3); NaN without a calibrated camera, whose word counts as a label."""
    columns = {f.name: column for f, column in zip(camera.type, camera.flatten(), strict=True)}
    focal, center = (_filled(columns[name], len(joints), 2) for name in ("focal", "center"))
    assumed = columns["assumed"].fill_null(True).to_numpy(zero_copy_only=False).astype(bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = joints[..., :2] / joints[..., 2:] * focal[:, None] + center[:, None]
    pixels[assumed | ~(joints[..., 2] > 0).all(axis=1)] = np.nan
    return pixels


def _teaches(part: dict[str, np.ndarray], least_keypoints: int) -> np.ndarray:
    points = np.isfinite(part["keypoints_2d"]).all(axis=2).sum(axis=1)
    in_space = np.isfinite(part["joints_3d"]).all(axis=(1, 2)) | np.isfinite(part["hand_pose"]).all(
        axis=(1, 2)
    )
    return in_space | (points >= least_keypoints)


def _filled(column: Any, count: int, *shape: int) -> np.ndarray:
    """(count, ...) float32, NaN where the column is null."""
    target = np.full((count, *shape), np.nan, dtype=np.float32)
    given = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    target[given] = values.to_numpy(zero_copy_only=False).reshape(-1, *shape)
    return target


def _area(box: np.ndarray) -> np.ndarray:
    return np.isfinite(box).all(axis=1) & (box[:, 2] > box[:, 0]) & (box[:, 3] > box[:, 1])
