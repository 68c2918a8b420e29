"""Which importers there are. Each is one file with ``Options`` and ``read``; it is imported when it is used."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whim.errors import UsageError

if TYPE_CHECKING:
    from whim.importers.types import ImportOptions, Read


@dataclass(frozen=True)
class Entry:
    """One importer."""

    module: str
    """Below ``whim.importers``."""
    help: str
    """One line."""


IMPORTERS: dict[str, Entry] = {
    "coco": Entry("coco", "COCO json: boxes, side from category or field, 21 keypoints if there are any"),
    "yolo": Entry("yolo", "YOLO text files: boxes, or boxes and 21 keypoints"),
    "coco-wholebody": Entry("coco_wholebody", "COCO-WholeBody: boxes and 21 points of left and right hands"),
    "oxfordhands": Entry("oxfordhands", "OxfordHands: hulls of the slanted rectangles in its .mat files"),
    "freihand": Entry("freihand", "FreiHAND: boxes, 21 joints, cameras and MANO parameters of right hands"),
    "ho3d": Entry("ho3d", "HO-3D v2 and v3: boxes, 21 joints, cameras and MANO parameters of right hands"),
    "whim": Entry("whim_release", "the released WHIM annotations, with the videos of `whim fetch`"),
}
"""Name on the command line -> importer."""


def importer(name: str) -> tuple[type[ImportOptions], Read]:
    """Options and reader of an importer.

    Raises:
        UsageError: no such importer; the nearest is named.
    """
    if name not in IMPORTERS:
        nearest = difflib.get_close_matches(name, IMPORTERS, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"no importer {name!r}; the nearest is {nearest!r}, and there are {', '.join(IMPORTERS)}"
        )
    module = importlib.import_module(f"whim.importers.{IMPORTERS[name].module}")
    return module.Options, module.read
