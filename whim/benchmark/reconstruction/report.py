"""The finished table: for people, for machines, and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whim.benchmark.reconstruction.config import COLUMN_OF, Table
from whim.benchmark.reconstruction.published import PublishedRow
from whim.benchmark.tables import csv_value, markdown_table, text_table
from whim.files import write_text
from whim.metrics.reconstruction import HandScores

COLUMNS: dict[int, tuple[str, ...]] = {
    3: ("pa_mpjpe", "pa_mpvpe", "f5", "f15"),
    4: ("auc_j", "pa_mpjpe", "auc_v", "pa_mpvpe", "f5", "f15"),
    5: ("pa_mpjpe", "pa_mpvpe", "f5", "f15"),
}
"""Numbers of the paper's tables, in their order."""
HEADS = {
    "auc_j": "AUC_J",
    "pa_mpjpe": "PA-MPJPE",
    "auc_v": "AUC_V",
    "pa_mpvpe": "PA-MPVPE",
    "f5": "F@5",
    "f15": "F@15",
    "proper_pa_mpjpe": "proper PA-J",
    "proper_pa_mpvpe": "proper PA-V",
}
_EXTRA = ("proper_pa_mpjpe", "proper_pa_mpvpe")
_MILLIMETRES = {"pa_mpjpe", "pa_mpvpe", *_EXTRA}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row."""

    name: str
    published: PublishedRow | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Set:
    """One test set."""

    name: str
    column: str | None = None
    pictures: int = 0
    """Measured."""
    total: int = 0
    """There."""
    truth: str = ""
    """Where joints and meshes come from."""
    licence: str = ""
    reason: str = ""
    """Why it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method on one set."""

    scores: HandScores | None = None
    reason: str = ""
    """Why there are none."""
    implementation: str = ""
    device: str = ""
    seconds: float = 0.0
    submission: str = ""
    """The challenge's file, relative to the report; or why there is none."""
    unreadable: tuple[str, ...] = ()
    """Pictures that could not be decoded; their hands count as missing."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        scores = None if self.scores is None else self.scores.to_json()
        return {**vars(self), "scores": scores, "unreadable": list(self.unreadable)}


@dataclass(frozen=True, kw_only=True)
class ReconstructionReport:
    """All numbers. Nothing here is printed as measured that was not."""

    title: str
    table: Table
    methods: Sequence[Method]
    sets: Sequence[Set]
    cells: Mapping[tuple[str, str], Cell]
    """(method, set) -> cell."""
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "title": self.title,
            "table": self.table,
            "facts": self.facts,
            "methods": [
                {**vars(one), "published": None if one.published is None else one.published.model_dump()}
                for one in self.methods
            ],
            "sets": [
                {
                    **vars(one),
                    "cells": {m.name: self.cells[m.name, one.name].to_json() for m in self.methods},
                }
                for one in self.sets
            ],
        }

    def render(self) -> str:
        """Plain text for the terminal."""
        lines = [self.title]
        for one in self.sets:
            lines += ["", _heading(one)]
            lines += [f"  not measured: {one.reason}"] if one.reason else []
            lines += text_table(*self._table(one))
        return "\n".join([*lines, "", *self._notes()])

    def to_markdown(self) -> str:
        """The same as Markdown."""
        lines = [f"# {self.title}"]
        for one in self.sets:
            lines += ["", f"## {one.name}", "", _heading(one), ""]
            lines += [f"Not measured: {one.reason}", ""] if one.reason else []
            lines += markdown_table(*self._table(one))
        return "\n".join([*lines, "", "## Notes", "", *(f"- {note}" for note in self._notes())]) + "\n"

    def to_csv(self) -> str:
        """One line per method, set and kind of number (measured, published)."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = list(HEADS)
        writer.writerow(
            ["method", "kind", "set", *names, "hands", "missing", "implementation", "device", "reason"]
        )
        for method in self.methods:
            for one in self.sets:
                cell = self.cells[method.name, one.name]
                values = [None if cell.scores is None else getattr(cell.scores, name) for name in names]
                counts = [None, None] if cell.scores is None else [cell.scores.hands, cell.scores.missing]
                facts = [cell.implementation, cell.device, cell.reason]
                writer.writerow(
                    [method.name, "measured", one.name, *map(csv_value, [*values, *counts]), *facts]
                )
                if (paper := self._published(method, one)) is not None:
                    printed = [csv_value(getattr(paper, name, None)) for name in names]
                    writer.writerow(
                        [method.name, "published", one.name, *printed, "", "", "the paper", "", ""]
                    )
        return stream.getvalue()

    def write(self, folder: Path) -> None:
        """``report.json``, ``report.csv`` and ``report.md``."""
        write_text(folder / "report.json", json.dumps(self.to_json(), indent=1) + "\n")
        write_text(folder / "report.csv", self.to_csv())
        write_text(folder / "report.md", self.to_markdown())

    def _published(self, method: Method, one: Set) -> PublishedRow | None:
        """The printed row, if this is the set that the table is about."""
        return method.published if one.column == COLUMN_OF[self.table] else None

    def _table(self, one: Set) -> tuple[list[str], list[list[str]]]:
        names = COLUMNS[self.table]
        first, *others = (HEADS[name] for name in names)
        head = [
            "method",
            *(HEADS[name] for name in (*names, *_EXTRA)),
            "missing",
            f"published: {first}",
            *others,
        ]
        rows = []
        for method in self.methods:
            scores, paper = self.cells[method.name, one.name].scores, self._published(method, one)
            measured = [
                _number(name, None if scores is None else getattr(scores, name)) for name in (*names, *_EXTRA)
            ]
            missing = "-" if scores is None else str(scores.missing)
            printed = ["-" if paper is None else _printed(name, getattr(paper, name)) for name in names]
            rows.append([method.name, *measured, missing, *printed])
        return head, rows

    def _notes(self) -> list[str]:
        notes = [
            "PA: aligned as the official scripts do it, reflections allowed, joints and vertices apart; proper PA: the "
            "same by a rotation. Millimetres; F and AUC are shares of 1. Missing hands count as the empty entry of a "
            "submission: one point in the middle of the truth",
        ]
        if any(self._published(method, one) for method in self.methods for one in self.sets):
            notes.append(f"published: printed in the paper (table {self.table}), not measured here")
        for method in self.methods:
            cells = [(one, self.cells[method.name, one.name]) for one in self.sets]
            whys = list(
                dict.fromkeys(cell.reason for one, cell in cells if cell.reason and cell.reason != one.reason)
            )
            if len(whys) == 1 and all(cell.reason for _, cell in cells):
                notes.append(f"{method.name}: not run: {whys[0]}")
            else:
                notes += [
                    f"{method.name} on {one.name}: not run: {cell.reason}"
                    for one, cell in cells
                    if cell.reason and cell.reason != one.reason
                ]
            notes += [f"{method.name}: {method.note}"] if method.note else []
            for one, cell in cells:
                notes += _cell_notes(f"{method.name} on {one.name}", cell)
        return list(dict.fromkeys(notes))


def _cell_notes(place: str, cell: Cell) -> list[str]:
    notes = []
    if cell.scores is not None:
        runs = ", ".join(part for part in (cell.implementation, cell.device) if part)
        notes.append(f"{place}: {runs}; {cell.scores.hands} hands in {cell.seconds:.1f} s")
        if cell.scores.not_finite:
            notes.append(f"{place}: {cell.scores.not_finite} predictions are not finite and count as missing")
        if cell.scores.pa_mpvpe is None:
            notes.append(
                f"{place}: no vertex errors: not every hand has a true and a predicted mesh of one topology"
            )
    if cell.unreadable:
        notes.append(f"{place}: {len(cell.unreadable)} pictures cannot be read; their hands count as missing")
    if cell.submission:
        notes.append(f"{place}: submission: {cell.submission}")
    return notes


def _heading(one: Set) -> str:
    part = "" if one.pictures == one.total else f" of {one.total}"
    return f"{one.name}: {one.pictures}{part} pictures; {one.truth or 'no truth'}"


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name in _MILLIMETRES else f"{value:.3f}"


def _printed(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if name in _MILLIMETRES else f"{value:.3f}"
