"""The user's own MANO: ``MANO_RIGHT.pkl`` as a HandModel.

MANO's licence forbids passing it on, so WHIM never ships, uploads or copies it into outputs. The file is read
once (``whim.hands.unpickle``: no chumpy, no code) and kept as arrays in the user's cache, readable by the
user alone.

Only the right hand is used; left hands are its mirror image. The published ``MANO_LEFT.pkl`` has the sign of
its first shape component wrong in x (smplx issue 48), so that two files would disagree about the same person;
``check_mano_left`` shows it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whim.errors import BadFileError, UsageError
from whim.files import atomic_path, sha256
from whim.hands.mirror import POINT_SIGNS, mirror_points
from whim.hands.model import PARENTS, Floats, HandModel, Ints, topology_tag
from whim.hands.unpickle import load_pickle
from whim.resources import cache_dir

# Fingertip vertices of MANO's mesh, thumb to little finger, as in smplx, HaMeR and WiLoR. (FreiHAND: 744,
# 320, 443, 555, 672; manopth and DexYCB: 745, 317, 444, 556, 673.)
TIP_VERTICES: tuple[int, ...] = (744, 320, 443, 554, 671)

_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "kintree_table": (2, 16),
    "f": (1538, 3),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}
_OTHER_BODIES = {6890: "SMPL or SMPL-H", 10475: "SMPL-X", 5023: "FLAME"}
_HOW = "give MANO_RIGHT.pkl of mano_v1_2 from https://mano.is.tue.mpg.de"


@dataclass(frozen=True)
class LeftCheck:
    """How far a left-hand file is from the mirrored right hand."""

    template_m: float
    """Largest distance of rest vertices, metres."""
    shapedirs: float
    """Largest difference of shape directions, metres per unit."""
    first_shape_sign_wrong: bool
    """Whether negating the first component's x brings it nearer to the mirrored right hand (smplx issue
    48)."""


def load_mano(path: str | Path) -> HandModel:
    """The right hand of a MANO file.

    Raises:
        UsageError: when there is no such file.
        UnsafePickleError: when the file asks for code to be run.
        BadFileError: when it is no MANO right hand; the message says what it is instead.
    """
    arrays = _arrays(Path(path))
    if _is_left(arrays):
        raise BadFileError(
            f"{path} is the left hand: {_HOW}. WHIM mirrors the right hand, because the shape directions of "
            "the published left hand have a wrong sign"
        )
    tip_regressor = np.zeros((5, 778))
    tip_regressor[np.arange(5), TIP_VERTICES] = 1.0
    faces = arrays["f"].astype(np.int64)
    fields: dict[str, Any] = {
        **{key: arrays[key] for key in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor")},
        "tip_regressor": tip_regressor,
        "faces": faces,
    }
    return HandModel(
        name="mano",
        topology=topology_tag("mano", fields),
        faces_closed=_closed(faces),
        pose_mean=arrays["hands_mean"].reshape(15, 3),
        **fields,
    )


def pose_from_pca(path: str | Path, coefficients: ArrayLike, *, flat_hand_mean: bool = False) -> Floats:
    """Hand poses (B, 15, 3) in WHIM's sense from MANO's principal components (B, n), n <= 45.

    Args:
        path: the MANO file; its components and mean pose are part of it, not of WHIM.
        coefficients: of the first n components, as MANO, HOT3D or DexYCB give them.
        flat_hand_mean: True when they are relative to a flat hand instead of the mean pose (smplx's
        argument).

    Raises: as ``load_mano``; ValueError for another shape.
    """
    numbers = np.asarray(coefficients, dtype=np.float64)
    if numbers.ndim != 2 or numbers.shape[1] > 45:
        raise ValueError(f"coefficients must have the shape (B, n) with n <= 45, not {numbers.shape}")
    arrays = _arrays(Path(path))
    pose = numbers @ arrays["hands_components"][: numbers.shape[1]]
    if not flat_hand_mean:
        pose = pose + arrays["hands_mean"]
    return pose.reshape(-1, 15, 3)


def check_mano_left(path: str | Path, right: HandModel) -> LeftCheck:
    """Compare a left-hand file with the mirror image of the right hand. WHIM does not use the file for
    anything else.

    Raises: as ``load_mano``; BadFileError when it is not a left hand.
    """
    arrays = _arrays(Path(path))
    if not _is_left(arrays):
        raise BadFileError(f"{path} is not a left hand")
    mirrored = right.shapedirs * np.array(POINT_SIGNS)[:, None]
    difference = np.abs(arrays["shapedirs"] - mirrored)
    negated = np.abs(arrays["shapedirs"][:, 0, 0] + mirrored[:, 0, 0])
    return LeftCheck(
        template_m=float(
            np.linalg.norm(arrays["v_template"] - mirror_points(right.v_template), axis=1).max()
        ),
        shapedirs=float(difference.max()),
        first_shape_sign_wrong=bool(negated.max() < difference[:, 0, 0].max()),
    )


def _arrays(path: Path) -> Mapping[str, np.ndarray]:
    """Checked arrays of a MANO file, from the cache when the very same file was converted before."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; {_HOW}")
    if zipfile.is_zipfile(path):
        raise BadFileError(f"{path} is {_archive(path)}; {_HOW}")
    cached = cache_dir() / "hands" / f"mano-{sha256(path)[:32]}.npz"
    if cached.is_file():
        try:
            with np.load(cached, allow_pickle=False) as file:
                return _checked({key: file[key] for key in file.files}, cached)
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, BadFileError):
            cached.unlink()  # a damaged copy is made again from the user's file
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise BadFileError(f"{path} holds a {type(content).__name__}, not a hand; {_HOW}")
    arrays: dict[str, Any] = _checked(content, path)
    with atomic_path(cached) as temporary:
        temporary.touch(mode=0o600)
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
    return arrays


