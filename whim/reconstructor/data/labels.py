"""The hands of pixel shards as arrays: one row per hand, in the order of the pictures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from whim.conventions import Side
from whim.detector.data.pixel_shards import shard_files
from whim.errors import BadFileError, UsageError
from whim.shards.reader import read_file

_FIELDS = (
    "box",
    "side",
    "side_score",
    "score",
    "keypoints_2d",
    "keypoint_scores",
    "joints_3d",
    "mano",
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
    """(N, 21, 2) pixels."""
    joints_3d: NDArray[np.float32]
    """(N, 21, 3) metres, camera axes."""
    global_orient: NDArray[np.float32]
    """(N, 3) axis-angle."""
    hand_pose: NDArray[np.float32]
    """(N, 15, 3)."""
    betas: NDArray[np.float32]
    """(N, 10)."""
    recording: NDArray[np.int64]
    """(N,) number of the recording."""

    def __len__(self) -> int:
        return len(self.picture)

    def __getitem__(self, rows: Any) -> HandLabels:
        return HandLabels(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def read_hands(
    folder: Path, topology: str, *, least_score: float, most_residual: float
) -> tuple[HandLabels, list[str]]:
    """All hands of known side in the shards of ``folder``, and the names of their recordings.

    Parameters of another hand model than ``topology`` are left out (their joints stay), and so is everything in space
    of fits whose residual is above ``most_residual``. About 1 KB of memory per hand.

    Raises:
        UsageError: not one hand.
        BadFileError: no shards, or a damaged one.
    """
    files = shard_files(folder)
    if not files:
        raise BadFileError(
            f"{folder}: no pixel shards here; `whim pack`, `whim import` and `whim synth` write them"
        )
    parts: list[dict[str, np.ndarray]] = []
    names: dict[str, int] = {}
    pictures = 0
    for path in files:
        columns = ["video_id", *(f"hands.list.element.{name}" for name in _FIELDS)]
        table = read_file(path, columns).combine_chunks()
        hands = table["hands"].chunk(0) if table["hands"].num_chunks else pa.array([], table["hands"].type)
        owner = np.repeat(np.arange(len(hands)), np.diff(hands.offsets.to_numpy()))
        videos = np.array(
            [names.setdefault(v, len(names)) for v in table["video_id"].to_pylist()], dtype=np.int64
        )
        flat = dict(zip((f.name for f in hands.type.value_type), hands.flatten().flatten(), strict=True))
        part = _columns(flat, topology, most_residual)
        part |= {"picture": owner + pictures, "recording": videos[owner] if len(owner) else owner}
        scores = flat["score"].to_numpy(zero_copy_only=False)
        kept = (part["side"] != Side.UNKNOWN) & (scores >= least_score) & _area(part["box"])
        parts.append({name: value[kept] for name, value in part.items()})
        pictures += len(hands)
    labels = HandLabels(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    if not len(labels):
        raise UsageError(f"{folder}: not one hand of known side to learn from")
    return labels, list(names)


def _columns(flat: dict[str, Any], topology: str, most_residual: float) -> dict[str, np.ndarray]:
    count = len(flat["side"])
    mano = {f.name: column for f, column in zip(flat["mano"].type, flat["mano"].flatten(), strict=True)}
    keypoints = _filled(flat["keypoints_2d"], count, 21, 2)
    scores = _filled(flat["keypoint_scores"], count, 21)
    keypoints[~np.isfinite(scores)] = np.nan
    residual = flat["fit"].field("residual").to_numpy(zero_copy_only=False).astype(np.float64)
    good = ~(residual > most_residual)  # truth has no residual
    same = np.array([name == topology for name in mano["topology"].to_pylist()], dtype=bool)

    def in_space(column: Any, *shape: int, model: bool) -> np.ndarray:
        values = _filled(column, count, *shape)
        values[~(good & same) if model else ~good] = np.nan
        return values

    return {
        "box": flat["box"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 4).astype(np.float32),
        "side": flat["side"].to_numpy(zero_copy_only=False).astype(np.int64),
        "keypoints_2d": keypoints,
        "joints_3d": in_space(flat["joints_3d"], 21, 3, model=False),
        "global_orient": in_space(mano["global_orient"], 3, model=True),
        "hand_pose": in_space(mano["hand_pose"], 15, 3, model=True),
        "betas": in_space(mano["betas"], 10, model=True),
    }


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
