"""Read label files and pixel shards: find them, check them, stream them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whim.errors import BadFileError
from whim.shards.rows import Row
from whim.shards.schema import FORMAT_VERSION, KEY_LINEAGE, KEY_VERSION, label_schema

_LABEL_TYPES = {field.name: field.type for field in label_schema()}

SEGMENTS = "segments"
"""Label files lie in ``LABELS/segments/<video id>/<segment>.parquet``."""


def label_files(folder: Path) -> list[Path]:
    """Parquet files of a label folder, of one video's folder in it, or of a shard folder, sorted by name.

    A path to a file gives that file. Files still being written do not count.

    Raises:
        BadFileError: nothing exists at ``folder``.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise BadFileError(
            f"{folder}: no such file or folder; `whim annotate` writes labels, `whim pack` shards"
        )
    pattern = f"{SEGMENTS}/*/*.parquet" if (folder / SEGMENTS).is_dir() else "*.parquet"
    found = (path for path in folder.glob(pattern) if not path.name.startswith("."))
    return sorted(found, key=lambda path: (path.parent.name, path.name))


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows under ``path`` (see :func:`label_files`) as one table.

    ``columns`` as in pyarrow: names, dotted for leaves (``hands.list.element.side``).

    Raises:
        BadFileError: no files there, or one that is not what it should be.
    """
    return pa.concat_tables(read_file(file, columns).replace_schema_metadata() for file in some_files(path))


def iter_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Rows under ``path`` one by one, in file order, a hundred in memory.

    Raises:
        BadFileError: no files there, or one that is not what it should be.
    """
    for file in some_files(path):
        with _readable(file), _open(file) as parquet:
            for batch in parquet.iter_batches(batch_size=100, columns=columns):
                yield from batch.to_pylist()


def read_file(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of one file, with the metadata of its schema.

    Raises:
        BadFileError: as :func:`check_file`; damaged pages are found too.
    """
    with _readable(path), _open(path) as parquet:
        # One thread: these files are small, and callers that want more read several at a time.
        return parquet.read(columns=columns, use_threads=False)


def check_file(path: Path) -> None:
    """Check the footer, the format version and the columns of one file.

    Raises:
        BadFileError: the message names the file and says what to do. ``code``: ``bad-file``, ``newer-format``
            or ``older-format``.
    """
    with _readable(path), _open(path):
        pass


def lineage(path: Path) -> dict[str, Any]:
    """What made a label file or shard: the dictionary given to the writer.

    Raises:
        BadFileError: as :func:`check_file`.
    """
    with _readable(path), _open(path) as parquet:
        return lineage_of(parquet.schema_arrow)


def lineage_of(schema: pa.Schema) -> dict[str, Any]:
    """The same of the schema of :func:`read_file`."""
    return json.loads(schema.metadata[KEY_LINEAGE])


def some_files(path: Path) -> list[Path]:
    """:func:`label_files`, at least one.

    Raises:
        BadFileError: there is none.
    """
    files = label_files(path)
    if not files:
        raise BadFileError(f"{path}: no labels here; `whim annotate` writes them")
    return files


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    with pq.ParquetFile(path) as parquet:
        _check_schema(path, parquet.schema_arrow)
        yield parquet


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Arrow's errors as BadFileError with the name of the file, which Arrow does not give."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadFileError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        # A damaged footer is an ArrowInvalid, a damaged page an OSError without a number.
        advice = (
            "" if getattr(error, "errno", None) else "; delete it and run the command that wrote it again"
        )
        raise BadFileError(f"{path}: not readable as Parquet ({error}){advice}") from error


def _check_schema(path: Path, schema: pa.Schema) -> None:
    stated = (schema.metadata or {}).get(KEY_VERSION, b"").decode()
    if not stated.isdigit():
        raise BadFileError(f"{path}: a Parquet file, but not one of WHIM (no format version in it)")
    version = int(stated)
    if version > FORMAT_VERSION:
        raise BadFileError(
            f"{path}: label format {version} is newer than this WHIM reads ({FORMAT_VERSION}); "
            "upgrade WHIM: pip install --upgrade whim",
            code="newer-format",
        )
    if version < FORMAT_VERSION:
        raise BadFileError(
            f"{path}: label format {version} is older than this WHIM reads ({FORMAT_VERSION}); "
            "annotate again into another folder, or use the WHIM that wrote it",
            code="older-format",
        )
    for name, kind in _LABEL_TYPES.items():
        position = schema.get_field_index(name)
        if position < 0 or schema.field(position).type != kind:
            raise BadFileError(
                f"{path}: column {name} is missing or not of the type of label format {version}"
            )
