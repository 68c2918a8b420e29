"""Which frames the gallery shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from shards.factories import make_rows, write_folder, write_segment

from whim.shards import reader
from whim.viz.selection import EMPTY, RANDOM, WORST, Frames, choose, read_rows, scan


def frames_of(worst: list[float], files: int = 1) -> Frames:
    number = np.arange(len(worst))
    each = -(-len(worst) // files)
    return Frames(
        file=(number // each).astype(np.int32),
        row=(number % each).astype(np.int32),
        worst=np.asarray(worst, dtype=np.float32),
    )


def test_scan_finds_the_worst_hand_of_every_frame(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": "train", "b": "test"}, segments=2, frames=15)
    write_segment(folder, [], video_id="none")
    frames = scan(reader.label_files(folder))
    rows = list(reader.iter_rows(folder))
    wanted = [min((hand["agreement"] for hand in row["hands"]), default=np.nan) for row in rows]
    np.testing.assert_allclose(frames.worst, wanted)
    assert np.isnan(frames.worst).any()
    picked = [3, 17, 44, 59]
    assert list(read_rows(reader.label_files(folder), frames, picked)) == [
        (index, rows[index]) for index in picked
    ]


@pytest.mark.parametrize(
    ("with_hands", "empty", "limit", "kinds"),
    [
        (1000, 1000, 100, {WORST: 50, EMPTY: 20, RANDOM: 30}),
        (1000, 0, 100, {WORST: 70, RANDOM: 30}),  # what empty frames do not take goes to the worst
        (0, 1000, 100, {EMPTY: 20, RANDOM: 80}),
        (5, 5, 100, {WORST: 5, EMPTY: 5}),  # fewer than fit: all of them
        (3, 1, 1, {WORST: 1}),
    ],
)
def test_the_limit_is_shared_out(with_hands: int, empty: int, limit: int, kinds: dict[str, int]) -> None:
    rng = np.random.default_rng(1)
    worst = [*rng.uniform(0, 1, with_hands), *[np.nan] * empty]
    chosen = choose(frames_of(worst), limit)
    assert Counter(chosen.values()) == kinds
    assert choose(frames_of(worst), limit) == chosen
    assert all(np.isnan(worst[index]) for index, kind in chosen.items() if kind == EMPTY)


def test_the_worst_frames_are_among_the_chosen() -> None:
    worst = list(np.random.default_rng(2).permutation(1000) / 1000)
    chosen = choose(frames_of(worst), 100)
    taken = sorted(worst[index] for index, kind in chosen.items() if kind == WORST)
    assert taken[:50] == [number / 1000 for number in range(50)]


def test_one_bad_video_does_not_fill_the_page() -> None:
    worst = [0.01] * 100 + [0.9] * 900  # the first of ten files is bad throughout
    frames = frames_of(worst, files=10)
    chosen = choose(frames, 100)
    bad = sum(kind == WORST and frames.file[index] == 0 for index, kind in chosen.items())
    assert bad == 20  # four times its fair share of 50
    assert len(chosen) == 100


def test_no_frames_no_choice(tmp_path: Path) -> None:
    write_segment(tmp_path, [], video_id="none")
    assert choose(scan(reader.label_files(tmp_path)), 10) == {}
    assert make_rows("x", count=0) == []
