"""People of several detectors, each kept once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whim.geometry import boxes as bx
from whim.perception.types import Person

SAME_IOU = 0.5
"""Two boxes with more overlap than this are one person."""
SAME_SHARE = 0.8
"""So are boxes of two detectors when this share of the smaller lies in the larger: one detector boxes the
whole body, another only the part it sees."""


def merge_people(persons: Sequence[Person]) -> list[Person]:
    """Each person once, by the best scored box; best score first.

    A box without wrists takes those of the best box of the same person that has them. The result does not
    depend on the order of the detectors, except between equal scores.
    """
    if not persons:
        return []
    boxes = np.stack([person.box for person in persons])
    inter, overlap = bx.intersection(boxes, boxes)
    areas = bx.area(boxes)
    share = inter / np.maximum(np.minimum(areas[:, None], areas[None, :]), 1e-9)
    names = np.array([person.detector for person in persons])
    same = (overlap > SAME_IOU) | ((share > SAME_SHARE) & (names[:, None] != names[None, :]))
    kept: list[int] = []
    merged: dict[int, Person] = {}
    for index in np.argsort([-person.score for person in persons], kind="stable").tolist():
        twins = [other for other in kept if same[index, other]]
        if not twins:
            kept.append(index)
            merged[index] = persons[index]
        elif merged[twins[0]].wrists is None:
            merged[twins[0]] = replace(merged[twins[0]], wrists=persons[index].wrists)
    return [merged[index] for index in kept]
