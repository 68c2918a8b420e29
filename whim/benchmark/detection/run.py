"""Run a table: every method on every set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from whim import __version__
from whim.benchmark.detection.config import DetectionBenchmarkConfig, RowConfig, SetConfig
from whim.benchmark.detection.detectors import subject
from whim.benchmark.detection.judge import judged, score
from whim.benchmark.detection.published import PublishedRow
from whim.benchmark.detection.report import Cell, DetectionReport, Method, Set
from whim.benchmark.detection.speed import measure_speed
from whim.benchmark.detection.truth import LabelledPicture, LabelledSet, open_set
from whim.benchmark.detection.types import Found, Image, Subject
from whim.benchmark.rows import check_published, open_all, published_rows
from whim.benchmark.tables import file_stem
from whim.config import config_hash
from whim.errors import BadFileError, WhimError
from whim.files import atomic_path
from whim.progress import Progress

PREDICTIONS = "predictions"
"""Below the report's folder: what each method found, one JSON line per picture."""


def run_detection_benchmark(config: DetectionBenchmarkConfig) -> DetectionReport:
    """Measure; with ``config.out`` also write the report and the predictions there.

    A method or set that cannot be had is reported with its reason and does not stop the others.

    Raises:
        UsageError: none of the sets, or none of the methods with numbers, can be had; a published row that is not
            in the paper.
    """
    paper = published_rows(PublishedRow, config.published, config.table)
    check_published(config.rows, paper, config.table)
    opened = open_all(partial(open_set, limit=config.limit), config.sets)
    methods: list[Method] = []
    cells: dict[tuple[str, str], Cell] = {}
    for row in config.rows:
        method, results = _method(row, opened, config, paper)
        methods.append(method)
        for one, cell in zip(config.sets, results, strict=True):
            cells[row.name, one.name] = cell
    report = DetectionReport(
        title=config.title,
        table=config.table,
        methods=methods,
        sets=[_set(one, found) for one, found in zip(config.sets, opened, strict=True)],
        cells=cells,
        facts={"whim_version": __version__, "config_hash": config_hash(config), "limit": config.limit},
    )
    if config.out is not None:
        report.write(config.out)
    return report


def _method(
    row: RowConfig,
    sets: Sequence[LabelledSet | WhimError],
    config: DetectionBenchmarkConfig,
    paper: dict[str, PublishedRow],
) -> tuple[Method, list[Cell]]:
    printed = paper.get(row.published) if row.published else None
    method = Method(name=row.name, published=printed, note=row.note)
    try:
        found = subject(row, config.device)
    except WhimError as error:
        method = replace(method, reason=str(error))
        return method, [Cell(reason=method.reason) for _ in sets]
    try:
        cells = [
            Cell(reason=str(one)) if isinstance(one, WhimError) else _measure(row, found, one, config)
            for one in sets
        ]
        usable = next(one for one in sets if isinstance(one, LabelledSet))
        speed = measure_speed(found, list(islice(_images(usable), config.speed.pictures)), config.speed)
    finally:
        found.close()
    method = replace(
        method,
        implementation=found.implementation,
        device=found.device,
        parameters=found.parameters,
        size_mb=found.size_mb,
        size_note=found.size_note,
        speed=speed,
    )
    return method, cells


def _measure(row: RowConfig, found: Subject, pictures: LabelledSet, config: DetectionBenchmarkConfig) -> Cell:
    """One method on one set."""
    started = time.perf_counter()
    pairs = []
    broken: list[str] = []
    lines: list[dict[str, Any]] = []
    has_keypoints = False
    with Progress(len(pictures), f"{row.name} on {pictures.config.name}", "picture") as progress:
        for group in _groups(pictures, config.batch, broken):
            answers = found.detector.detect([one.image for one in group])
            if len(answers) != len(group):
                raise RuntimeError(f"{found.implementation}: {len(answers)} answers to {len(group)} pictures")
            for one, answer in zip(group, answers, strict=True):
                hands = Found.of(answer)
                has_keypoints |= hands.keypoints is not None
                pairs.append(judged(one, hands, pictures.config.predicted))
                lines.append(_line(one.key, hands))
            progress.step(amount=len(group))
    if config.out is not None:
        _write_lines(
            config.out / PREDICTIONS / f"{file_stem(row.name)}--{file_stem(pictures.config.name)}.jsonl",
            lines,
        )
    cell = Cell(seconds=round(time.perf_counter() - started, 2), unreadable=tuple(broken))
    if pictures.config.predicted == "keypoint-hull" and not has_keypoints:
        return replace(cell, reason="gives no keypoints to take the hull of")
    if not pairs:
        return replace(cell, reason="not one picture can be read")
    return replace(cell, scores=score(pairs, sides=pictures.config.sides))


def _groups(pictures: LabelledSet, batch: int, broken: list[str]) -> Iterator[list[LabelledPicture]]:
    group: list[LabelledPicture] = []
    for one in pictures.pictures():
        try:
            _ = one.image
        except BadFileError:
            broken.append(one.key)
            continue
        group.append(one)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group


def _images(pictures: LabelledSet) -> Iterator[Image]:
    for group in _groups(pictures, 1, []):
        yield group[0].image


def _set(config: SetConfig, found: LabelledSet | WhimError) -> Set:
    if isinstance(found, WhimError):
        return Set(name=config.name, column=config.column, reason=str(found), boxes="not there")
    kinds = ", ".join(found.conventions) if config.truth == "annotated" else "keypoint-hull"
    boxes = f"true boxes: {kinds}"
    if config.predicted != "annotated":
        boxes += f"; predicted: {config.predicted}"
    if config.ignore_unlabelled:
        boxes += "; places of unlabelled hands not judged"
    return Set(
        name=config.name,
        column=config.column,
        pictures=len(found),
        total=found.total,
        boxes=boxes,
        licence=", ".join(found.licences),
    )


def _line(key: str, hands: Found) -> dict[str, Any]:
    return {
        "picture": key,
        "boxes": hands.boxes.round(2).tolist(),
        "scores": hands.score.round(5).tolist(),
        "sides": hands.side.tolist(),
    }


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
