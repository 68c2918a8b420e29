"""A scene before it is rendered: surfaces in the camera, and the truth about the hands among them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whim.hands.model import Floats
from whim.synth.truth import HandTruth, View


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One surface."""

    vertices: Floats
    """(V, 3) metres, camera axes."""
    faces: NDArray[np.int64]
    """(F, 3) counter-clockwise seen from outside."""
    colours: Floats
    """(V, 3) sRGB, 0..1."""
    two_sided: bool = False
    """Seen from behind too: for surfaces that are cut open."""
    label: int
    """Its number in the label image; parts of one hand, or of one person, share it."""


@dataclass(kw_only=True)
class Scene:
    """Everything that is to be seen."""

    view: View
    parts: list[Part] = field(default_factory=list)
    hands: list[HandTruth] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    """Labels of whole persons, without their hands; in the order of the row's ``persons``."""

    def new_label(self) -> int:
        """The next free number; 0 is the background."""
        return 1 + max((part.label for part in self.parts), default=0)


def random_view(
    rng: np.random.Generator, width: int, height: int, *, fov: tuple[float, float] = (35.0, 80.0)
) -> View:
    """A camera whose longer side sees between ``fov`` degrees; a quarter of them stand upright."""
    if rng.random() < 0.25:
        width, height = height, width
    focal = 0.5 * max(width, height) / np.tan(np.radians(rng.uniform(*fov)) / 2)
    return View(focal=float(focal), center=(width / 2, height / 2), width=width, height=height)
