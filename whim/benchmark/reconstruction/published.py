"""The paper's tables 3 to 5 as data."""

from __future__ import annotations

from whim.benchmark.rows import PrintedRow


class PublishedRow(PrintedRow):
    """A row as printed: millimetres and shares of 1; None where nothing is printed."""

    auc_j: float | None = None
    pa_mpjpe: float | None = None
    auc_v: float | None = None
    pa_mpvpe: float | None = None
    f5: float | None = None
    f15: float | None = None
