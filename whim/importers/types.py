"""What an importer hands over, whatever the layout it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from whim.config import Config
from whim.conventions import HAND_KEYPOINTS, Side
from whim.errors import BadFileError
from whim.geometry import boxes as bx
from whim.shards.rows import NO_FIT, Row

Floats = NDArray[np.float64]
BoxConvention: TypeAlias = Literal["annotated", "keypoint-hull", "rotated-rectangle-hull", "mesh-hull"]
"""What a box encloses: as somebody drew it; the labelled keypoints; the hand's slanted rectangle; the hand's mesh."""


class ImportOptions(Config):
    """Options that every importer has; each adds its own."""

    split: str | None = Field(default=None, pattern="[A-Za-z0-9_]+")
    """Only this split where the layout has several; the name of the split where it says none."""
    recording_pattern: str | None = None
    """Regular expression whose first group, or else whose match, in a picture's path names its recording: pictures of
    a recording are near copies of each other and stay on one side of a split. Without it, what the set says itself."""
    licence: str = ""
    """Terms of the data, for the record; replaces what the set or the importer says."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Something that was left out."""

    key: str
    """The picture, or the picture and the annotation in it."""
    reason: str
    """Stable code, such as ``missing-picture``."""
    detail: str = ""


PICTURE_REASONS = frozenset(
    {
        "missing-picture",
        "corrupt-picture",
        "size-mismatch",
        "missing-video",
        "bad-video",
        "corrupt-annotation",
    }
)
"""Reasons for which a whole picture is left out: the set is not complete here."""

Skip: TypeAlias = Callable[[str, str, str], None]
"""Called with key, reason and detail of each thing that is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedHand:
    """One labelled hand, in pixels of the picture as it is shown."""

    box: Floats
    """(4,) xyxy."""
    side: Side = Side.UNKNOWN
    keypoints: Floats | None = None
    """(21, 3) x, y and confidence 0..1, OpenPose order; 0 where not labelled."""
    fit: Row | None = None
    """Columns ``joints_3d``, ``mano``, ``camera`` and ``fit`` of the label schema."""

    def row(self) -> Row:
        """The hand as the label schema has it. Truth has the score 1, and nobody voted."""
        points = self.keypoints
        return {
            "box": self.box.tolist(),
            "side": int(self.side),
            "side_score": float(self.side is not Side.UNKNOWN),
            "score": 1.0,
            "keypoints_2d": None if points is None else points[:, :2].tolist(),
            "keypoint_scores": None if points is None else points[:, 2].tolist(),
            "person": -1,
            "votes": [],
            "agreement": 1.0,
            **(self.fit or NO_FIT),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class ImportedPicture:
    """One picture and its labels."""

    key: str
    """Unique within the set; for messages."""
    path: Path
    """The picture file, or the video."""
    recording: str
    split: str
    hands: Sequence[ImportedHand]
    size: tuple[int, int] | None = None
    """Width and height that the labels refer to; None: as the picture is shown."""
    crowd: Sequence[Sequence[float]] = ()
    """xyxy regions that the set itself leaves out of scoring (COCO's ``iscrowd``)."""
    unlabelled: Sequence[Sequence[float]] = ()
    """xyxy regions where a hand may be that nobody labelled."""
    frame_index: int | None = None
    """Place in the recording; None: counted."""
    time_s: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """Bytes of a picture, JPEG or PNG, and how it is shown."""

    data: bytes
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    rescale: tuple[float, float] = (1.0, 1.0)
    """Factors from labelled pixels to these, for frames of another size than the labels'."""
    frame_index: int | None = None
    time_s: float | None = None


Loader: TypeAlias = Callable[[Sequence[ImportedPicture]], Iterator[tuple[ImportedPicture, Loaded | Skipped]]]
"""Pictures of one shard -> each with its bytes, or why it cannot be had; in the same order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A data set that was understood."""

    pictures: Iterable[ImportedPicture]
    """Sorted by split and recording; may be a generator that reads as it goes."""
    total: int | None
    """Number of pictures, when known."""
    box_convention: BoxConvention
    licence: str
    load: Loader | None = None
    """How pictures are read; None: each is a file."""
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON-able, for the lineage."""


class Read(Protocol):
    """The one function of an importer."""

    def __call__(self, source: Path, options: Any, skip: Skip) -> Source:
        """Understand the set at ``source``.

        Raises:
            BadFileError: not a set of this layout.
            UsageError: an option that does not fit it.
        """
        ...


def side_of(value: Any) -> Side:
    """Side from a name (``left_hand``, ``R``) or a :class:`Side` value; unknown when it says none or both."""
    if isinstance(value, bool) or value is None:
        return Side.UNKNOWN
    if isinstance(value, int | float):
        return Side(int(value)) if value in (0, 1) else Side.UNKNOWN
    text = str(value).lower()
    left, right = "left" in text or text == "l", "right" in text or text == "r"
    return Side.UNKNOWN if left == right else (Side.LEFT if left else Side.RIGHT)


def keypoints_of(values: Any) -> Floats | None:
    """(21, 3) from 63 numbers, flat or nested; None when another number of points is given, or none is labelled.

    COCO's visibility (0, 1, 2) becomes 0 or 1; fractions are confidences and stay.
    """
    flat = np.asarray(values if values is not None else [], dtype=np.float64).reshape(-1)
    if flat.size != 3 * len(HAND_KEYPOINTS):
        return None
    points = flat.reshape(-1, 3).copy()
    points[:, 2] = np.clip(points[:, 2], 0.0, 1.0)
    points[~np.isfinite(points).all(axis=1)] = 0.0
    points[points[:, 2] == 0] = 0.0
    return points if points[:, 2].any() else None


def checked_box(box: ArrayLike, size: tuple[int, int] | None) -> tuple[Floats | None, str]:
    """The box and nothing, or None and the reason why it cannot be used."""
    given = np.asarray(box, dtype=np.float64).reshape(-1)
    if given.shape != (4,) or not np.isfinite(given).all():
        return None, "bad-box"
    if bx.area(given) <= 0:
        return None, "empty-box"
    if size is not None and bx.area(bx.clip(given, *size)) <= 0:
        return None, "box-outside"
    return given, ""


def keypoint_hull(points: Floats | None) -> Floats | None:
    """Box (4,) around the labelled keypoints; None without at least two."""
    if points is None or (points[:, 2] > 0).sum() < 2:
        return None
    return bx.hull(points[points[:, 2] > 0, :2])


def recording_of(path: Path, options: ImportOptions, known: Any = None) -> str:
    """Name of the recording that a picture belongs to: by the pattern, else ``known``, else the picture's own.

    ``path``: within the set where folders tell pictures apart; a path from the root counts by its name alone.

    Raises:
        BadFileError: the pattern does not match.
    """
    if options.recording_pattern is not None:
        found = re.search(options.recording_pattern, path.as_posix())
        if found is None:
            raise BadFileError(f"{path}: recording_pattern {options.recording_pattern!r} does not match")
        return clean(found.group(1) if found.re.groups else found.group(0))
    own = path.stem if path.is_absolute() else path.with_suffix("").as_posix()
    return clean(str(known) if known not in (None, "") else own)


def clean(name: str) -> str:
    """A name that can be a file's: other characters become ``_``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".") or "_"
