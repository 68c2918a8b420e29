"""A scene as a picture and its label row."""

from __future__ import annotations

import numpy as np

from whim.hands.model import Floats
from whim.render.types import Camera, Light, Mesh, Rendered, Renderer
from whim.shards.rows import Row
from whim.synth.scene import Scene
from whim.synth.truth import hand_row


def draw(renderer: Renderer, scene: Scene, light: Light, supersample: int) -> Rendered:
    """Render every part of the scene."""
    view = scene.view
    camera = Camera.from_label(view.focal, view.center, view.width, view.height)
    meshes = [
        Mesh(
            vertices=part.vertices,
            faces=part.faces,
            colours=part.colours,
            label=part.label,
            two_sided=part.two_sided,
        )
        for part in scene.parts
    ]
    return renderer.render(meshes, camera, light, supersample=supersample)


def truths(scene: Scene, rendered: Rendered) -> tuple[list[Row], list[Floats]]:
    """Label rows of the hands that can be seen, and boxes (4,) of the persons."""
    view = scene.view
    boxes: list[Floats] = []
    number: dict[int, int] = {}
    for person, label in enumerate(scene.people):
        seen = [part.vertices for part in scene.parts if part.label == label]
        seen += [hand.vertices for hand in scene.hands if hand.person == person]
        points = np.concatenate(seen)
        points = view.project(points[points[:, 2] > 0.05])
        if not len(points) or not (rendered.labels == label).any():
            continue
        size = (view.width, view.height)
        low, high = np.clip(points.min(axis=0), 0, size), np.clip(points.max(axis=0), 0, size)
        number[person] = len(boxes)
        boxes.append(np.concatenate([low, high]))
    rows = []
    for hand in scene.hands:
        row = hand_row(hand, view, rendered.depth, rendered.labels)
        if row is not None:
            rows.append({**row, "person": number.get(hand.person, -1)})
    return rows, boxes