def _archive(path: Path) -> str:
    """What a zip or npz in place of the pickle is."""
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).stem for name in archive.namelist()}
    if {"v_template", "shapedirs"} <= names:
        return "a body model as npz (SMPL-X); the hands inside a body model cannot be used alone"
    return "a zip archive; unpack it first"


def _checked(content: Mapping[Any, Any], path: Path) -> dict[str, np.ndarray]:
    """The arrays WHIM needs as float64, in the right shapes.

    Raises:
        BadFileError: saying what the file is or which array is wrong.
    """
    template = np.shape(content.get("v_template", ()))
    if template[:1] and template[0] in _OTHER_BODIES:
        raise BadFileError(f"{path} is {_OTHER_BODIES[template[0]]}, not MANO; {_HOW}")
    missing = sorted(_SHAPES.keys() - content.keys())
    if missing:
        raise BadFileError(f"{path} is not a MANO hand: it lacks {', '.join(missing)}; {_HOW}")
    arrays: dict[str, np.ndarray] = {}
    for key, shape in _SHAPES.items():
        try:
            # The tree's root has the parent 2^32 - 1, which float64 holds exactly.
            array = np.asarray(content[key], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise BadFileError(
                f"{path} is not a MANO hand: {key} is not an array of numbers; {_HOW}"
            ) from error
        if array.shape != shape:
            raise BadFileError(
                f"{path} is not a MANO hand: {key} has the shape {array.shape}, not {shape}; {_HOW}"
            )
        if not np.isfinite(array).all():
            raise BadFileError(f"{path} is damaged: {key} holds numbers that are not finite; {_HOW}")
        arrays[key] = array
    if tuple(arrays["kintree_table"][0, 1:].astype(np.int64)) != PARENTS[1:]:
        raise BadFileError(f"{path} is not a MANO hand: its joints hang together differently; {_HOW}")
    if arrays["f"].min() < 0 or arrays["f"].max() >= 778:
        raise BadFileError(f"{path} is damaged: its faces name vertices that do not exist; {_HOW}")
    return arrays


def _is_left(arrays: Mapping[str, np.ndarray]) -> bool:
    """MANO's right hand points along -x, the left one along +x."""
    joints = arrays["J_regressor"] @ arrays["v_template"]
    return bool(joints[4, 0] > joints[0, 0])


def _closed(faces: Ints) -> Ints:
    """Faces with a fan over the open wrist."""
    border = open_border(faces)
    fan = [[border[0], border[k], border[k + 1]] for k in range(1, len(border) - 1)]
    return np.concatenate([faces, np.array(fan, dtype=np.int64).reshape(-1, 3)])


def open_border(faces: Ints) -> list[int]:
    """Vertices around the one opening of a mesh, in the direction of a cap's faces; empty for a closed mesh.

    Raises:
        BadFileError: when there is more than one opening.
    """
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    following = {b: a for a, b in edges if (b, a) not in edges}
    border: list[int] = []
    vertex = min(following, default=-1)
    while vertex in following:
        border.append(vertex)
        vertex = following.pop(vertex)
    if following:
        raise BadFileError("the hand's mesh has more than one opening")
    return border
