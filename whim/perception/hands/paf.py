"""People from heat maps and part affinity fields. Pure functions on arrays.

Cao et al., "OpenPose: Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", sections 3.3 to
3.5: peaks of the heat maps are joints, line integrals over the fields score the limbs between them, and limbs
are chosen greedily. Everything runs on the network's own grid, one cell every eight pixels, with joints
refined to fractions of a cell.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.conventions import BODY_18
from whim.perception.types import Floats

Maps = NDArray[np.float32]

# The 17 limbs of OpenPose's COCO model, away from the neck, with the channels of their field (x, y).
# The two ear-to-shoulder fields are left out: they close loops and no hand hangs on them.
LIMBS: tuple[tuple[int, int, int], ...] = (
    (1, 2, 12),
    (1, 5, 20),
    (2, 3, 14),
    (3, 4, 16),
    (5, 6, 22),
    (6, 7, 24),
    (1, 8, 0),
    (8, 9, 2),
    (9, 10, 4),
    (1, 11, 6),
    (11, 12, 8),
    (12, 13, 10),
    (1, 0, 28),
    (0, 14, 30),
    (14, 16, 34),
    (0, 15, 32),
    (15, 17, 36),
)

PEAK_MIN = 0.1
"""Joints below this are not looked at."""
PEAKS_MAX = 20
"""Joints of one kind, best first."""
SAMPLES = 10
"""Points along a limb at which the field is read."""
FIELD_MIN = 0.05
"""A point supports the limb when the field along it exceeds this ..."""
SUPPORT_MIN = 0.8
"""... and a limb needs this share of its points."""
PARTS_MIN = 4
"""People with fewer joints are dropped."""
MEAN_SCORE_MIN = 0.3
"""People whose joints and limbs score less than this per joint are dropped."""


def find_peaks(heat: Maps, threshold: float = PEAK_MIN) -> list[Floats]:
    """Local maxima of heat maps (H, W, C): for each channel an array (N, 3) of x, y, score, best first.

    x and y are in cells; whole numbers are cell centres. Between cells the peak is that of the parabola
    through three neighbours in each direction.
    """
    channels = heat.shape[2]
    smooth = cv2.GaussianBlur(heat, (3, 3), 0.7).reshape(heat.shape)
    highest = cv2.dilate(smooth, np.ones((3, 3), np.uint8)).reshape(heat.shape)
    y, x, channel = np.nonzero((smooth == highest) & (heat > threshold))
    # Beyond the border the maps go on as their own mirror image, so a peak there stays on the border.
    padded = np.pad(smooth, ((1, 1), (1, 1), (0, 0)), mode="reflect").astype(np.float64)
    middle = padded[y + 1, x + 1, channel]
    dx = _parabola(padded[y + 1, x, channel], middle, padded[y + 1, x + 2, channel])
    dy = _parabola(padded[y, x + 1, channel], middle, padded[y + 2, x + 1, channel])
    peaks = np.column_stack([x + dx, y + dy, heat[y, x, channel]])
    order = np.argsort(-peaks[:, 2], kind="stable")
    peaks, channel = peaks[order], channel[order]
    return [peaks[channel == index][:PEAKS_MAX] for index in range(channels)]


def _parabola(before: Floats, middle: Floats, after: Floats) -> Floats:
    """Offset of the top of the parabola through three values at -1, 0, 1; within half a cell."""
    curvature = before - 2 * middle + after
    offset = np.divide(0.5 * (before - after), curvature, out=np.zeros_like(middle), where=curvature < -1e-9)
    return np.asarray(np.clip(offset, -0.5, 0.5))


def score_limbs(start: Floats, end: Floats, field: Maps) -> Floats:
    """Line integral of a field (H, W, 2) from every start (N, 2+) to every end (M, 2+): scores (N, M).

    A limb without enough support, or longer than half the picture's height by much, scores 0 or less.
    """
    height, width = field.shape[:2]
    along = end[None, :, :2] - start[:, None, :2]
    length = np.linalg.norm(along, axis=-1)
    direction = along / np.maximum(length, 1e-6)[..., None]
    points = start[:, None, None, :2] + np.linspace(0.0, 1.0, SAMPLES)[:, None] * along[:, :, None]
    x = np.clip(np.rint(points[..., 0]).astype(np.intp), 0, width - 1)
    y = np.clip(np.rint(points[..., 1]).astype(np.intp), 0, height - 1)
    support = np.einsum("nmsc,nmc->nms", field[y, x], direction)
    too_long = np.minimum(0.5 * height / np.maximum(length, 1e-6) - 1.0, 0.0)
    supported = (support > FIELD_MIN).mean(axis=-1) >= SUPPORT_MIN
    return np.where(supported & (length > 1e-6), support.mean(axis=-1) + too_long, 0.0)


def match(scores: Floats) -> list[tuple[int, int]]:
    """Pairs (row, column) of a score matrix (N, M), best first, each row and column once, above 0 only."""
    rows, columns = np.nonzero(scores > 0)
    order = np.argsort(-scores[rows, columns], kind="stable")
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    pairs: list[tuple[int, int]] = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
            pairs.append((row, column))
    return pairs


def decode_people(heat: Maps, fields: Maps) -> list[Floats]:
    """People from heat maps (H, W, 18 or 19) and fields (H, W, 38).

    Each person is an array (18, 3) of x, y in cells and score 0..1, in the order of ``BODY_18``; joints that
    were not found are zeros. The best person comes first.
    """
    peaks = find_peaks(heat[..., : len(BODY_18)])
    owner: dict[tuple[int, int], _Body] = {}  # (kind of joint, peak) -> the body that holds it
    for first, second, channel in LIMBS:
        starts, ends = peaks[first], peaks[second]
        if not len(starts) or not len(ends):
            continue
        scores = score_limbs(starts, ends, fields[..., channel : channel + 2])
        for row, column in match(scores):
            # Limbs run away from the neck: the far end is always new, at most the near end has an owner.
            body = owner.setdefault((first, row), _Body({first: row}))
            body.joints[second] = column
            body.limb_score += float(scores[row, column])
            owner[second, column] = body
    people = []
    for body in {id(body): body for body in owner.values()}.values():
        joints = np.zeros((len(BODY_18), 3))
        for kind, index in body.joints.items():
            joints[kind] = peaks[kind][index]
        mean = (joints[:, 2].sum() + body.limb_score) / len(body.joints)
        if len(body.joints) >= PARTS_MIN and mean >= MEAN_SCORE_MIN:
            people.append((mean, joints))
    people.sort(key=lambda scored: -scored[0])
    return [joints for _, joints in people]


class _Body:
    """Joints being put together: kind of joint -> index of the peak."""

    def __init__(self, joints: dict[int, int]) -> None:
        self.joints = joints
        self.limb_score = 0.0
