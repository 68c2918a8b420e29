"""What the tables of every kind of measurement share: rows and sets that can be told apart, the paper's numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from whim.config import Config, load_config
from whim.errors import UsageError, WhimError
from whim.resources import user_or_shipped


class Named(Protocol):
    """A row or a set."""

    @property
    def name(self) -> str:
        """As shown in the table."""
        ...


class NamedRow(Named, Protocol):
    """A row that may stand beside one of the paper's."""

    @property
    def published(self) -> str | None:
        """Row of the published table."""
        ...


class PrintedRow(Config):
    """A row of a table of the paper."""

    method: str


RowT = TypeVar("RowT", bound=PrintedRow)
ConfigT = TypeVar("ConfigT")
SetT = TypeVar("SetT")


class _Table(Config, Generic[RowT]):
    table: int
    caption: str
    rows: tuple[RowT, ...]


class _Tables(Config, Generic[RowT]):
    tables: tuple[_Table[RowT], ...]


def published_rows(kind: type[RowT], path: Path, table: int) -> dict[str, RowT]:
    """Method -> row of a table of the paper, in its order.

    Raises:
        UsageError: no such file or table.
    """
    tables: type[_Tables[RowT]] = _Tables[kind]  # type: ignore[valid-type]
    for one in load_config(tables, user_or_shipped(path)).tables:
        if one.table == table:
            return {row.method: row for row in one.rows}
    raise UsageError(f"{path}: no table {table}")


def check_published(rows: Sequence[NamedRow], paper: Mapping[str, PrintedRow], table: int) -> None:
    """Rows may only refer to what the paper has.

    Raises:
        UsageError: a row that is not in the table.
    """
    for row in rows:
        if row.published is not None and row.published not in paper:
            raise UsageError(
                f"row {row.name}: table {table} has no {row.published!r}; it has {', '.join(paper)}"
            )


def check_names(kind: str, members: Sequence[Named]) -> None:
    """For validators: at least one, and no name twice.

    Raises:
        ValueError: otherwise.
    """
    if not members:
        raise ValueError(f"{kind} is empty")
    if len({one.name for one in members}) != len(members):
        raise ValueError(f"{kind}: two have the same name")


def open_all(open_set: Callable[[ConfigT], SetT], configs: Sequence[ConfigT]) -> list[SetT | WhimError]:
    """Each set, or why it cannot be had.

    Raises:
        UsageError: none can be had.
    """
    opened: list[SetT | WhimError] = []
    for one in configs:
        try:
            opened.append(open_set(one))
        except WhimError as error:
            opened.append(error)
    if all(isinstance(one, WhimError) for one in opened):
        raise UsageError("; ".join(map(str, opened)))
    return opened
