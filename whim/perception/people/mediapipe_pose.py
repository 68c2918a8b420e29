"""People by MediaPipe's PoseLandmarker with several poses per picture: a stand-in for AlphaPose."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from whim.geometry import boxes as bx
from whim.perception.runtime import LandmarkerTask
from whim.perception.types import Floats, Image, Person

SHOULDERS = (11, 12)
HIPS = (23, 24)
WRISTS = (15, 16)  # left, right
GROWTH = 0.1
"""Growth of the landmark hull on each side; overlap with drawn boxes is flat between 0.08 and 0.15."""
SEEN = 0.5
"""A landmark counts as seen when visibility x presence exceeds this."""


def pose_score(seen: Floats) -> float:
    """Confidence in 0..1 from visibility x presence (33,) of the landmarks.

    The landmarker gives no detection score. A person is as sure as the better seen end of the trunk: the mean
    over both shoulders or over both hips. Taking all four would call everybody cut off at the waist doubtful.
    It is nearly binary: once a pose passes the landmarker's own tests it is mostly above 0.95.
    """
    return float(max(seen[list(SHOULDERS)].mean(), seen[list(HIPS)].mean()))


def pose_box(points: Floats, seen: Floats) -> Floats | None:
    """Box (4,) of a person around the seen ones of ``points`` (33, 2); None when fewer than two are seen.

    Landmarks end at the eyes, the finger bases and the ankles, so the hull is grown on every side.
    """
    visible = points[seen > SEEN]
    if len(visible) < 2:
        return None
    return bx.expand(bx.hull(visible), GROWTH)


class MediaPipePosePersons:
    """Person boxes from whole-body landmarks."""

    implementation = "mediapipe/pose_landmarker_full"
    weights = ("mediapipe-pose-landmarker",)

    def __init__(self, model: Path, *, detector: str, max_people: int = 6) -> None:
        self.detector = detector
        self._task = LandmarkerTask("PoseLandmarker", model, num_poses=max_people)

    def detect(self, image: Image) -> list[Person]:
        """People in ``image``, in MediaPipe's order."""
        height, width = image.shape[:2]
        result = self._task.detect(image)
        persons = []
        for pose in result.pose_landmarks:
            points = np.array([(landmark.x * width, landmark.y * height) for landmark in pose])
            seen = np.array([landmark.visibility * landmark.presence for landmark in pose])
            box = pose_box(points, seen)
            if box is not None:
                persons.append(
                    Person(
                        box=bx.clip(box, width, height),
                        score=pose_score(seen),
                        detector=self.detector,
                        implementation=self.implementation,
                        wrists=np.column_stack([points, seen])[list(WRISTS)],
                    )
                )
        return persons

    def close(self) -> None:
        """Release the landmarker."""
        self._task.close()
