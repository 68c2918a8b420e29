"""The whole stack: picture -> hands' boxes -> crops -> hands in the camera of the picture.

from whim.reconstructor.predict import load
hands = load("detector.safetensors", "reconstructor.safetensors").reconstruct(picture)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.detector.detections import Detections
from whim.detector.predict import HandPredictor, Image
from whim.detector.predict import load as load_predictor
from whim.errors import UsageError
from whim.geometry.camera import assumed_focal
from whim.hands.mirror import mirror_pose
from whim.hands.model import Floats, HandModel
from whim.hands.select import OPEN_HAND, load_hand
from whim.reconstructor.crops import Crops
from whim.reconstructor.inference import Inference
from whim.reconstructor.weights import load_network


@dataclass(frozen=True, kw_only=True, eq=False)
class Hands:
    """Hands of one picture in its camera (x right, y down, z forward; the centre of the picture is the axis)."""

    detections: Detections
    focal: float
    """Pixels; an assumption unless it was given."""
    topology: str
    """Of the hand model that the parameters belong to."""
    global_orient: Floats
    """(N, 3) axis-angle, of the hand's own side."""
    hand_pose: Floats
    """(N, 15, 3)."""
    betas: Floats
    """(N, 10)."""
    translation: Floats
    """(N, 3) metres."""
    joints_3d: Floats
    """(N, 21, 3) metres."""
    vertices: Floats
    """(N, V, 3) metres."""
    keypoints_2d: Floats
    """(N, 21, 2) pixels, as the crop's own camera sees them."""

    def __len__(self) -> int:
        return len(self.translation)


def load(
    detector: str | Path | None,
    reconstructor: str | Path,
    *,
    hand: str = OPEN_HAND,
    device: str = "auto",
    size: int = 640,
) -> HandReconstructor:
    """Both networks and the hand that the second was trained with (``open-hand``, or your MANO_RIGHT.pkl).

    Without a detector, hands are to be found elsewhere: ``HandReconstructor.of_detections``.

    Raises:
        UsageError: missing files, or weights of another hand.
        BadFileError: damaged ones.
    """
    model = load_hand(hand)
    finder = None if detector is None else load_predictor(detector, device=device, size=size)
    network = load_network(Path(reconstructor), model)
    return HandReconstructor(finder, Inference(network, device=device), model)


class HandReconstructor:
    """Detector and reconstructor, ready."""

    def __init__(self, detector: HandPredictor | None, inference: Inference, hand: HandModel) -> None:
        self.detector = detector
        self.hand = hand
        self._inference = inference

    def reconstruct(self, picture: Image, *, least_score: float = 0.3, focal: float | None = None) -> Hands:
        """Hands of a picture (H, W, 3) RGB. ``focal``: its focal length in pixels; its diagonal without it.

        Raises:
            UsageError: there is no detector.
        """
        if self.detector is None:
            raise UsageError("without a detector only hands that were found before can be reconstructed")
        return self.of_detections(
            picture, self.detector.detect(picture, least_score=least_score), focal=focal
        )

    def of_detections(self, picture: Image, found: Detections, *, focal: float | None = None) -> Hands:
        """The same for hands that were found before; those of unknown side are taken for right ones."""
        height, width = picture.shape[:2]
        focal = focal or assumed_focal(width, height)
        crops = Crops.around(found.boxes, found.side)
        estimate = self._inference(crops.cut(picture, self._inference.side))

        def array(tensor: object) -> NDArray[np.float64]:
            return np.asarray(tensor.detach().cpu().float().numpy(), dtype=np.float64)  # type: ignore[attr-defined]

        left = crops.mirrored
        flip = np.where(left, -1.0, 1.0)[:, None, None] * np.array([1.0, 0.0, 0.0]) + np.array(
            [0.0, 1.0, 1.0]
        )
        vectors = (
            Rotation.from_matrix(array(estimate.rotations).reshape(-1, 3, 3)).as_rotvec().reshape(-1, 16, 3)
        )
        vectors = np.where(left[:, None, None], mirror_pose(vectors), vectors)
        translation = crops.translations(array(estimate.camera), focal, width, height)
        return Hands(
            detections=found,
            focal=focal,
            topology=self.hand.topology,
            global_orient=vectors[:, 0],
            hand_pose=vectors[:, 1:],
            betas=array(estimate.betas),
            translation=translation,
            joints_3d=array(estimate.keypoints) * flip + translation[:, None],
            vertices=array(estimate.vertices) * flip + translation[:, None],
            keypoints_2d=crops.to_picture(array(estimate.keypoints_2d)),
        )


def own_sides(found: Detections) -> list[Side]:
    """Sides as drawn: an unknown one was reconstructed as a right hand."""
    return [Side.LEFT if side == Side.LEFT else Side.RIGHT for side in found.side]
