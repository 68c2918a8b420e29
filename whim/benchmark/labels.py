"""How good are the labels? Fused boxes against hand-drawn ones, next to each detector alone.

The fusion settings and trust weights of the shipped pipeline were chosen on one half of ``detection/``; this
benchmark measures on the other half only, so that nothing is tested on what it was tuned on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.config import load_config
from whim.errors import BadFileError, UsageError
from whim.metrics.detection import Counts, average_precision, match
from whim.progress import Progress
from whim.resources import user_or_shipped

if TYPE_CHECKING:
    from whim.annotate.frame import FrameLabels
    from whim.perception.types import Hand

Boxes = NDArray[np.float64]
LOOSE, STRICT = THRESHOLDS = (0.3, 0.5)
"""IoU at which a box counts as found."""
FUSED = "fused"
NEGATIVES = "no people"


@dataclass(frozen=True)
class Picture:
    """A picture and the boxes (M, 4) drawn on it."""

    path: Path
    truth: Boxes


@dataclass(frozen=True)
class PictureSet:
    """Pictures measured together."""

    name: str
    pictures: list[Picture]
    complete: bool = True
    """Every hand has a box, so that a box without truth is a false one."""

    def thinned(self, limit: int | None) -> PictureSet:
        """At most ``limit`` pictures, spread over the set."""
        if limit is None or limit >= len(self.pictures):
            return self
        chosen = np.linspace(0, len(self.pictures) - 1, limit).round().astype(int)
        return PictureSet(self.name, [self.pictures[index] for index in chosen], self.complete)


@dataclass
class Tally:
    """What one method found in one set."""

    counts: dict[float, Counts] = field(default_factory=lambda: dict.fromkeys(THRESHOLDS, Counts()))
    scores: list[float] = field(default_factory=list)
    matched: list[float] = field(default_factory=list)
    """Per score: IoU of the match at the strict threshold, 0 for none."""

    def add(self, hands: Sequence[Hand], truth: Boxes) -> None:
        """Count one picture."""
        boxes = np.array([hand.box for hand in hands]).reshape(-1, 4)
        scores = [hand.score for hand in hands]
        matched = {threshold: match(boxes, scores, truth, threshold) for threshold in THRESHOLDS}
        for threshold in THRESHOLDS:
            self.counts[threshold] += Counts.of(matched[threshold], len(truth))
        self.scores += scores
        self.matched += matched[STRICT].tolist()

    def numbers(self, complete: bool) -> dict[str, float]:
        """Recall and precision at each threshold, mean IoU of the matches, AP; nan where truth is lacking."""
        numbers = {}
        for threshold, counts in self.counts.items():
            numbers[f"recall@{threshold}"] = counts.recall
            numbers[f"precision@{threshold}"] = counts.precision if complete else math.nan
        numbers["mean_iou"] = self.counts[LOOSE].mean_iou
        precise = average_precision(self.scores, self.matched, self.counts[STRICT].truths)
        numbers[f"ap@{STRICT}"] = precise if complete else math.nan
        return numbers


@dataclass(frozen=True)
class Report:
    """Numbers per set and method."""

    pipeline: str
    sets: list[PictureSet]
    tallies: dict[str, dict[str, Tally]]
    """Set -> method -> tally."""
    missing: list[str]
    """Sets that the folder lacks."""

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; what cannot be computed is null."""
        return {
            "pipeline": self.pipeline,
            "sets": [
                {
                    "name": one.name,
                    "pictures": len(one.pictures),
                    "hands": sum(len(picture.truth) for picture in one.pictures),
                    "methods": {
                        method: {
                            "predictions": len(tally.scores),
                            **{
                                k: None if math.isnan(v) else round(v, 4)
                                for k, v in self._row(one, tally).items()
                            },
                        }
                        for method, tally in self.tallies[one.name].items()
                    },
                }
                for one in self.sets
            ],
            "missing": self.missing,
        }

    def render(self) -> str:
        """A table for people."""
        lines = [
            f"labels of pipeline {self.pipeline} against hand-drawn boxes (pictures not used for tuning)"
        ]
        for one in self.sets:
            hands = sum(len(picture.truth) for picture in one.pictures)
            rows = {method: self._row(one, tally) for method, tally in self.tallies[one.name].items()}
            columns = list(next(iter(rows.values()), {}))
            lines += ["", f"{one.name}: {len(one.pictures)} pictures, {hands} hands"]
            lines.append(" " * 34 + "".join(f"{column:>15}" for column in columns))
            for method, row in rows.items():
                cells = ["-" if math.isnan(value) else f"{value:.3f}" for value in row.values()]
                lines.append(f"  {method:<32}" + "".join(f"{cell:>15}" for cell in cells))
        if self.missing:
            lines += ["", f"not in the folder, so not measured: {', '.join(self.missing)}"]
        return "\n".join(lines)

    def _row(self, one: PictureSet, tally: Tally) -> dict[str, float]:
        if one.name == NEGATIVES:
            return {"false/picture": len(tally.scores) / len(one.pictures)}
        return tally.numbers(one.complete)


