"""Which frames go into which pixel shard, from the labels alone. Deterministic; no video is opened."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whim.errors import BadFileError
from whim.shards.reader import lineage_of, read_file, some_files
from whim.shards.schema import FORMAT_VERSION

SHARD_BYTES = 400 * 1024 * 1024
"""A shard is closed before its estimated size passes this; most then have 256 to 512 MB."""
BYTES_PER_PIXEL = 0.12
"""Estimate for a JPEG of quality 90: real clips of 720p and more take 0.06 to 0.17, smaller ones 0.2."""


@dataclass(frozen=True, kw_only=True)
class LabelledVideo:
    """What the labels say of one video."""

    video_id: str
    split: str
    files: tuple[Path, ...]
    """Its label files in order of time."""
    frames: int
    pixels: int
    """Over all frames."""
    digest: str
    """Of the names and sizes of the label files."""
    lineage: dict[str, Any] = field(hash=False)
    """What made the labels (of the first file)."""

    @property
    def estimate(self) -> float:
        """Expected bytes of its pictures."""
        return self.pixels * BYTES_PER_PIXEL


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Frames ``start`` to ``stop`` (rows of the video's labels, end excluded); mostly a whole video."""

    video: LabelledVideo
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """One shard: a file name and what belongs into it."""

    name: str
    pieces: tuple[Piece, ...]

    @property
    def frames(self) -> int:
        """Frames when no video is left out."""
        return sum(piece.stop - piece.start for piece in self.pieces)

    @property
    def digest(self) -> str:
        """Changes with everything that changes the shard's content, except for videos left out."""
        parts = [[piece.video.video_id, piece.video.digest, piece.start, piece.stop] for piece in self.pieces]
        return _hash([FORMAT_VERSION, self.name, parts])


def survey(labels: Path) -> list[LabelledVideo]:
    """Read the head of every label file and group by video, sorted by split and key.

    Raises:
        BadFileError: no labels, a file that is not what it should be, or a video with two splits.
    """
    groups: dict[str, list[_Head]] = {}
    for path in some_files(labels):
        head = _head(path)
        groups.setdefault(head.video_id, []).append(head)
    videos = []
    for video_id, heads in groups.items():
        heads.sort(key=lambda head: (head.first, head.path.name))
        splits = {head.split for head in heads if head.frames}
        if len(splits) > 1:
            raise BadFileError(
                f"{heads[0].path.parent}: in several splits ({', '.join(sorted(splits))}); a video is in one"
            )
        videos.append(
            LabelledVideo(
                video_id=video_id,
                split=min(splits, default=""),
                files=tuple(head.path for head in heads),
                frames=sum(head.frames for head in heads),
                pixels=sum(head.pixels for head in heads),
                digest=_hash([[head.path.name, head.path.stat().st_size] for head in heads]),
                lineage=heads[0].lineage,
            )
        )
    return sorted(videos, key=lambda video: (video.split, video.video_id))


def plan_shards(videos: Sequence[LabelledVideo], shard_bytes: int) -> list[ShardPlan]:
    """Fill shards with whole videos of one split, in order; a video larger than a shard gets its own."""
    shards: list[ShardPlan] = []
    counts: dict[str, int] = {}
    for split, pieces in _fill(videos, shard_bytes):
        number = counts.get(split, 0)
        counts[split] = number + 1
        shards.append(ShardPlan(name=f"{split or 'unsplit'}-{number:05d}.parquet", pieces=tuple(pieces)))
    return shards


def labels_digest(labels: Path) -> str:
    """Changes when a label file comes, goes or changes its size; reads no file.

    Raises:
        BadFileError: no labels there.
    """
    return _hash([[*path.parts[-2:], path.stat().st_size] for path in some_files(labels)])


def _fill(videos: Sequence[LabelledVideo], shard_bytes: int) -> Iterator[tuple[str, list[Piece]]]:
    open_pieces: list[Piece] = []
    filled = 0.0
    for video in videos:
        if not video.frames:
            continue
        if open_pieces and (
            filled + video.estimate > shard_bytes or open_pieces[0].video.split != video.split
        ):
            yield open_pieces[0].video.split, open_pieces
            open_pieces, filled = [], 0.0
        parts = math.ceil(video.estimate / shard_bytes)
        if parts > 1:
            cuts = [part * video.frames // parts for part in range(parts + 1)]
            for start, stop in itertools.pairwise(cuts):
                yield video.split, [Piece(video=video, start=start, stop=stop)]
        else:
            open_pieces.append(Piece(video=video, start=0, stop=video.frames))
            filled += video.estimate
    if open_pieces:
        yield open_pieces[0].video.split, open_pieces


@dataclass(frozen=True, kw_only=True)
class _Head:
    path: Path
    video_id: str
    split: str
    first: int
    """Index of its first frame."""
    frames: int
    pixels: int
    lineage: dict[str, Any]


def _head(path: Path) -> _Head:
    table = read_file(path, ["video_id", "split", "frame_index", "width", "height"])
    heads = {(row["video_id"], row["split"]) for row in table.select(["video_id", "split"]).to_pylist()}
    if len(heads) > 1:
        raise BadFileError(
            f"{path}: rows of several videos or splits; a label file holds one segment of one video"
        )
    video_id, split = heads.pop() if heads else (path.parent.name, "")
    if not re.fullmatch(r"[A-Za-z0-9_]*", split):
        raise BadFileError(f"{path}: split {split!r}; a split names files, so letters, digits and _ only")
    size = table.slice(0, 1).to_pylist()
    return _Head(
        path=path,
        video_id=video_id,
        split=split,
        first=size[0]["frame_index"] if size else -1,
        frames=table.num_rows,
        pixels=table.num_rows * size[0]["width"] * size[0]["height"] if size else 0,
        lineage=lineage_of(table.schema),
    )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode()).hexdigest()[:16]
