"""Run a table: every method on every set."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from whim import __version__
from whim.benchmark.reconstruction.config import ReconstructionBenchmarkConfig, RowConfig, SetConfig
from whim.benchmark.reconstruction.predictors import LabelPredictions, reconstructor
from whim.benchmark.reconstruction.published import PublishedRow
from whim.benchmark.reconstruction.report import Cell, Method, ReconstructionReport, Set
from whim.benchmark.reconstruction.truth import TruePicture, TrueSet, open_set
from whim.benchmark.reconstruction.types import Predicted, Reconstructs, same_mesh
from whim.benchmark.rows import check_published, open_all, published_rows
from whim.benchmark.tables import file_stem
from whim.config import config_hash
from whim.errors import BadFileError, UsageError, WhimError
from whim.geometry.procrustes import Floats
from whim.metrics.reconstruction import ReconstructionMeter
from whim.metrics.submission import SubmissionWriter
from whim.progress import Progress

SUBMISSIONS = "submissions"
"""Below the report's folder: the files of the challenges."""

_Kept = dict[int, tuple[Floats, Floats | None]]


def run_reconstruction_benchmark(
    config: ReconstructionBenchmarkConfig, *, predictors: Mapping[str, Reconstructs] | None = None
) -> ReconstructionReport:
    """Measure; with ``config.out`` also write the report and the challenges' files there.

    Args:
        config: rows and sets.
        predictors: objects that run for the rows of these names.

    A method or set that cannot be had is reported with its reason and does not stop the others.

    Raises:
        UsageError: none of the sets can be had; a published row that is not in the paper; a predictor without a row.
    """
    given = dict(predictors or {})
    paper = published_rows(PublishedRow, config.published, config.table)
    check_published(config.rows, paper, config.table)
    if strangers := given.keys() - {row.name for row in config.rows}:
        raise UsageError(f"no row for the predictor {sorted(strangers)[0]!r}")
    opened = open_all(partial(open_set, limit=config.limit), config.sets)
    cells = {
        (row.name, one.name): _cell(row, found, config, given)
        for row in config.rows
        for one, found in zip(config.sets, opened, strict=True)
    }
    report = ReconstructionReport(
        title=config.title,
        table=config.table,
        methods=[
            Method(name=row.name, published=paper.get(row.published or ""), note=row.note)
            for row in config.rows
        ],
        sets=[_set(one, found) for one, found in zip(config.sets, opened, strict=True)],
        cells=cells,
        facts={"whim_version": __version__, "config_hash": config_hash(config), "limit": config.limit},
    )
    if config.out is not None:
        report.write(config.out)
    return report


def _cell(
    row: RowConfig,
    where: TrueSet | WhimError,
    config: ReconstructionBenchmarkConfig,
    given: Mapping[str, Reconstructs],
) -> Cell:
    if isinstance(where, WhimError):
        return Cell(reason=str(where))
    try:
        found = reconstructor(row, where.config, config.device, given)
    except WhimError as error:
        return Cell(reason=str(error))
    if isinstance(found, LabelPredictions) and not found.keys & where.keys:
        return Cell(reason=f"{found.implementation}: no picture (recording and frame) in common with the set")
    try:
        cell, kept = _measure(row, found, where, config)
    except WhimError as error:
        return Cell(reason=str(error), implementation=found.implementation, device=found.device)
    if config.out is None:
        return cell
    return replace(cell, submission=_submit(config.out, row, where, kept))


