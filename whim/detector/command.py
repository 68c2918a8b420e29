"""``whim predict``: a detector on files, with pictures to look at and numbers to use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np

from whim.conventions import HAND_BONES, Side
from whim.detector.detections import Detections
from whim.detector.predict import HandPredictor, Image
from whim.errors import BadFileError, UsageError
from whim.files import atomic_path, write_text
from whim.progress import Progress
from whim.shards.videos import VIDEO_SUFFIXES
from whim.sources.video.decode import frames_at
from whim.sources.video.probe import probe
from whim.viz.overlay import SIDE_COLOURS, SIDE_LETTERS

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_QUALITY = 90


@dataclass
class PredictSummary:
    """What was looked at."""

    out: Path
    pictures: int = 0
    hands: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 when everything could be read, else 1."""
        return 1 if self.problems else 0

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "out": str(self.out),
            "pictures": self.pictures,
            "hands": self.hands,
            "problems": self.problems,
        }

    def render(self) -> str:
        """Text for the terminal."""
        lines = [f"{self.out}: {self.hands} hands in {self.pictures} pictures; numbers in detections.json"]
        return "\n".join([*lines, *(f"not read: {problem}" for problem in self.problems[:10])])


class Watcher(Protocol):
    """Told of every picture and what was found in it; may add something to the drawn copy."""

    def see(self, name: str, picture: Image, found: Detections, frame: int | None) -> Image | None:
        """The picture to draw on instead, or None."""
        ...

    def close(self) -> None:
        """All pictures are seen."""
        ...


def predict(
    source: Path, detector: HandPredictor, out: Path, *, least_score: float, watcher: Watcher | None = None
) -> PredictSummary:
    """Detect hands in a picture, a video, or all of both in a folder; write drawn copies and ``detections.json``.

    The JSON is COCO: ``images`` (with ``file_name``, and ``frame_index`` of videos) and ``annotations`` with boxes,
    sides, scores and keypoints.

    Raises:
        UsageError: nothing at ``source`` that is a picture or a video.
    """
    files = _files(source)
    out.mkdir(parents=True, exist_ok=True)
    summary = PredictSummary(out=out)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []

    def note(name: str, picture: Image, found: Detections, frame: int | None) -> Image:
        number = len(images)
        size = {"height": picture.shape[0], "width": picture.shape[1]}
        images.append(
            {"id": number, "file_name": name, **size, **({} if frame is None else {"frame_index": frame})}
        )
        annotations.extend({"id": len(annotations) + k, **one} for k, one in enumerate(found.to_coco(number)))
        summary.pictures += 1
        summary.hands += len(found)
        seen = watcher.see(name, picture, found, frame) if watcher else None
        return draw(picture if seen is None else seen, found, keypoints=seen is None)

    with Progress(len(files), "predict", "file") as progress:
        for path in files:
            try:
                name = str(path.relative_to(source)) if source.is_dir() else path.name
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    _video(path, name, detector, out, least_score, note)
                else:
                    picture = _read(path)
                    found = detector.detect(picture, least_score=least_score)
                    drawn = note(name, picture, found, None)[..., ::-1]
                    target = out / Path(name).with_suffix(".jpg")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(target), drawn, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                progress.step()
            except BadFileError as error:
                summary.problems.append(str(error))
                progress.step("unreadable")
    if watcher:
        watcher.close()
    categories = [{"id": int(side), "name": f"{side.name.lower()} hand"} for side in (Side.LEFT, Side.RIGHT)]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    write_text(out / "detections.json", json.dumps(tree) + "\n")
    return summary


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder")
    kinds = PICTURES | VIDEO_SUFFIXES
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    files = [path for path in files if path.suffix.lower() in kinds and path.is_file()]
    if not files:
        raise UsageError(f"{source}: no picture or video")
    return files


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadFileError(f"{path}: not a picture that can be read")
    return np.ascontiguousarray(picture[..., ::-1])


def _video(path: Path, name: str, detector: HandPredictor, out: Path, least_score: float, note: Any) -> None:
    """Every frame; the drawn copy is an MP4."""
    target = out / Path(name).with_suffix(".mp4")
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream: Any = None
        for index, (picture, rate) in enumerate(_frames(path)):
            found = detector.detect(picture, least_score=least_score)
            drawn = note(name, picture, found, index)
            if stream is None:
                stream = container.add_stream("mpeg4", rate=rate)
                stream.width, stream.height = drawn.shape[1] // 2 * 2, drawn.shape[0] // 2 * 2
                stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(drawn[: stream.height, : stream.width]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _frames(path: Path) -> Iterator[tuple[Image, Fraction]]:
    """Upright frames and the frame rate."""
    facts = probe(path)
    rate = Fraction(facts.fps or 25.0).limit_denominator(1001)
    for frame in frames_at(path, range(facts.frames)):
        yield frame.image, rate


def draw(picture: Image, found: Detections, *, keypoints: bool = True) -> Image:
    """A copy with boxes, sides and keypoints; orange is left, blue right."""
    image = picture.copy()
    width = max(2, round(max(image.shape[:2]) / 400))
    for row in range(len(found))[::-1]:
        side = Side(int(found.side[row]))
        colour = SIDE_COLOURS[side]
        points = np.round((np.clip(found.keypoints[row, :, :2], -1e4, 1e4) - 0.5) * 16).astype(np.int32)
        for parent, child in HAND_BONES if keypoints else ():
            ends = tuple(points[parent].tolist()), tuple(points[child].tolist())
            cv2.line(image, *ends, colour, max(1, width // 2), cv2.LINE_AA, 4)
        x1, y1, x2, y2 = np.round((found.boxes[row] - 0.5) * 16).astype(int).tolist()
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA, 4)
        text = f"{SIDE_LETTERS[side]} {100 * found.score[row]:.0f}"
        place = (x1 // 16 + 2, max(y1 // 16 - 4, 12))
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.25 + 0.12 * width, colour, 1, cv2.LINE_AA)
    return image
