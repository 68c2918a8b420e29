"""Some of a hand's vertices, spread evenly: enough to see the pose of the whole mesh, at a fraction of its cost."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np

from whim.hands.model import Floats, HandModel, TipSkin


@dataclass(frozen=True, kw_only=True, eq=False)
class PartialHand(HandModel):
    """A hand that shows some vertices of another one. Joints and fingertips are those of the whole."""

    whole: HandModel

    @cached_property
    def J_template(self) -> Floats:
        """(16, 3) joints of the whole hand."""
        return self.whole.J_template

    @cached_property
    def J_shapedirs(self) -> Floats:
        """(16, 3, 10) displacement of the joints of the whole hand."""
        return self.whole.J_shapedirs

    @cached_property
    def tip_template(self) -> Floats:
        """(5, 3) fingertips of the whole hand."""
        return self.whole.tip_template

    @cached_property
    def tip_skin(self) -> TipSkin:
        """Skinning of the fingertips of the whole hand."""
        return self.whole.tip_skin


@lru_cache(maxsize=4)
def partial_hand(model: HandModel, count: int) -> PartialHand:
    """``model`` with ``count`` of its vertices, which are far from each other at rest. It has no faces.

    Raises:
        ValueError: for more vertices than there are.
    """
    rows = farthest_points(model.v_template, count)
    same = {f.name: getattr(model, f.name) for f in fields(HandModel)}
    nothing = np.empty((0, 3), dtype=np.int64)
    return PartialHand(
        **{
            **same,
            "topology": f"{model.topology}-farthest-{count}",
            "v_template": model.v_template[rows],
            "shapedirs": model.shapedirs[rows],
            "posedirs": None if model.posedirs is None else model.posedirs[rows],
            "weights": model.weights[rows],
            "J_regressor": model.J_regressor[:, rows],
            "tip_regressor": model.tip_regressor[:, rows],
            "faces": nothing,
            "faces_closed": nothing,
        },
        whole=model,
    )


def farthest_points(points: Floats, count: int) -> np.ndarray:
    """Indices (count,) of points (V, 3), each the farthest from all before it; the first is nearest the mean.

    Raises:
        ValueError: for more points than there are.
    """
    if count > len(points):
        raise ValueError(f"a mesh of {len(points)} vertices has no {count} to choose")
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)
