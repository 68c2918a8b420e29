"""The paper's Tables 1 and 2 as data."""

from __future__ import annotations

from pydantic import Field

from whim.benchmark.rows import PrintedRow

Pair = tuple[float, float]


class PublishedRow(PrintedRow):
    """A row as printed; percent, "Mb", frames per second on an RTX 4090."""

    size: float | None
    fps: float | None
    coco_whole: Pair | None = Field(default=None, alias="coco-whole")
    oxford_hands: Pair | None = Field(default=None, alias="oxford-hands")
    whim: Pair | None = None

    def pair(self, column: str | None) -> Pair | None:
        """AP at IoU 0.5 and mAP in a column such as ``oxford-hands``; None where nothing is printed."""
        return None if column is None else getattr(self, column.replace("-", "_"))
