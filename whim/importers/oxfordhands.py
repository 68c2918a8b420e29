"""OxfordHands: a slanted rectangle around each hand, in MATLAB files; the box is its hull."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.io import loadmat

from whim.errors import BadFileError
from whim.geometry import boxes as bx
from whim.importers.files import find_picture
from whim.importers.types import (
    Floats,
    ImportedHand,
    ImportedPicture,
    ImportOptions,
    Skip,
    Source,
    checked_box,
    recording_of,
)

_FOLDERS = {"train": "training", "val": "validation", "test": "test"}
_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp")


class Options(ImportOptions):
    """Options of ``oxfordhands``."""

    least_area: float = Field(default=0.0, ge=0)
    """Hands whose rectangle has less square pixels become regions that are not judged. The set's own "bigger hands"
    protocol has 1500; Table 1 takes all."""


def read(source: Path, options: Options, skip: Skip) -> Source:
    """Read ``{training,validation,test}_dataset/*_data/{images,annotations}``.

    Raises:
        BadFileError: none of these folders is there.
    """
    found = [
        (split, path)
        for split, name in _FOLDERS.items()
        if options.split in (None, split)
        for path in _annotations(source, name)
    ]
    if not found:
        wanted = f"{_FOLDERS.get(options.split or '', '*')}_dataset"
        raise BadFileError(f"{source}: no OxfordHands annotations below {wanted}/*_data/annotations")
    found.sort(key=lambda one: (one[0], recording_of(one[1], options), one[1].name))

    def pictures() -> Iterator[ImportedPicture]:
        for split, path in found:
            hands, crowd = _hands(path, options, skip)
            folder = path.parent.with_name("images")
            names = [path.stem + suffix for suffix in _SUFFIXES]
            name = next((one for one in names if (folder / one).is_file()), names[0])
            yield ImportedPicture(
                key=f"{split}/{path.stem}",
                path=find_picture(name, [folder]),
                recording=recording_of(path, options),
                split=split,
                hands=hands,
                crowd=crowd,
            )

    return Source(
        pictures=pictures(),
        total=len(found),
        box_convention="rotated-rectangle-hull",
        licence=options.licence or "OxfordHands: academic use (see the set's page)",
        facts={"origin": "OxfordHands"},
    )


def _annotations(source: Path, name: str) -> list[Path]:
    roots = [source / f"{name}_dataset", source / "hand_dataset" / f"{name}_dataset"]
    return [path for root in roots for path in sorted(root.glob("*_data/annotations/*.mat"))]


def _hands(path: Path, options: Options, skip: Skip) -> tuple[list[ImportedHand], list[list[float]]]:
    hands, small = [], []
    try:
        corners = rectangles(path)
    except BadFileError as error:
        skip(path.stem, "corrupt-annotation", str(error))
        return [], []
    for number, quad in enumerate(corners, start=1):
        box, reason = checked_box(bx.hull(quad), None)
        if box is None:
            skip(f"{path.stem}#{number}", reason, f"{quad.tolist()}")
        elif area(quad) < options.least_area:
            small.append(box.tolist())
        else:
            hands.append(ImportedHand(box=box))
    return hands, small


def rectangles(path: Path) -> list[Floats]:
    """Corners (4, 2) x, y of each hand, 0-based pixels. The file has (y, x), counted from 1.

    Raises:
        BadFileError: not such a file.
    """
    try:
        tree = loadmat(str(path), squeeze_me=True, struct_as_record=False)
        found = np.atleast_1d(tree["boxes"]).ravel()
        return [_corners(one) for one in found if np.size(one)]
    # scipy raises whatever its parser stumbles over.
    except Exception as error:
        raise BadFileError(
            f"{path}: not an OxfordHands annotation ({type(error).__name__}: {error})"
        ) from error


def _corners(one: Any) -> Floats:
    while isinstance(one, np.ndarray):  # a cell in a cell
        one = one.item()
    points = np.array([np.ravel(getattr(one, name))[:2] for name in "abcd"], dtype=np.float64)
    return points[:, ::-1] - 1.0


def area(quad: Floats) -> float:
    """Square pixels of a polygon (N, 2)."""
    x, y = quad.T
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
