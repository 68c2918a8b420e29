"""Fitted hands as a transparent layer over a frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from whim.conventions import Side
from whim.errors import WhimError
from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.select import load_hand
from whim.render.choose import open_renderer
from whim.render.colour import encode
from whim.render.hand import hand_mesh
from whim.render.types import Camera
from whim.shards.rows import Row
from whim.viz.overlay import SIDE_COLOURS, Image

_OPACITY = 0.85
_SUPERSAMPLE = 2


class MeshLayer:
    """Draws the hands of label rows with the hand models they were fitted with.

    The open hand is always known; ``learn`` finds the user's own MANO file by the labels' lineage. Hands of
    models that are not here are left out.
    """

    def __init__(self) -> None:
        self._renderer = open_renderer()
        self._models: dict[str, HandModel] = {}
        self._add(load_open_hand())
        self._seen: set[str] = set()

    def learn(self, lineage: dict[str, Any]) -> None:
        """Load the hand model that labels name as theirs, when its file is still there."""
        name = ((lineage.get("config") or {}).get("fit") or {}).get("hand")
        if name and name not in self._seen:
            self._seen.add(name)
            try:
                self._add(load_hand(name))
            except WhimError:
                return  # labels can be looked at without it

    def _add(self, model: HandModel) -> None:
        self._models[model.topology] = model

    def draw(self, row: Row, *, longest: int) -> Image | None:
        """RGBA (H, W, 4) of the row's frame scaled down to ``longest`` pixels; None without a hand to draw."""
        hands = [
            hand for hand in row["hands"]
            if hand["mano"] is not None and hand["camera"] is not None and hand["mano"]["topology"] in self._models
        ]  # fmt: skip
        if not hands:
            return None
        scale = min(1.0, longest / max(row["width"], row["height"]))
        meshes = []
        for hand in hands:
            mano, side = hand["mano"], Side(hand["side"])
            meshes.append(
                hand_mesh(
                    self._models[mano["topology"]],
                    mano["betas"],
                    mano["hand_pose"],
                    mano["global_orient"],
                    mano["translation"],
                    side,
                    np.asarray(SIDE_COLOURS[side]) / 255.0,
                )
            )
        camera = Camera.from_label(
            hands[0]["camera"]["focal"], hands[0]["camera"]["center"], row["width"], row["height"]
        )
        rendered = self._renderer.render(meshes, camera.scaled(scale), supersample=_SUPERSAMPLE)
        if not rendered.alpha.any():
            return None
        straight = np.asarray(rendered.colour / np.maximum(rendered.alpha, 1e-3)[..., None], dtype=np.float32)
        opacity = (rendered.alpha * (255 * _OPACITY)).astype(np.uint8)
        return np.dstack([encode(straight), opacity])