def _measure(
    row: RowConfig, found: Reconstructs, where: TrueSet, config: ReconstructionBenchmarkConfig
) -> tuple[Cell, _Kept]:
    """One method on one set."""
    started = time.perf_counter()
    meter = ReconstructionMeter()
    kept: _Kept = {}
    broken: list[str] = []
    with Progress(len(where), f"{row.name} on {where.config.name}", "picture") as progress:
        for group in _groups(where, config.batch):
            readable = [one for one in group if _readable(one, broken, found)]
            answers = dict(zip(map(id, readable), _answers(found, readable), strict=True))
            for one in group:
                answer = answers.get(id(one)) or Predicted.nothing(len(one.joints))
                _add(meter, one, answer)
                if one.place is not None:
                    kept[one.place] = (
                        answer.joints[0],
                        None if answer.vertices is None else answer.vertices[0].astype(np.float32),
                    )
            progress.step(amount=len(group))
    cell = Cell(
        implementation=found.implementation,
        device=found.device,
        seconds=round(time.perf_counter() - started, 2),
        unreadable=tuple(broken),
    )
    scores = meter.scores()
    if not scores.hands:
        return replace(cell, reason="the set has not one hand with true 3D joints"), kept
    return replace(cell, scores=scores), kept


def _answers(found: Reconstructs, group: Sequence[TruePicture]) -> Sequence[Predicted]:
    """What a method says to each picture, checked.

    Raises:
        RuntimeError: answers that do not fit the questions.
    """
    answers = found.predict([one.view for one in group]) if group else []
    if len(answers) != len(group):
        raise RuntimeError(f"{found.implementation}: {len(answers)} answers to {len(group)} pictures")
    for one, answer in zip(group, answers, strict=True):
        if answer.joints.shape != one.joints.shape:
            raise RuntimeError(
                f"{found.implementation}: joints of the shape {answer.joints.shape}, not {one.joints.shape}"
            )
        mesh = answer.vertices
        if mesh is not None and (mesh.ndim != 3 or mesh.shape[::2] != (len(one.joints), 3)):
            raise RuntimeError(f"{found.implementation}: vertices of the shape {mesh.shape}")
    return answers


def _add(meter: ReconstructionMeter, one: TruePicture, answer: Predicted) -> None:
    same = same_mesh(answer.topology, one.topology)
    for row, truth in enumerate(one.joints):
        joints = answer.joints[row]
        meter.add(
            None if np.isnan(joints).all() else joints,
            truth,
            None if answer.vertices is None else answer.vertices[row],
            one.vertices[row],
            same_mesh=same,
        )


def _submit(out: Path, row: RowConfig, where: TrueSet, kept: _Kept) -> str:
    """Write the challenge's files; returns the zip's name, or why there is none."""
    challenge, official = where.config.challenge, where.official
    if challenge is None or official is None:
        return ""
    if not where.whole:
        return f"not written: {len(kept)} of the challenge's {len(official.order)} pictures were measured"
    writer = SubmissionWriter(
        out / SUBMISSIONS / f"{file_stem(row.name)}--{file_stem(where.config.name)}", challenge
    )
    try:
        for place in range(len(official.order)):
            joints, vertices = kept[place]
            finite = np.isfinite(joints).all() and (vertices is None or np.isfinite(vertices).all())
            writer.add(joints if finite else None, vertices if finite else None)
    except UsageError as error:
        return f"not written: {error}"
    return writer.write().relative_to(out).as_posix()


def _groups(where: TrueSet, batch: int) -> Iterator[list[TruePicture]]:
    group: list[TruePicture] = []
    for one in where.pictures():
        group.append(one)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group


def _readable(one: TruePicture, broken: list[str], found: Reconstructs) -> bool:
    """Labels need no picture; everything else does."""
    if isinstance(found, LabelPredictions):
        return True
    try:
        _ = one.view.image
    except BadFileError as error:
        broken.append(str(error))
        return False
    return True


def _set(config: SetConfig, found: TrueSet | WhimError) -> Set:
    if isinstance(found, WhimError):
        return Set(name=config.name, column=config.column, reason=str(found))
    if found.official is not None:
        meshes = "and vertices " if found.official.vertices is not None else ""
        truth = f"official joints {meshes}({len(found.official.order)} hands)"
    else:
        truth = "joints of the labels" + ("" if config.hand is None else ", meshes of their parameters")
    return Set(
        name=config.name,
        column=config.column,
        pictures=len(found),
        total=found.total,
        truth=truth,
        licence=", ".join(found.licences),
    )
