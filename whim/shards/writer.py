"""Write label files, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from whim.files import atomic_path
from whim.shards.rows import Row
from whim.shards.schema import KEY_SHAPE, label_schema


def write_labels(path: Path, rows: list[Row], lineage: dict[str, Any]) -> int:
    """Write the rows of one segment; an empty segment is a valid file without rows. Returns their number.

    ``lineage`` (JSON-able) records what made them: version, pipeline and its hash, weights, source video.

    Raises:
        ValueError: a row does not fit the schema; the message names the column.
        OSError: the disk is full, say. Nothing is left behind, and an earlier file stays as it was.
    """
    table = to_table(rows, label_schema(lineage))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows


def to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    """Rows as a table of ``schema``, every length checked.

    Raises:
        ValueError: a missing column, a wrong type, or a list of the wrong length.
    """
    # from_pylist takes a missing or misspelt key for null.
    for row in rows:
        if wrong := row.keys() ^ set(schema.names):
            raise ValueError(f"columns {sorted(wrong)} are missing from the row or not in the schema")
    table = pa.Table.from_pylist(rows, schema=schema)
    for field, column in zip(schema, table.columns, strict=True):
        _check(field, column.combine_chunks(), field.name)
    return table


def _check(field: pa.Field, array: pa.Array, name: str) -> None:
    """Walk down a column: no null where none may be, and every ``shape`` of the schema kept."""
    if not field.nullable and array.null_count:
        raise ValueError(f"column {name}: may not be null")
    if pa.types.is_struct(field.type):
        valid = array.drop_null()
        for child in field.type:
            _check(child, pc.struct_field(valid, child.name), f"{name}.{child.name}")
    elif pa.types.is_list(field.type):
        if field.metadata and (shape := field.metadata.get(KEY_SHAPE)):
            wanted = int(shape.split(b",")[0])
            for length in pc.unique(pc.list_value_length(array.drop_null())).to_pylist():
                if length != wanted:
                    raise ValueError(
                        f"column {name}: {length} values instead of {wanted} (shape {shape.decode()})"
                    )
        _check(field.type.value_field, pc.list_flatten(array), name)
