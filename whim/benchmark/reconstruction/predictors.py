"""Rows of a table as objects: predictions that lie in label files, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from whim.benchmark.reconstruction.config import RowConfig, SetConfig
from whim.benchmark.reconstruction.truth import mesh_of
from whim.benchmark.reconstruction.types import Key, Predicted, Reconstructs, View
from whim.errors import UsageError
from whim.geometry import boxes as bx
from whim.hands.model import HandModel
from whim.hands.select import load_hand
from whim.shards import reader
from whim.shards.rows import Row

_COLUMNS = [
    "video_id",
    "frame_index",
    *(f"hands.list.element.{name}" for name in ("box", "side", "joints_3d", "mano")),
]


class LabelPredictions:
    """What a folder of labels or shards says about each picture.

    Hands are matched to the true boxes so that the sum of overlaps is largest; a true hand that overlaps with none, or
    only with one that has no joints, was not found.
    """

    device = ""

    def __init__(self, folder: Path, hand: HandModel) -> None:
        self.implementation = f"labels in {folder}"
        self._hand = hand
        self._rows: dict[Key, list[Row]] = {
            (row["video_id"], row["frame_index"]): row["hands"] for row in reader.iter_rows(folder, _COLUMNS)
        }

    @property
    def keys(self) -> frozenset[Key]:
        """Pictures that were looked at."""
        return frozenset(self._rows)

    def predict(self, views: Sequence[View]) -> list[Predicted]:
        """Hands of each view."""
        return [self._one(view) for view in views]

    def _one(self, view: View) -> Predicted:
        hands = [hand for hand in self._rows.get(view.key, []) if hand["joints_3d"] is not None]
        joints = np.full((len(view.boxes), 21, 3), np.nan)
        meshes = np.full((len(view.boxes), len(self._hand.v_template), 3), np.nan)
        found = True
        if hands and len(view.boxes):
            overlap = bx.iou([hand["box"] for hand in hands], view.boxes)
            for mine, true in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
                if overlap[mine, true] <= 0:
                    continue
                joints[true] = hands[mine]["joints_3d"]
                mesh = mesh_of(hands[mine], self._hand)
                found &= mesh is not None
                if mesh is not None:
                    meshes[true] = mesh
        return Predicted(joints=joints, vertices=meshes if found else None, topology=self._hand.topology)


def reconstructor(
    row: RowConfig, where: SetConfig, device: str, given: Mapping[str, Reconstructs]
) -> Reconstructs:
    """What runs for a row.

    Raises:
        UsageError: nothing to run, or files that are not there; the message says what would make them.
        BadFileError: damaged ones.
    """
    if row.name in given:
        return given[row.name]
    if row.labels is not None:
        return LabelPredictions(row.labels, load_hand(row.hand))
    if row.checkpoint is None:
        raise UsageError("printed in the paper; no weights or predictions of it are given here")
    if not row.checkpoint.is_file():
        how = (
            ""
            if row.training is None
            else f"; make it with: whim train-reconstructor --config {row.training}"
        )
        raise UsageError(f"{row.checkpoint}: no such file{how}")
    from whim.benchmark.reconstruction.checkpoint import Checkpoint

    return Checkpoint(row.checkpoint, load_hand(row.hand), where, device=device)
