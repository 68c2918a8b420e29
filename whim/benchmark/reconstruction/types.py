"""What the benchmark asks of a reconstructor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from whim.errors import BadFileError
from whim.geometry.procrustes import Floats
from whim.importers.files import decode

Key: TypeAlias = tuple[str, int]
"""Recording and frame."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A picture and the hands in it that are asked for. The truth is not in here, but for box and side."""

    key: Key
    data: bytes
    """JPEG or PNG."""
    width: int
    height: int
    boxes: Floats
    """(N, 4) xyxy pixels."""
    side: NDArray[np.int64]
    """(N,)"""
    focal: tuple[float, float] | None = None
    """Pixels; None: not known."""
    center: tuple[float, float] | None = None

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB.

        Raises:
            BadFileError: cannot be decoded.
        """
        found = decode(self.data)
        if found is None:
            raise BadFileError(f"{self.key[0]}/{self.key[1]}: the picture cannot be decoded")
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """Hands of one view, in the order of its boxes."""

    joints: Floats
    """(N, 21, 3) metres, OpenPose order, OpenCV axes; nan throughout for a hand that was not found."""
    vertices: Floats | None = None
    """(N, V, 3) likewise."""
    topology: str = ""
    """Hand model that the vertices belong to (``HandModel.topology``)."""

    @classmethod
    def nothing(cls, hands: int) -> Predicted:
        """Not one of them was found."""
        return cls(joints=np.full((hands, 21, 3), np.nan))


class Reconstructs(Protocol):
    """What turns views into hands. Any object of this form can be a row of a table."""

    @property
    def implementation(self) -> str:
        """What really runs; shown in the table."""
        ...

    @property
    def device(self) -> str:
        """Where."""
        ...

    def predict(self, views: Sequence[View]) -> Sequence[Predicted]:
        """Hands of each view."""
        ...


def same_mesh(one: str, other: str) -> bool:
    """Whether vertices of two topologies mean the same: equal tags, or both MANO's.

    Two files of MANO differ in the last digits of their arrays, not in their vertices.
    """
    return bool(one) and (one == other or (_is_mano(one) and _is_mano(other)))


def _is_mano(topology: str) -> bool:
    return topology == "mano" or topology.startswith("mano-")
