"""Pixel shards as records: where each JPEG lies in its file, and its hands.

`whim pack` stores JPEGs uncompressed, so that each lies as it is inside the Parquet file. One pass notes the places;
afterwards any picture is one read, in any order. Reading rows through Parquet would cost a row group (100 pictures)
for each. The index lies beside the shards, or in the cache folder when that place is read-only.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from whim.conventions import Side
from whim.detector.data import columns
from whim.detector.data.columns import Names, Piece
from whim.detector.data.config import LabelConfig
from whim.detector.data.records import Records
from whim.errors import BadFileError
from whim.progress import Progress
from whim.resources import cache_dir
from whim.shards.reader import check_file

INDEX = ".index"
_VERSION = 1
_COLUMNS = ["image.bytes", "video_id", "split", "frame_index", "width", "height", "hands"]


def is_pixel_shards(folder: Path) -> bool:
    """Whether Parquet files with pictures lie in ``folder``."""
    paths = shard_files(folder)
    return bool(paths) and "image" in pq.read_schema(paths[0]).names


def shard_files(folder: Path) -> list[Path]:
    """Parquet files of a folder, sorted, without those being written; a file gives itself."""
    if folder.is_file():
        return [folder] if folder.suffix == ".parquet" else []
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def load_pixel_shards(folder: Path, config: LabelConfig) -> Records:
    """Records of all shards in ``folder``; the first call reads them once, with a progress bar.

    Raises:
        BadFileError: a shard that is damaged, without pictures, or with compressed pictures.
    """
    paths = shard_files(folder)
    if not paths:
        raise BadFileError(f"{folder}: no pixel shards here; `whim pack` writes them")
    home = folder if folder.is_dir() else folder.parent
    key = _key(paths, config)
    for place in (home / INDEX, cache_dir() / "index"):
        if (place / key).is_dir():
            return columns.read(place / key)
    try:
        return _build(home / INDEX / key, paths, config)
    except PermissionError:
        return _build(cache_dir() / "index" / key, paths, config)
    except OSError as error:
        if error.errno != 30:  # read-only file system
            raise
        return _build(cache_dir() / "index" / key, paths, config)


def _key(paths: list[Path], config: LabelConfig) -> str:
    """Changes with the shards and with whatever decides how their labels are read."""
    state = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    text = json.dumps([_VERSION, state, config.model_dump(mode="json")])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _build(folder: Path, paths: list[Path], config: LabelConfig) -> Records:
    tables = {"path": Names(), "recording": Names(), "split": Names()}
    total = sum(_rows(path) for path in paths)
    with Progress(total, "index shards", "picture") as progress:

        def pieces() -> Iterator[Piece]:
            for path in paths:
                yield from _pieces(path, config, tables, lambda n: progress.step(amount=n))

        columns.write(folder, pieces(), tables)
    return columns.read(folder)


def _rows(path: Path) -> int:
    check_file(path)
    return pq.read_metadata(path).num_rows


def _pieces(
    path: Path, config: LabelConfig, tables: dict[str, Names], step: Callable[[int], None]
) -> Iterator[Piece]:
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as memory,
        pq.ParquetFile(path) as parquet,
    ):
        if "image" not in parquet.schema_arrow.names:
            raise BadFileError(f"{path}: labels without pictures; `whim pack` makes shards of them")
        position = 0
        for group in range(parquet.num_row_groups):
            try:
                table = parquet.read_row_group(group, columns=_COLUMNS, use_threads=False).combine_chunks()
            except (pa.ArrowException, OSError) as error:
                raise BadFileError(
                    f"{path}: damaged ({error}); delete it and run `whim pack` again"
                ) from error
            starts, lengths = [], []
            for picture in pa_bytes(table["image"]):
                place = memory.find(picture, position) if picture else -1
                if place < 0:
                    raise BadFileError(
                        f"{path}: the pictures are missing or compressed; training reads shards as `whim pack` "
                        "writes them"
                    )
                starts.append(place)
                lengths.append(len(picture))
                position = place + len(picture)
            yield {
                "path": np.repeat(tables["path"]([str(path.resolve())]), len(starts)),
                "start": np.array(starts, np.int64),
                "length": np.array(lengths, np.int64),
                "frame": table["frame_index"].to_numpy(),
                "size": np.stack([table["width"].to_numpy(), table["height"].to_numpy()], axis=1),
                "recording": tables["recording"](table["video_id"].to_pylist()),
                "split": tables["split"](table["split"].to_pylist()),
                **hand_columns(table["hands"].combine_chunks(), config),
            }
            step(len(starts))


def pa_bytes(image: Any) -> Iterator[bytes]:
    """JPEG of each row of the image column; empty where there is none."""
    for scalar in image:
        data = scalar["bytes"].as_buffer() if scalar.is_valid else None
        yield data.to_pybytes() if data is not None else b""


def hand_columns(hands: Any, config: LabelConfig) -> dict[str, np.ndarray]:
    """The nested hands column of n rows -> ``count`` (n,) and the columns of their hands.

    Boxes without area and hands below ``config.min_score`` are left out.
    """
    if isinstance(hands, pa.ChunkedArray):
        hands = pa.concat_arrays(hands.chunks) if hands.num_chunks else pa.array([], hands.type)
    row = np.repeat(np.arange(len(hands)), np.diff(hands.offsets.to_numpy()))
    flat = dict(zip((field.name for field in hands.type.value_type), hands.flatten().flatten(), strict=True))
    boxes = flat["box"].flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    side = flat["side"].to_numpy(zero_copy_only=False).copy()
    side[flat["side_score"].to_numpy(zero_copy_only=False) < config.min_side_score] = Side.UNKNOWN
    keypoints = np.zeros((len(boxes), 21, 2), np.float32)
    visibility = np.zeros((len(boxes), 21), np.uint8)
    given = _filled(flat["keypoints_2d"], keypoints)
    scores = np.ones((len(boxes), 21), np.float32)
    _filled(flat["keypoint_scores"], scores)
    visibility[given] = np.where(scores[given] >= config.min_keypoint_score, 2, 0)
    keep = (
        (boxes[:, 2] > boxes[:, 0])
        & (boxes[:, 3] > boxes[:, 1])
        & (flat["score"].to_numpy(zero_copy_only=False) >= config.min_score)
        & np.isfinite(boxes).all(axis=1)
    )
    return {
        "count": np.bincount(row[keep], minlength=len(hands)),
        "boxes": boxes[keep],
        "side": side[keep],
        "keypoints": keypoints[keep],
        "visibility": visibility[keep],
    }


def _filled(column: Any, target: np.ndarray) -> np.ndarray:
    """Write the rows that are not null into ``target``; returns which (mask)."""
    given = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    target[given] = values.to_numpy(zero_copy_only=False).reshape(-1, *target.shape[1:])
    return given
