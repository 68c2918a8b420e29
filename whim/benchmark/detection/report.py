"""The finished table: for people, for machines, and as a small folder of files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whim.benchmark.detection.curves import precision_recall_svg
from whim.benchmark.detection.judge import Scores
from whim.benchmark.detection.published import PublishedRow
from whim.benchmark.detection.speed import Speed
from whim.benchmark.tables import csv_value, markdown_table, text_table
from whim.files import write_text


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row."""

    name: str
    implementation: str = ""
    device: str = ""
    parameters: int | None = None
    size_mb: float | None = None
    size_note: str = ""
    speed: Speed | None = None
    published: PublishedRow | None = None
    note: str = ""
    reason: str = ""
    """Why it did not run; empty when it did."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **vars(self),
            "speed": None if self.speed is None else self.speed.to_json(),
            "published": None if self.published is None else self.published.model_dump(by_alias=True),
        }


@dataclass(frozen=True, kw_only=True)
class Set:
    """One test set."""

    name: str
    column: str | None = None
    pictures: int = 0
    """Measured."""
    total: int = 0
    """There."""
    boxes: str = ""
    """What true and predicted boxes enclose, and the protocol."""
    licence: str = ""
    reason: str = ""
    """Why it was not measured."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method on one set."""

    scores: Scores | None = None
    reason: str = ""
    seconds: float = 0.0
    unreadable: tuple[str, ...] = ()
    """Pictures that could not be decoded; they are not among the scores."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        scores = None if self.scores is None else self.scores.to_json()
        return {**vars(self), "scores": scores, "unreadable": list(self.unreadable)}


@dataclass(frozen=True, kw_only=True)
class DetectionReport:
    """All numbers. Nothing here is printed as measured that was not."""

    title: str
    table: int
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
            "methods": [one.to_json() for one in self.methods],
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
        lines = [self.title, "", *text_table(*self._methods_table(), words=2)]
        for one in self.sets:
            lines += ["", self._heading(one)]
            lines += [f"  not measured: {one.reason}"] if one.reason else []
            lines += text_table(*self._set_table(one))
        return "\n".join([*lines, "", *self._notes()])

    def to_markdown(self, curves: Mapping[str, str]) -> str:
        """The same with pictures. ``curves``: set -> file name of its precision-recall curves."""
        lines = [f"# {self.title}", "", *markdown_table(*self._methods_table(), words=2)]
        for one in self.sets:
            lines += ["", f"## {one.name}", "", self._heading(one), ""]
            lines += [f"Not measured: {one.reason}", ""] if one.reason else []
            lines += markdown_table(*self._set_table(one))
            if one.name in curves:
                lines += ["", f"![Precision over recall at IoU 0.5 on {one.name}]({curves[one.name]})"]
        return "\n".join([*lines, "", "## Notes", "", *(f"- {note}" for note in self._notes())]) + "\n"

    def to_csv(self) -> str:
        """One line per method, set and kind of number (measured, published)."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["method", "kind", "set", "ap50", "map", "side_ap50", "side_map", "pictures", "hands", "size_mb",
             "parameters", "fps_network", "fps_all", "implementation", "device", "reason"]
        )  # fmt: skip
        for method in self.methods:
            for one in self.sets:
                cell = self.cells[method.name, one.name]
                s, speed = cell.scores, method.speed
                values = (
                    [None] * 6 if s is None else [s.ap50, s.ap, s.side_ap50, s.side_ap, s.pictures, s.hands]
                )
                fps = [None, None] if speed is None else [speed.network_fps, speed.all_fps]
                facts = [method.size_mb, method.parameters, *fps, method.implementation, method.device]
                reason = cell.reason or method.reason
                writer.writerow(
                    [method.name, "measured", one.name, *map(csv_value, [*values, *facts]), reason]
                )
                if method.published and (pair := method.published.pair(one.column)):
                    numbers = [pair[0] / 100, pair[1] / 100, *[None] * 4, method.published.size, None]
                    row = [*numbers, None, method.published.fps, "", "RTX 4090 (paper)"]
                    writer.writerow([method.name, "published", one.name, *map(csv_value, row), ""])
        return stream.getvalue()

    def write(self, folder: Path) -> None:
        """``report.json``, ``report.csv``, ``report.md`` and a picture of the curves of each set."""
        curves = {}
        for number, one in enumerate(self.sets):
            drawn = {
                m.name: scores.curve for m in self.methods if (scores := self.cells[m.name, one.name].scores)
            }
            if drawn:
                curves[one.name] = f"curves-{number}.svg"
                svg = precision_recall_svg(f"{one.name}: precision and recall at IoU 0.5 (AP50)", drawn)
                write_text(folder / curves[one.name], svg)
        write_text(folder / "report.json", json.dumps(self.to_json(), indent=1) + "\n")
        write_text(folder / "report.csv", self.to_csv())
        write_text(folder / "report.md", self.to_markdown(curves))

    def _methods_table(self) -> tuple[list[str], list[list[str]]]:
        head = ["method", "runs", "MB", "params", "FPS net", "FPS all", "published: Mb", "FPS"]
        rows = []
        for one in self.methods:
            speed, paper = one.speed, one.published
            rows.append(
                [
                    one.name,
                    one.implementation or "not run",
                    _number(one.size_mb, 1),
                    "-" if one.parameters is None else f"{one.parameters / 1e6:.2f} M",
                    _number(speed.network_fps if speed else None, 1),
                    _number(speed.all_fps if speed else None, 1),
                    _number(paper.size if paper else None, 0),
                    _number(paper.fps if paper else None, 0),
                ]
            )
        return head, rows

    def _set_table(self, one: Set) -> tuple[list[str], list[list[str]]]:
        head = ["method", "AP50", "mAP", "side AP50", "side mAP", "recall50", "published: AP50", "mAP"]
        rows = []
        for method in self.methods:
            s = self.cells[method.name, one.name].scores
            values = [] if s is None else [s.ap50, s.ap, s.side_ap50, s.side_ap, s.recall]
            pair = method.published.pair(one.column) if method.published else None
            paper = ["-", "-"] if pair is None else [f"{value:.2f}" for value in pair]
            rows.append([method.name, *([_percent(v) for v in values] or ["-"] * 5), *paper])
        return head, rows

    def _heading(self, one: Set) -> str:
        hands = max(
            (s.hands for m in self.methods if (s := self.cells[m.name, one.name].scores) is not None),
            default=0,
        )
        part = "" if one.pictures == one.total else f" of {one.total}"
        return f"{one.name}: {one.pictures}{part} pictures, {hands} hands; {one.boxes}"

    def _notes(self) -> list[str]:
        notes = [
            "AP in percent as COCO (pycocotools) computes it; AP50, mAP: hands whatever their side; side: mean of left "
            "and right",
        ]
        if any(one.published for one in self.methods):
            notes.append(
                f"published: printed in the paper (table {self.table}; FPS on an RTX 4090), not measured here"
            )
        devices = {one.device for one in self.methods if one.device and one.speed and one.speed.all_ms}
        if devices:
            notes.append(f"FPS measured on {'; '.join(sorted(devices))}, one picture at a time, median")
        for method in self.methods:
            if method.reason:
                notes.append(f"{method.name}: not run: {method.reason}")
            if method.note:
                notes.append(f"{method.name}: {method.note}")
            if method.speed and method.speed.all_ms and method.speed.network_ms is None:
                notes.append(f"{method.name}: its network cannot be timed apart from the rest")
            for one in self.sets:
                cell = self.cells[method.name, one.name]
                if cell.reason and cell.reason not in (method.reason, one.reason):
                    notes.append(f"{method.name} on {one.name}: {cell.reason}")
                if cell.unreadable:
                    notes.append(f"{one.name}: {len(cell.unreadable)} pictures cannot be read")
        return list(dict.fromkeys(notes))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None or value != value else f"{100 * value:.2f}"
