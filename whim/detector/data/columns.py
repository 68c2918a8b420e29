"""Columns of records on disk: appended piece by piece, then mapped. Memory holds one piece, whatever the size."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whim.detector.data.records import Records
from whim.errors import BadFileError

_HEAD = "head.json"
_KINDS: dict[str, tuple[str, tuple[int, ...]]] = {
    "path": ("<i4", ()),
    "start": ("<i8", ()),
    "length": ("<i8", ()),
    "frame": ("<i4", ()),
    "size": ("<i4", (2,)),
    "recording": ("<i4", ()),
    "split": ("<i4", ()),
    "first": ("<i8", ()),
    "boxes": ("<f4", (4,)),
    "side": ("i1", ()),
    "keypoints": ("<f4", (21, 2)),
    "visibility": ("u1", (21,)),
}
Piece = Mapping[str, NDArray]
"""Some rows of every column but ``first``; ``count`` (n,) holds the number of hands per picture instead."""


class Names:
    """Numbers names in the order of their first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, names: Iterable[str]) -> NDArray[np.int32]:
        """Numbers (n,) of ``names``."""
        return np.array([self.numbers.setdefault(name, len(self.numbers)) for name in names], dtype=np.int32)


def write(folder: Path, pieces: Iterable[Piece], tables: Mapping[str, Names]) -> None:
    """Write the columns into ``folder``, whole or not at all.

    ``tables``: names behind ``path``, ``recording`` and ``split``; they may grow while the pieces come.

    Raises:
        OSError: the disk is full, say, or the place is read-only.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        streams = {name: (temporary / name).open("wb") for name in _KINDS}
        try:
            hands = 0
            streams["first"].write(np.zeros(1, "<i8").tobytes())
            for piece in pieces:
                for name, (kind, shape) in _KINDS.items():
                    if name == "first":
                        column = hands + np.cumsum(piece["count"])
                        hands = int(column[-1]) if len(column) else hands
                    else:
                        column = piece[name].reshape(-1, *shape)
                    streams[name].write(np.ascontiguousarray(column, dtype=kind).tobytes())
        finally:
            for stream in streams.values():
                stream.close()
        head = {name: list(table.numbers) for name, table in tables.items()}
        (temporary / _HEAD).write_text(json.dumps(head), encoding="utf-8")
        if folder.exists():  # another process was faster
            shutil.rmtree(temporary)
        else:
            temporary.replace(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read(folder: Path) -> Records:
    """Map what :func:`write` wrote.

    Raises:
        BadFileError: it is not there or not whole.
    """
    try:
        head: dict[str, Any] = json.loads((folder / _HEAD).read_text(encoding="utf-8"))
        columns = {}
        for name, (kind, shape) in _KINDS.items():
            path = folder / name
            if path.stat().st_size:
                columns[name] = np.memmap(path, kind, "r").reshape(-1, *shape)
            else:
                columns[name] = np.zeros((0, *shape), kind)
    except (OSError, ValueError) as error:
        raise BadFileError(f"{folder}: not readable ({error}); delete it, it is made anew") from error
    return Records(paths=head["path"], recordings=head["recording"], splits=head["split"], **columns)
