"""Label files of imported shards, as `whim annotate` lays them out: for what reads labels without pictures."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

from whim.errors import UsageError
from whim.files import write_text
from whim.shards import reader
from whim.shards.ensure import shards_of
from whim.shards.pack import RECORD
from whim.shards.plan import labels_digest
from whim.shards.schema import label_schema
from whim.shards.writer import write_labels


def write_label_folder(shards: Path, labels: Path) -> int:
    """Write ``LABELS/segments/RECORDING/SHARD.parquet`` from the shards; returns the number of files.

    Where ``shards`` is the place at which consumers look for the shards of ``labels`` (``x/labels`` and ``x/shards``),
    they find them there and do not pack anew.

    Raises:
        BadFileError: no shards there, or a damaged one.
        UsageError: ``labels`` already holds labels that did not come from an import.
    """
    segments = labels / reader.SEGMENTS
    mark = labels / "import.json"
    if segments.exists() and not mark.exists():
        raise UsageError(f"{labels} holds labels that `whim import` did not write; choose another folder")
    columns = list(label_schema().names)
    files = reader.some_files(shards)
    written = set()
    write_text(mark, json.dumps({"shards": str(shards.resolve())}) + "\n")
    for shard in files:
        lineage = reader.lineage(shard)
        rows = reader.iter_rows(shard, columns)
        for recording, members in groupby(rows, key=lambda row: row["video_id"]):
            target = segments / recording / f"{shard.stem}.parquet"
            write_labels(target, list(members), lineage)
            written.add(target)
    for stale in set(segments.glob("*/*.parquet")) - written:
        stale.unlink()
    if shards.resolve() == shards_of(labels):
        sizes = {path.name: path.stat().st_size for path in files}
        record = {"labels": str(labels.resolve()), "digest": labels_digest(labels), "shards": sizes}
        write_text(shards / RECORD, json.dumps(record, indent=1) + "\n")
    return len(written)
