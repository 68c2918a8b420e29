"""The paper's tables 3 to 5 as data."""

from __future__ import annotations

from pathlib import Path

from whim.config import Config, load_config
from whim.errors import UsageError
from whim.resources import user_or_shipped


class PublishedRow(Config):
    """A row as printed: millimetres and shares of 1; None where nothing is printed."""

    method: str
    auc_j: float | None = None
    pa_mpjpe: float | None = None
    auc_v: float | None = None
    pa_mpvpe: float | None = None
    f5: float | None = None
    f15: float | None = None


class _Table(Config):
    table: int
    caption: str
    rows: tuple[PublishedRow, ...]


class _Tables(Config):
    tables: tuple[_Table, ...]


def published_rows(path: Path, table: int) -> dict[str, PublishedRow]:
    """Method -> row of a table, in its order.

    Raises:
        UsageError: no such file or table.
    """
    for one in load_config(_Tables, user_or_shipped(path)).tables:
        if one.table == table:
            return {row.method: row for row in one.rows}
    raise UsageError(f"{path}: no table {table}")
