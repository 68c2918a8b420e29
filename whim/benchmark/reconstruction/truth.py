"""Test pictures and their true hands: shards, and the challenge's own files where they are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whim.benchmark.reconstruction.config import SetConfig
from whim.benchmark.reconstruction.types import Key, View, same_mesh
from whim.conventions import HAND_KEYPOINTS, Side
from whim.errors import BadFileError, UsageError
from whim.geometry.procrustes import Floats
from whim.hands import kinematics
from whim.hands.model import HandModel
from whim.hands.select import load_hand
from whim.importers.freihand import SPLITS as FREIHAND_SPLITS
from whim.importers.ho3d import frame_list
from whim.importers.types import clean
from whim.metrics.submission import Challenge, from_challenge, mesh_swap, stream_list
from whim.shards import reader
from whim.shards.ensure import ensure_pixels, is_labels
from whim.shards.rows import Row

MANO = "mano"
"""Topology of the challenges' meshes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Official:
    """Truth in the order of submissions."""

    order: dict[Key, int]
    """Picture -> place in the files."""
    joints: Floats
    """(N, 21, 3) metres, OpenPose order, OpenCV axes."""
    vertices: NDArray[np.float32] | None
    """(N, 778, 3), or None without the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePicture:
    """What is shown, and what is true."""

    view: View
    joints: Floats
    """(M, 21, 3)"""
    vertices: list[Floats | None]
    """M times (V, 3)."""
    topology: str
    place: int | None
    """In the challenge's files."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrueSet:
    """A set whose pictures are read as they are needed."""

    config: SetConfig
    shards: Path
    keys: frozenset[Key]
    total: int
    """Pictures of the set and splits before any limit."""
    licences: tuple[str, ...]
    official: Official | None
    hand: HandModel | None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def whole(self) -> bool:
        """Whether every picture of the challenge is here."""
        return self.official is not None and self.official.order.keys() <= self.keys

    def pictures(self) -> Iterator[TruePicture]:
        """Those with a true hand, in the order of the shards."""
        for row in reader.iter_rows(self.shards):
            if (row["video_id"], row["frame_index"]) in self.keys:
                one = self._picture(row)
                if len(one.joints):
                    yield one

    def _picture(self, row: Row) -> TruePicture:
        key = (row["video_id"], row["frame_index"])
        place = None if self.official is None else self.official.order.get(key)
        if self.official is not None and place is not None:
            hands = row["hands"][:1]
            if not hands:  # an evaluation part imported without truth or box
                raise BadFileError(f"{key[0]}/{key[1]}: no hand in the shards; import the set again")
            joints = self.official.joints[place][None]
            skin = self.official.vertices
            meshes: list[Floats | None] = [None if skin is None else skin[place].astype(np.float64)]
            topology = MANO
        else:
            hands = [hand for hand in row["hands"] if hand["joints_3d"] is not None]
            joints = np.array([hand["joints_3d"] for hand in hands]).reshape(-1, len(HAND_KEYPOINTS), 3)
            meshes = [mesh_of(hand, self.hand) for hand in hands]
            topology = "" if self.hand is None else self.hand.topology
        camera = next((hand["camera"] for hand in hands if hand["camera"]), None)
        view = View(
            key=key,
            data=row["image"]["bytes"],
            width=row["width"],
            height=row["height"],
            boxes=np.array([hand["box"] for hand in hands], dtype=np.float64).reshape(-1, 4),
            side=np.array([hand["side"] for hand in hands], dtype=np.int64),
            focal=None if camera is None else (camera["focal"][0], camera["focal"][1]),
            center=None if camera is None else (camera["center"][0], camera["center"][1]),
        )
        return TruePicture(view=view, joints=joints, vertices=meshes, topology=topology, place=place)


def open_set(config: SetConfig, limit: int | None) -> TrueSet:
    """Find shards and truth; with ``limit`` so many pictures, spread over the set.

    Raises:
        BadFileError: no shards there, or files that are not what they should be.
        UsageError: none of the wanted pictures.
    """
    shards = ensure_pixels(config.path) if is_labels(config.path) else config.path
    licences = sorted(
        {str(reader.lineage(path).get("licence") or "") for path in reader.some_files(shards)} - {""}
    )
    official = None
    if config.official is not None and config.challenge is not None:
        official = read_official(config.official, config.challenge)
    found: list[Key] = []
    splits = set()
    for row in reader.read_table(shards, ["video_id", "frame_index", "split"]).to_pylist():
        splits.add(row["split"])
        key = (row["video_id"], row["frame_index"])
        if (not config.splits or row["split"] in config.splits) and (
            official is None or key in official.order
        ):
            found.append(key)
    if not found:
        there = ", ".join(repr(split) for split in sorted(splits)) or "nothing"
        raise UsageError(
            f"{config.path}: no pictures of {' or '.join(config.splits) or 'any split'}"
            f"{' that the official files know' if official else ''}; there is {there}"
        )
    total = len(found)
    if limit is not None and limit < total:
        found = [found[index] for index in np.linspace(0, total - 1, limit).round().astype(int)]
    return TrueSet(
        config=config,
        shards=shards,
        keys=frozenset(found),
        total=total,
        licences=tuple(licences),
        official=official,
        hand=None if config.hand is None else load_hand(config.hand),
    )


def read_official(folder: Path, challenge: Challenge) -> Official:
    """Truth of a challenge's evaluation part.

    Raises:
        BadFileError: no ``evaluation_xyz.json`` there, or lists that do not fit together.
    """
    path = folder / "evaluation_xyz.json"
    joints = _points(path, len(HAND_KEYPOINTS))
    if challenge == "freihand":
        order: dict[Key, int] = {(FREIHAND_SPLITS["test"], place): place for place in range(len(joints))}
    else:
        frames = frame_list(folder, "evaluation")
        order = {(clean(sequence), int(number)): place for place, (sequence, number) in enumerate(frames)}
    if len(order) != len(joints):
        raise BadFileError(f"{path}: {len(joints)} hands for {len(order)} pictures")
    mesh = folder / "evaluation_verts.json"
    vertices = _points(mesh, None) if mesh.is_file() else None
    if vertices is not None and len(vertices) != len(joints):
        raise BadFileError(f"{mesh}: {len(vertices)} meshes for {len(joints)} hands")
    return Official(
        order=order,
        joints=from_challenge(joints, challenge),
        vertices=None if vertices is None else mesh_swap(vertices, challenge).astype(np.float32),
    )


def mesh_of(hand: Row, model: HandModel | None) -> Floats | None:
    """Mesh (V, 3) of a label's parameters; None without parameters of this model, or without a side."""
    mano: dict[str, Any] | None = hand["mano"]
    if model is None or mano is None or not same_mesh(mano["topology"], model.topology):
        return None
    if hand["side"] == Side.UNKNOWN:
        return None
    betas, pose, orient, moved = (
        np.array(mano[name])[None] for name in ("betas", "hand_pose", "global_orient", "translation")
    )
    return kinematics.vertices(model, betas, pose, orient, moved, side=Side(hand["side"]))[0]


def _points(path: Path, count: int | None) -> NDArray[np.float32]:
    """(N, K, 3) of a json list; ``count``: K."""
    try:
        entries = [np.asarray(entry, dtype=np.float32) for entry in stream_list(path)]
        points = np.stack(entries)
        if points.ndim != 3 or points.shape[2] != 3 or count not in (None, points.shape[1]):
            raise ValueError(f"points of the shape {points.shape}")
    except (ValueError, TypeError) as error:
        raise BadFileError(f"{path}: not a list of hands ({error})") from error
    return points
