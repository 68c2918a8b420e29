"""The files of the FreiHAND and HO-3D challenges: truth as json lists, predictions as ``pred.json`` in a zip.

Both hold metres. FreiHAND has OpenPose's joint order and camera axes x right, y down, z forward, as WHIM. HO-3D counts
MANO's 16 joints and then the tips, thumb to little finger, in OpenGL's axes: y up, z backwards.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from whim.conventions import MANO_TO_OPENPOSE, OPENPOSE_TO_MANO
from whim.errors import BadFileError, UsageError
from whim.files import atomic_path
from whim.geometry.procrustes import Floats

Challenge: TypeAlias = Literal["freihand", "ho3d"]
PREDICTIONS = "pred.json"
"""Name that the official scripts look for."""
MANO_VERTICES = 778
"""What stands in the files for a hand without mesh has so many."""
_OPENGL = (1.0, -1.0, -1.0)
_DIGITS = 6
"""Of a metre: micrometres."""
_BLOCK = 1 << 20


def swap_opengl(points: ArrayLike) -> Floats:
    """Points (..., 3) in OpenGL's camera axes -> OpenCV's, or back: half a turn about x."""
    return np.asarray(points, dtype=np.float64) * _OPENGL


def from_challenge(joints: ArrayLike, challenge: Challenge) -> Floats:
    """Joints (..., 21, 3) as the challenge orders them -> OpenPose order, OpenCV axes."""
    points = np.asarray(joints, dtype=np.float64)
    return points if challenge == "freihand" else swap_opengl(points[..., MANO_TO_OPENPOSE, :])


def to_challenge(joints: ArrayLike, challenge: Challenge) -> Floats:
    """The inverse of :func:`from_challenge`."""
    points = np.asarray(joints, dtype=np.float64)
    return points if challenge == "freihand" else swap_opengl(points[..., OPENPOSE_TO_MANO, :])


def mesh_swap(vertices: ArrayLike, challenge: Challenge) -> Floats:
    """Vertices (..., 3) from the challenge's axes to OpenCV's, or back; their order is the mesh's own."""
    points = np.asarray(vertices, dtype=np.float64)
    return points if challenge == "freihand" else swap_opengl(points)


class SubmissionWriter:
    """Hands in the order of the challenge -> ``pred.json`` and ``pred.zip``.

    Args:
        folder: where both go.
        challenge: whose conventions.

    What was added lies in memory until :meth:`write`: half a gigabyte for 20,000 hands.
    """

    def __init__(self, folder: Path, challenge: Challenge) -> None:
        self._folder = folder
        self._challenge = challenge
        self._joints: list[str] = []
        self._vertices: list[str] = []

    def __len__(self) -> int:
        return len(self._joints)

    def add(self, joints: ArrayLike | None, vertices: ArrayLike | None) -> None:
        """One hand: joints (21, 3) in OpenPose order and vertices (V, 3), OpenCV axes, metres.

        None: nothing found; zeros, as in the challenges' own example.

        Raises:
            UsageError: HO-3D wants hands in front of the camera, and this one is not.
        """
        if joints is None:
            points, mesh = np.zeros((21, 3)), np.zeros((MANO_VERTICES, 3))
        elif vertices is None:
            raise UsageError("a submission needs meshes, and this method gives none")
        else:
            points, mesh = np.asarray(joints, dtype=np.float64), np.asarray(vertices, dtype=np.float64)
            if self._challenge == "ho3d" and not (points[:, 2] > 0).all():
                raise UsageError("HO-3D's script refuses hands that are not in front of the camera (z > 0)")
        self._joints.append(_text(to_challenge(points, self._challenge)))
        self._vertices.append(_text(mesh_swap(mesh, self._challenge)))

    def write(self) -> Path:
        """Write both files; returns the zip."""
        plain, packed = self._folder / PREDICTIONS, self._folder / "pred.zip"
        with atomic_path(plain) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.write("[")
            _join(stream, self._joints)
            stream.write(", ")
            _join(stream, self._vertices)
            stream.write("]")
        with (
            atomic_path(packed) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            archive.write(plain, PREDICTIONS)
        return packed


def read_submission(path: Path, challenge: Challenge) -> list[tuple[Floats, Floats]]:
    """Joints (21, 3) in OpenPose order and vertices (V, 3), OpenCV axes, of each hand of a ``pred.json``.

    Raises:
        BadFileError: no such file.
    """
    try:
        joints, vertices = json.loads(path.read_text(encoding="utf-8"))
        return [
            (from_challenge(np.reshape(j, (21, 3)), challenge), mesh_swap(np.reshape(v, (-1, 3)), challenge))
            for j, v in zip(joints, vertices, strict=True)
        ]
    except (OSError, ValueError, TypeError) as error:
        raise BadFileError(f"{path}: not a list of joints and a list of vertices ({error})") from error


def stream_list(path: Path) -> Iterator[Any]:
    """Entries of a json file that is one list, one after the other: the vertices of a set fill gigabytes as a whole.

    Raises:
        BadFileError: no such file, or not a list.
    """
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_BLOCK).lstrip()
            if not text.startswith("["):
                raise BadFileError(f"{path}: expected a json list")
            at = 1
            while True:
                while at < len(text) and text[at] in " \t\r\n,":
                    at += 1
                if text[at : at + 1] == "]":
                    return
                try:
                    entry, end = decoder.raw_decode(text, at)
                except json.JSONDecodeError:
                    pass
                else:
                    while end < len(text) and text[end] in " \t\r\n":
                        end += 1
                    if text[end : end + 1] in (",", "]"):  # else a number may go on in the next block
                        yield entry
                        at = end
                        continue
                text = text[at:]
                at = 0
                more = stream.read(max(_BLOCK, len(text)))
                if not more:
                    raise BadFileError(f"{path}: the list is cut short or damaged")
                text += more
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError(f"{path}: {error}") from error


def _text(points: Floats) -> str:
    return json.dumps((points.round(_DIGITS) + 0.0).tolist())


def _join(stream: TextIO, parts: Sequence[str]) -> None:
    stream.write("[")
    for number, part in enumerate(parts):
        stream.write(", " if number else "")
        stream.write(part)
    stream.write("]")
