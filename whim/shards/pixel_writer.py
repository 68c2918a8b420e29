"""One pixel shard: label rows and their pictures -> one Parquet file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whim import __version__
from whim.files import atomic_path
from whim.shards.pixels import JPEG_QUALITY, PictureStore
from whim.shards.plan import LabelledVideo, Piece, ShardPlan
from whim.shards.reader import read_file
from whim.shards.rows import Row
from whim.shards.schema import label_schema, pixel_schema
from whim.shards.writer import to_table

GROUP_ROWS = 100
"""Rows per row group: what a training loader reads at once."""


def video_labels(video: LabelledVideo, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a video in order of time.

    Raises:
        BadFileError: a label file that is not what it should be.
    """
    tables = [read_file(path, columns).replace_schema_metadata() for path in video.files]
    return pa.concat_tables(tables)


def write_shard(target: Path, shard: ShardPlan, pieces: list[Piece], stores: dict[str, PictureStore]) -> None:
    """Write ``pieces``, those of the plan that can be had, with the pictures of ``stores`` (by video).

    Raises:
        OSError: the disk is full, say; nothing is left behind.
    """
    schema = pixel_schema(_lineage(shard, pieces))
    tables = (
        chunk for piece in pieces for chunk in _with_pictures(piece, stores[piece.video.video_id], schema)
    )
    _write(target, schema, tables)


def write_pictures(target: Path, pictures: Iterable[tuple[bytes, Row]], lineage: dict[str, Any]) -> int:
    """Write label rows with their pictures (JPEG or PNG bytes) where no video is: rendered or imported ones.

    Returns the number of rows.

    Raises:
        ValueError: a row that does not fit the schema.
        OSError: the disk is full, say; nothing is left behind.
    """
    schema = pixel_schema(lineage)
    count = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal count
        remaining = iter(pictures)
        while group := list(islice(remaining, GROUP_ROWS)):
            labels = to_table([row for _, row in group], label_schema())
            images = [
                {"bytes": data, "path": f"{row['video_id']}/{row['frame_index']:08d}{_suffix(data)}"}
                for data, row in group
            ]
            image = pa.array(images, type=schema.field("image").type)
            count += len(group)
            yield pa.table([image, *labels.columns], schema=schema)

    _write(target, schema, tables())
    return count


def _suffix(data: bytes) -> str:
    return ".png" if data.startswith(b"\x89PNG") else ".jpg"


def _write(target: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Row groups of GROUP_ROWS rows from tables of any length."""
    leaves = _leaves(schema)
    others = [leaf for leaf in leaves if leaf != "image.bytes"]
    options: dict[str, Any] = {
        # JPEG bytes do not shrink further; a dictionary or statistics of them would only cost space.
        "compression": {leaf: "zstd" if leaf in others else "none" for leaf in leaves},
        "use_dictionary": others,
        "write_statistics": others,
    }
    with atomic_path(target) as temporary, pq.ParquetWriter(temporary, schema, **options) as writer:
        waiting: pa.Table = schema.empty_table()
        for chunk in tables:
            waiting = pa.concat_tables([waiting, chunk])
            if waiting.num_rows >= GROUP_ROWS:
                writer.write_table(waiting.slice(0, GROUP_ROWS))
                waiting = waiting.slice(GROUP_ROWS)
        if waiting.num_rows:
            writer.write_table(waiting)


def _with_pictures(piece: Piece, store: PictureStore, schema: pa.Schema) -> Iterator[pa.Table]:
    """Rows of a piece with their pictures, at most a row group at a time."""
    table = video_labels(piece.video).slice(piece.start, piece.stop - piece.start)
    for start in range(0, table.num_rows, GROUP_ROWS):
        rows = table.slice(start, GROUP_ROWS)
        images = [
            {"bytes": store[piece.start + start + number], "path": f"{piece.video.video_id}/{index:08d}.jpg"}
            for number, index in enumerate(rows["frame_index"].to_pylist())
        ]
        image = pa.array(images, type=schema.field("image").type)
        yield pa.table([image, *rows.columns], schema=schema)


def _lineage(shard: ShardPlan, pieces: list[Piece]) -> dict[str, Any]:
    """What made a shard. No paths, no times: the same input gives the same bytes."""
    included = {piece.video.video_id for piece in pieces}
    makers: list[dict[str, Any]] = []
    for piece in pieces:
        maker = {key: value for key, value in piece.video.lineage.items() if key not in ("video", "segment")}
        if maker not in makers:
            makers.append(maker)
    return {
        "whim_version": __version__,
        "plan": shard.digest,
        "jpeg_quality": JPEG_QUALITY,
        "labels": makers,
        "videos": [
            {
                "video_id": piece.video.video_id,
                "sha256": (piece.video.lineage.get("video") or {}).get("sha256", ""),
                "frames": piece.stop - piece.start,
            }
            for piece in pieces
        ],
        "left_out": [p.video.video_id for p in shard.pieces if p.video.video_id not in included],
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """Paths of the leaf columns as Parquet names them."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(index).path for index in range(len(columns))]
