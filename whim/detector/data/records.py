"""One record type for labelled pictures wherever they come from, held as columns.

A record is a place in a file (a whole picture file, or a stretch of a pixel shard), a size, a recording and its
hands. Columns may be arrays in memory or mapped from disk: two million pictures then cost no memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.detector.data.hands import Hands
from whim.errors import UsageError

WHOLE_FILE = -1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One labelled picture."""

    path: str
    start: int
    length: int
    """Bytes from ``start``, or :data:`WHOLE_FILE`."""
    name: str
    """For messages."""
    size: tuple[int, int]
    """Width, height in pixels."""
    recording: str
    hands: Hands


@dataclass(frozen=True, kw_only=True)
class Records:
    """N pictures with M hands as columns."""

    paths: Sequence[str]
    path: NDArray[np.int32]
    """(N,): row of ``paths``."""
    start: NDArray[np.int64]
    """(N,)"""
    length: NDArray[np.int64]
    """(N,)"""
    frame: NDArray[np.int32]
    """(N,): frame of the recording, or -1."""
    size: NDArray[np.int32]
    """(N, 2): width, height."""
    recordings: Sequence[str]
    recording: NDArray[np.int32]
    """(N,): row of ``recordings``."""
    splits: Sequence[str]
    split: NDArray[np.int32]
    """(N,): row of ``splits``."""
    first: NDArray[np.int64]
    """(N + 1,): hands of picture i are rows ``first[i]`` to ``first[i + 1]`` of the columns below."""
    boxes: NDArray[np.float32]
    """(M, 4)"""
    side: NDArray[np.int8]
    """(M,)"""
    keypoints: NDArray[np.float32]
    """(M, 21, 2)"""
    visibility: NDArray[np.uint8]
    """(M, 21)"""

    def __len__(self) -> int:
        return len(self.path)

    def __getitem__(self, row: int) -> Record:
        path = self.paths[self.path[row]]
        recording = self.recordings[self.recording[row]]
        name = path if self.length[row] == WHOLE_FILE else f"{path}: {recording} frame {self.frame[row]}"
        which = slice(int(self.first[row]), int(self.first[row + 1]))
        width, height = self.size[row].tolist()
        return Record(
            path=path,
            start=int(self.start[row]),
            length=int(self.length[row]),
            name=name,
            size=(width, height),
            recording=recording,
            hands=Hands(
                boxes=np.array(self.boxes[which]),
                side=self.side[which].astype(np.int64),
                keypoints=np.array(self.keypoints[which]),
                visibility=self.visibility[which].astype(np.int64),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class RecordSet:
    """Some pictures of a source."""

    name: str
    records: Records
    rows: NDArray[np.int64]
    """(n,): rows of ``records``."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        return self.records[int(self.rows[index])]

    @property
    def recordings(self) -> list[str]:
        """Recordings that occur, sorted."""
        return sorted(self.records.recordings[i] for i in np.unique(self.records.recording[self.rows]))

    def limited(self, limit: int | None, seed: int) -> RecordSet:
        """At most ``limit`` of the pictures, chosen at random once and for all; a larger limit adds to a smaller."""
        if limit is None or limit >= len(self):
            return self
        chosen = np.random.default_rng([seed, 2]).permutation(len(self))[:limit]
        return RecordSet(name=self.name, records=self.records, rows=self.rows[np.sort(chosen)])

    def with_splits(self, splits: Sequence[str]) -> RecordSet:
        """The pictures of these splits.

        Raises:
            UsageError: there are none.
        """
        wanted = [row for row, name in enumerate(self.records.splits) if name in splits]
        rows = self.rows[np.isin(self.records.split[self.rows], wanted)]
        if not len(rows):
            there = ", ".join(repr(name) for name in self.records.splits)
            raise UsageError(f"{self.name}: no picture of split {' or '.join(splits)}; there is {there}")
        return RecordSet(name=self.name, records=self.records, rows=rows)

    def split_off(self, fraction: float) -> tuple[RecordSet, RecordSet]:
        """(rest, part): whole recordings with about ``fraction`` of the pictures, chosen by the hash of their names.

        A recording is never on both sides: neighbouring frames are near copies of each other. The choice depends on
        the names alone, so that another run, or one with other settings, holds out the same recordings.

        Raises:
            UsageError: there is only one recording.
        """
        keys = self.records.recording[self.rows]
        present, counts = np.unique(keys, return_counts=True)
        if len(present) < 2:
            raise UsageError(
                f"{self.name}: a single recording ({', '.join(self.recordings)}) cannot be split; "
                "name another set to validate on"
            )
        names = [self.records.recordings[key] for key in present]
        order = np.argsort([hashlib.sha256(name.encode()).hexdigest() for name in names], kind="stable")
        wanted, taken, total = fraction * len(self), [], 0
        for row in order:
            if (
                total < wanted and total + counts[row] <= 1.2 * wanted
            ):  # one huge recording must not be all of it
                taken.append(present[row])
                total += int(counts[row])
        taken = taken[: len(present) - 1] or [present[np.argmin(counts)]]
        held = np.isin(keys, taken)
        return (
            RecordSet(name=self.name, records=self.records, rows=self.rows[~held]),
            RecordSet(name=self.name, records=self.records, rows=self.rows[held]),
        )


def whole(name: str, records: Records) -> RecordSet:
    """All pictures of a source."""
    return RecordSet(name=name, records=records, rows=np.arange(len(records), dtype=np.int64))
