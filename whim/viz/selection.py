"""Which frames the gallery shows: the worst, a fair sample, some without hands. No pixels are touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from whim.shards.reader import read_file
from whim.shards.rows import Row

WORST, RANDOM, EMPTY = "worst", "random", "empty"
SHARES = {WORST: 0.5, RANDOM: 0.3, EMPTY: 0.2}
"""How the frames are shared out; what one kind cannot fill goes to the others."""
_SPREAD = 4
"""One file gives at most so many times its share of the worst: one bad video must not fill the page."""
_READERS = 4


@dataclass(frozen=True)
class Frames:
    """Every labelled frame as three numbers, in file order."""

    file: NDArray[np.int32]
    """(N,) index among the label files."""
    row: NDArray[np.int32]
    """(N,) row in that file."""
    worst: NDArray[np.float32]
    """(N,) agreement of the worst hand; NaN without hands."""


def scan(files: Sequence[Path]) -> Frames:
    """Read the agreements of all frames, and no other column.

    Raises:
        BadFileError: a file that is not what it should be.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        worst = list(pool.map(_worst, files))
    lengths = [len(part) for part in worst]
    return Frames(
        file=np.repeat(np.arange(len(files), dtype=np.int32), lengths),
        row=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        worst=np.concatenate(worst),
    )


def choose(frames: Frames, limit: int) -> dict[int, str]:
    """At most ``limit`` frames -> why each was chosen. The same frames give the same choice."""
    order = np.random.default_rng(0).permutation(len(frames.worst))
    empty = [int(index) for index in order if np.isnan(frames.worst[index])]
    # Shuffled first, so that ties (hands with a single vote) come from all videos alike.
    with_hands = order[~np.isnan(frames.worst[order])]
    by_worst = with_hands[np.argsort(frames.worst[with_hands], kind="stable")]
    wanted = {kind: round(share * limit) for kind, share in SHARES.items()}
    spread = max(3, _SPREAD * wanted[WORST] // max(1, len(np.unique(frames.file))))
    chosen: dict[int, str] = {}
    worst_spread = _spread(by_worst, frames.file, spread)
    for kind, candidates in (
        (WORST, worst_spread),
        (EMPTY, iter(empty)),
        (RANDOM, (int(index) for index in order)),
    ):
        _take(chosen, kind, candidates, wanted[kind])
    # Whatever is left of the limit: more of the worst, then anything.
    _take(chosen, WORST, worst_spread, limit - len(chosen))
    _take(chosen, WORST, (int(index) for index in by_worst), limit - len(chosen))
    _take(chosen, RANDOM, (int(index) for index in order), limit - len(chosen))
    return chosen


def read_rows(files: Sequence[Path], frames: Frames, chosen: Sequence[int]) -> Iterator[tuple[int, Row]]:
    """Full label rows of the chosen frames, one file at a time.

    Raises:
        BadFileError: a file that is not what it should be.
    """
    wanted = np.asarray(sorted(chosen), dtype=np.intp)
    for number in np.unique(frames.file[wanted]):
        table = read_file(files[number])
        for index in wanted[frames.file[wanted] == number]:
            yield int(index), table.slice(int(frames.row[index]), 1).to_pylist()[0]


def _take(chosen: dict[int, str], kind: str, candidates: Iterator[int], number: int) -> None:
    for index in candidates:
        if number <= 0:
            return
        if index not in chosen:
            chosen[index] = kind
            number -= 1


def _spread(order: NDArray[np.intp], file: NDArray[np.int32], most: int) -> Iterator[int]:
    """Indices in order, at most ``most`` of one file."""
    taken: Counter[int] = Counter()
    for index in order:
        number = int(file[index])
        if taken[number] < most:
            taken[number] += 1
            yield int(index)


def _worst(path: Path) -> NDArray[np.float32]:
    """Agreement of the worst hand of each row; NaN without hands."""
    hands = read_file(path, ["hands.list.element.agreement"])["hands"].combine_chunks()
    worst = np.full(len(hands), np.nan, dtype=np.float32)
    parents = pc.list_parent_indices(hands).to_numpy()
    np.fmin.at(
        worst, parents, pc.struct_field(pc.list_flatten(hands), "agreement").to_numpy(zero_copy_only=False)
    )
    return worst
