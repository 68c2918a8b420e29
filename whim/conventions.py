"""Conventions used inside WHIM. The only file with index tables.

* Boxes: ``x1, y1, x2, y2`` in pixels, 0-based, float; ``x2`` and ``y2`` are the far edge, so width is ``x2 - x1``.
* Pictures: ``uint8`` arrays of shape (H, W, 3), RGB, upright (rotation tags applied).
* Sides: anatomical (the person's own left and right), whatever the picture looks like in a mirror.
* Times: seconds since the first frame of the video stream. Frame indices count decoded frames from 0.
* Lengths: metres. Camera axes: OpenCV (x right, y down, z forward).
"""

from __future__ import annotations

from enum import IntEnum


class Side(IntEnum):
    """Anatomical side of a hand. ``UNKNOWN`` is a detector's silence, never a guess."""

    UNKNOWN = -1
    LEFT = 0
    RIGHT = 1

    @property
    def other(self) -> Side:
        """The opposite side; unknown stays unknown."""
        return Side.UNKNOWN if self is Side.UNKNOWN else Side(1 - self)


# The 21 hand keypoints, in the order shared by OpenPose and MediaPipe.
HAND_KEYPOINTS: tuple[str, ...] = (
    "wrist",
    *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip")),
    *(
        f"{finger}_{joint}"
        for finger in ("index", "middle", "ring", "little")
        for joint in ("mcp", "pip", "dip", "tip")
    ),
)

# Bones of the 21-keypoint hand as (parent, child): palm rays first, then outwards along each finger.
HAND_BONES: tuple[tuple[int, int], ...] = tuple(
    (0 if joint == 0 else 1 + 4 * finger + joint - 1, 1 + 4 * finger + joint)
    for finger in range(5)
    for joint in range(4)
)

# The 18 body keypoints of OpenPose's COCO model.
BODY_18: tuple[str, ...] = (
    "nose",
    "neck",
    *(f"right_{joint}" for joint in ("shoulder", "elbow", "wrist")),
    *(f"left_{joint}" for joint in ("shoulder", "elbow", "wrist")),
    *(f"right_{joint}" for joint in ("hip", "knee", "ankle")),
    *(f"left_{joint}" for joint in ("hip", "knee", "ankle")),
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)

# MANO's joints 0-15 followed by the fingertips, thumb to little finger, 16-20: their positions in the order above.
# ``points_mano[..., MANO_TO_OPENPOSE, :]`` is in OpenPose order; MANO itself counts the little finger before the ring.
MANO_TO_OPENPOSE: tuple[int, ...] = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)

# The inverse: ``points_openpose[..., OPENPOSE_TO_MANO, :]`` is MANO's joints and the tips.
OPENPOSE_TO_MANO: tuple[int, ...] = (0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20)