def run(data: Path, *, limit: int | None = None, pipeline: Path = Path("pipelines/embedded.yaml")) -> Report:
    """Run the annotation pipeline on the pictures below ``data`` and compare.

    Every detector's own row comes from the same run: its votes alone through the same fusion, none dropped
    for its score. ``limit``: pictures per set.

    Raises:
        UsageError: no known set in ``data``, or a wrong pipeline.
        BadFileError: unreadable annotations or picture.
        MissingWeightError: a network of the pipeline is not in the cache.
    """
    from whim.annotate.config import PipelineConfig
    from whim.annotate.frame import Detectors, annotate_frame

    sets, missing = load_sets(data)
    sets = [one.thinned(limit) for one in sets]
    config = load_config(PipelineConfig, user_or_shipped(pipeline))
    detectors = Detectors.load(config)
    names = {detector.detector: detector.implementation for detector in detectors.hands.detectors}
    try:
        tallies = measure(sets, names, lambda image: annotate_frame(image, detectors, config))
    finally:
        detectors.close()
    return Report(config.name, sets, tallies, missing)


def measure(
    sets: Sequence[PictureSet],
    names: dict[str, str],
    annotate: Callable[[NDArray[np.uint8]], FrameLabels],
) -> dict[str, dict[str, Tally]]:
    """Set -> method -> tally. ``names``: detector -> implementation, which heads the detector's row."""
    from whim.perception.fusion import FusionConfig, fuse

    everything = FusionConfig(min_score=0)
    tallies = {one.name: {method: Tally() for method in (FUSED, *names.values())} for one in sets}
    with Progress(sum(len(one.pictures) for one in sets), "benchmark labels", "picture") as progress:
        for one in sets:
            rows = tallies[one.name]
            for picture in one.pictures:
                labels = annotate(_read(picture.path))
                rows[FUSED].add(labels.hands, picture.truth)
                for detector, implementation in names.items():
                    votes = [vote for vote in labels.votes if vote.detector == detector]
                    alone = fuse(votes, labels.persons, everything, detectors_run=1)
                    rows[implementation].add(alone, picture.truth)
                progress.step()
    return tallies


def load_sets(data: Path) -> tuple[list[PictureSet], list[str]]:
    """The picture sets below ``data``, and the names of those it lacks.

    Raises:
        UsageError: there is none.
        BadFileError: an annotation file cannot be understood.
    """
    loaders: dict[str, Callable[[Path], PictureSet]] = {
        "detection/webcam_hands": lambda folder: _detection(folder, _other_sessions),
        "detection/asl_letters": lambda folder: _detection(folder, _odd),
        "detection/finger_counts": lambda folder: _detection(folder, _odd),
        "annotated": _annotated,
        "images/coco_no_person": _negatives,
    }
    found = {name: loader(data / name) for name, loader in loaders.items() if (data / name).is_dir()}
    if not found:
        raise UsageError(f"{data}: none of {', '.join(loaders)} is in this folder")
    return list(found.values()), [name for name in loaders if name not in found]


def _detection(folder: Path, held_out: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> PictureSet:
    """A COCO file with every hand boxed: the half that was not used for tuning."""
    images, boxes = _coco(folder / "annotations.json")
    pictures = [
        Picture(folder / "images" / image["file_name"], boxes.get(image["id"], np.zeros((0, 4))))
        for image in held_out(images)
    ]
    return PictureSet(folder.name, pictures)


def _odd(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return images[1::2]


def _other_sessions(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pictures of one session are near copies: a session lies wholly in one half."""
    sessions = sorted({image["session"] for image in images})
    return [image for image in images if sessions.index(image["session"]) % 2]


def _annotated(folder: Path) -> PictureSet:
    """Samples of published data sets. Most box one hand of several, so that only recall can be read."""
    pictures = []
    for name in ("freihand", "onehand10k", "panoptic_handdb", "rhd", "coco_wholebody"):
        for path in sorted((folder / name).glob("test_*.json")):
            if path.name == "test_halpe.json":
                continue  # the pictures of COCO-WholeBody again
            images, boxes = _coco(path)
            pictures += [
                Picture(folder / name / image["file_name"], boxes[image["id"]])
                for image in images
                if image["id"] in boxes
            ]
    return PictureSet("annotated", pictures, complete=False)


def _negatives(folder: Path) -> PictureSet:
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    return PictureSet(NEGATIVES, [Picture(path, np.zeros((0, 4))) for path in paths])


def _coco(path: Path) -> tuple[list[dict[str, Any]], dict[int, Boxes]]:
    """Images of a COCO file, and picture id -> boxes (M, 4) xyxy of its hands."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        boxes: dict[int, list[list[float]]] = {}
        for record in tree["annotations"]:
            for x, y, width, height in _hand_boxes(record):
                boxes.setdefault(record["image_id"], []).append([x, y, x + width, y + height])
        return tree["images"], {key: np.array(value, dtype=np.float64) for key, value in boxes.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFileError(f"{path}: not a COCO annotation file ({error!r})") from error


def _hand_boxes(record: dict[str, Any]) -> Iterable[list[float]]:
    """Boxes x, y, width, height of a record: a hand, or a person of COCO-WholeBody with valid hands."""
    if "lefthand_box" not in record:
        return [record["bbox"]]
    return [record[f"{side}hand_box"] for side in ("left", "right") if record[f"{side}hand_valid"]]


def _read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path))
    if picture is None:
        raise BadFileError(f"{path}: not a picture that can be read")
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8)
