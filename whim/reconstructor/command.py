"""``whim predict --mesh``: meshes over the pictures, as files, and their parameters as label rows."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from whim import __version__
from whim.conventions import Side
from whim.detector.detections import Detections
from whim.detector.predict import Image
from whim.exporters.meshes import write_glb, write_obj
from whim.hands.model import HandModel
from whim.reconstructor.predict import HandReconstructor, Hands, own_sides
from whim.render.choose import open_renderer
from whim.render.compose import overlay
from whim.render.hand import hand_mesh
from whim.render.types import Camera, Mesh
from whim.shards.reader import SEGMENTS
from whim.shards.rows import NO_FIT, Row
from whim.shards.writer import write_labels
from whim.sources.video.hashing import difference_hash
from whim.viz.overlay import SIDE_COLOURS


class MeshWatcher:
    """Reconstructs every hand that the detector finds.

    Writes a mesh file for each picture (of a video only the frames asked for) and, at the end, one label file per
    source under ``labels/``, which ``whim view`` and everything else reads.
    """

    def __init__(
        self, stack: HandReconstructor, out: Path, *, form: str = "glb", focal: float | None = None
    ) -> None:
        self._stack = stack
        self._out = out
        self._form = form
        self._focal = focal
        self._renderer = open_renderer()
        self._rows: dict[str, list[Row]] = defaultdict(list)

    def see(self, name: str, picture: Image, found: Detections, frame: int | None) -> Image:
        """The picture with meshes over it."""
        hands = self._stack.of_detections(picture, found, focal=self._focal)
        meshes = meshes_of(hands, self._stack.hand)
        if meshes and frame is None and self._form != "none":
            target = self._out / Path(name).with_suffix(f".{self._form}")
            target.parent.mkdir(parents=True, exist_ok=True)
            names = [f"{side.name.lower()}_{index}" for index, side in enumerate(own_sides(found))]
            (write_glb if self._form == "glb" else write_obj)(target, meshes, names)
        self._rows[name].append(_row(name, picture, hands, frame or 0, assumed=self._focal is None))
        if not meshes:
            return picture
        height, width = picture.shape[:2]
        camera = Camera.from_label(hands.focal, (width / 2, height / 2), width, height)
        return overlay(picture, meshes, camera, renderer=self._renderer)

    def close(self) -> None:
        """Write the label files."""
        for name, rows in self._rows.items():
            video = rows[0]["video_id"]
            record: dict[str, Any] = {
                "whim_version": __version__,
                "maker": "whim predict --mesh",
                "source": Path(name).name,
                "topology": self._stack.hand.topology,
            }
            write_labels(self._out / "labels" / SEGMENTS / video / "00000.parquet", rows, record)


def meshes_of(hands: Hands, model: HandModel) -> list[Mesh]:
    """Meshes in the picture's camera, in the colours of their sides."""
    return [
        hand_mesh(
            model,
            hands.betas[row],
            hands.hand_pose[row],
            hands.global_orient[row],
            hands.translation[row],
            side,
            np.asarray(SIDE_COLOURS[side]) / 255.0,
            label=row + 1,
        )
        for row, side in enumerate(own_sides(hands.detections))
    ]


def _row(name: str, picture: Image, hands: Hands, frame: int, *, assumed: bool) -> Row:
    height, width = picture.shape[:2]
    found = hands.detections
    return {
        "video_id": name.replace("/", "__").rsplit(".", 1)[0],
        "split": "",
        "frame_index": frame,
        "time_s": float(frame),
        "width": width,
        "height": height,
        "picture_hash": difference_hash(picture),
        "persons": [],
        "hands": [
            {
                "box": found.boxes[row].tolist(),
                "side": int(side),
                "side_score": float(found.score[row]) if found.side[row] != Side.UNKNOWN else 0.0,
                "score": float(found.score[row]),
                "keypoints_2d": hands.keypoints_2d[row].tolist(),
                "keypoint_scores": [float(found.score[row])] * 21,
                "person": -1,
                "votes": [],
                "agreement": 1.0,
                **NO_FIT,
                "joints_3d": hands.joints_3d[row].tolist(),
                "mano": {
                    "global_orient": hands.global_orient[row].tolist(),
                    "hand_pose": hands.hand_pose[row].tolist(),
                    "betas": hands.betas[row].tolist(),
                    "translation": hands.translation[row].tolist(),
                    "topology": hands.topology,
                },
                "camera": {
                    "focal": [hands.focal] * 2,
                    "center": [width / 2, height / 2],
                    "assumed": assumed,
                },
            }
            for row, side in enumerate(own_sides(found))
        ],
    }
