"""The paper's Tables 1 and 2 as data."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from whim.config import Config, load_config
from whim.errors import UsageError
from whim.resources import user_or_shipped

Pair = tuple[float, float]


class PublishedRow(Config):
    """A row as printed; percent, "Mb", frames per second on an RTX 4090."""

    method: str
    size: float | None
    fps: float | None
    coco_whole: Pair | None = Field(default=None, alias="coco-whole")
    oxford_hands: Pair | None = Field(default=None, alias="oxford-hands")
    whim: Pair | None = None

    def pair(self, column: str | None) -> Pair | None:
        """AP at IoU 0.5 and mAP in a column such as ``oxford-hands``; None where nothing is printed."""
        return None if column is None else getattr(self, column.replace("-", "_"))


class _Table(Config):
    table: int
    caption: str
    rows: tuple[PublishedRow, ...]


class _Tables(Config):
    tables: tuple[_Table, ...]


def published_rows(path: Path, table: int) -> dict[str, PublishedRow]:
    """Method -> row of a table.

    Raises:
        UsageError: no such file or table.
    """
    for one in load_config(_Tables, user_or_shipped(path)).tables:
        if one.table == table:
            return {row.method: row for row in one.rows}
    raise UsageError(f"{path}: no table {table}")
