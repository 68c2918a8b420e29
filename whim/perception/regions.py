"""Where hands are looked for: the whole frame, and a padded crop around each person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from whim.geometry import boxes as bx
from whim.perception.registry import BuiltHands
from whim.perception.types import Floats, HandVote, Image, Person

PADDING = 0.1
"""Person boxes are grown by this share of their size on each side: hands reach out of them."""
MIN_SIDE = 48
"""Crops with a side below this many pixels hold no hand that a detector could see."""
NEARLY_FRAME = 0.8
"""A crop that covers more of the frame than this shows what the frame shows; it is not searched again."""


@dataclass(frozen=True)
class Crop:
    """A part of the frame in whole pixels: columns ``x1`` to ``x2``, rows ``y1`` to ``y2``, ends excluded."""

    x1: int
    y1: int
    x2: int
    y2: int
    person: int
    """Index of the person inside."""

    def cut(self, image: Image) -> Image:
        """The pixels (a copy: the detectors want contiguous rows)."""
        return np.ascontiguousarray(image[self.y1 : self.y2, self.x1 : self.x2])

    def to_frame(self, vote: HandVote) -> HandVote:
        """A vote with coordinates in the crop -> the same in the frame."""
        offset = np.array([self.x1, self.y1], dtype=np.float64)
        return replace(
            vote,
            box=vote.box + np.tile(offset, 2),
            keypoints=None if vote.keypoints is None else vote.keypoints + offset,
            person=self.person,
        )


def person_crop(
    box: Floats, person: int, width: int, height: int, *, padding: float = PADDING
) -> Crop | None:
    """The crop around a person's box (4,) xyxy in a frame; None when too small to search."""
    x1, y1, x2, y2 = bx.clip(bx.expand(box, padding), width, height)
    crop = Crop(int(np.floor(x1)), int(np.floor(y1)), int(np.ceil(x2)), int(np.ceil(y2)), person)
    return crop if min(crop.x2 - crop.x1, crop.y2 - crop.y1) >= MIN_SIDE else None


def person_crops(persons: Sequence[Person], width: int, height: int, *, whole_frame: bool) -> list[Crop]:
    """The crops worth searching. With ``whole_frame`` the frame is searched too: no crop nearly as large."""
    crops = [person_crop(person.box, index, width, height) for index, person in enumerate(persons)]
    largest = NEARLY_FRAME * width * height if whole_frame else np.inf
    return [crop for crop in crops if crop and (crop.x2 - crop.x1) * (crop.y2 - crop.y1) <= largest]


def detect_hands(image: Image, persons: Sequence[Person], hands: BuiltHands) -> list[HandVote]:
    """Votes of every detector on its regions, in pixels of ``image``, boxes clipped to it.

    ``person`` of a vote is the index in ``persons`` of the crop it came from, -1 for the whole frame. The
    same hand is voted for once per region and detector: fusion puts the votes together.
    """
    height, width = image.shape[:2]
    votes: list[HandVote] = []
    for detector, regions in zip(hands.detectors, hands.regions, strict=True):
        if "frame" in regions:
            votes += [replace(vote, person=-1) for vote in detector.detect(image)]
        if "persons" in regions:
            for crop in person_crops(persons, width, height, whole_frame="frame" in regions):
                votes += [crop.to_frame(vote) for vote in detector.detect(crop.cut(image))]
    clipped = [replace(vote, box=bx.clip(vote.box, width, height)) for vote in votes]
    return [vote for vote in clipped if bx.area(vote.box) > 0]
