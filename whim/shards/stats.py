"""``whim stats``: counts over labels or pixel shards. Reads only the columns it counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from whim.conventions import Side
from whim.shards.reader import read_file, some_files

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_HAND = "hands.list.element"
_COLUMNS = (
    "video_id",
    "split",
    "time_s",
    "persons.list.element.detector",
    "persons.list.element.implementation",
    *(f"{_HAND}.{name}" for name in ("side", "score", "agreement")),
    *(f"{_HAND}.votes.list.element.{name}" for name in ("detector", "implementation")),
)
_READERS = 4


def stats(path: Path) -> dict[str, Any]:
    """Counts of a label folder, a shard folder, or one file; JSON-able.

    ``hours`` is the time from the first to the last labelled frame, summed over videos.

    Raises:
        BadFileError: no files there, or one that is not what it should be.
    """
    files = some_files(path)
    total = _Totals()
    with ThreadPoolExecutor(_READERS) as pool:
        for table in pool.map(lambda file: read_file(file, _COLUMNS), files):
            total.add(table)
    return {"path": str(path), "files": len(files), **total.to_json()}


def render(numbers: dict[str, Any]) -> str:
    """Table for the terminal of what :func:`stats` returns."""
    lines = [numbers["path"]]

    def show(title: str, pairs: Iterable[tuple[str, str]]) -> None:
        lines.extend(["", title, *(f"  {name:<34}{value:>14}" for name, value in pairs)])

    lines += [
        f"  {name:<34}{_number(numbers[key]):>14}"
        for name, key in (
            ("files", "files"),
            ("videos", "videos"),
            ("hours", "hours"),
            ("frames", "frames"),
            ("frames without hands", "frames_without_hands"),
            ("persons", "persons"),
            ("hands", "hands"),
        )
    ]
    show("hands by side", _pairs(numbers["hands_by_side"]))
    show("frames by number of hands", _pairs(numbers["frames_by_hands"]))
    show("hands by number of votes", _pairs(numbers["hands_by_votes"]))
    show("votes for hands (detector=implementation)", _pairs(numbers["hand_votes"]))
    show("votes for persons (detector=implementation)", _pairs(numbers["person_votes"]))
    if numbers["hands"]:
        lines += ["", "quantiles" + " " * 11 + "".join(f"{q:>9.0%}" for q in QUANTILES)]
        for name in ("agreement", "score"):
            lines.append(f"  {name:<18}" + "".join(f"{value:>9.2f}" for value in numbers[name].values()))
    lines += ["", f"{'split':<20}{'videos':>10}{'hours':>10}{'frames':>10}{'hands':>10}"]
    for split, part in numbers["splits"].items():
        row = "".join(f"{_number(part[key]):>10}" for key in ("videos", "hours", "frames", "hands"))
        lines.append(f"  {split or '(none)':<18}{row}")
    return "\n".join(lines)


@dataclass
class _Split:
    frames: int = 0
    hands: int = 0
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    """First and last labelled time per video, in seconds."""

    def to_json(self) -> dict[str, Any]:
        seconds = sum(last - first for first, last in self.spans.values())
        return {
            "videos": len(self.spans),
            "hours": round(seconds / 3600, 4),
            "frames": self.frames,
            "hands": self.hands,
        }


class _Totals:
    """Running sums over tables with the columns above."""

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = defaultdict(_Split)
        self._persons = 0
        self._counters: dict[str, Counter[Any]] = defaultdict(Counter)
        self._measures: dict[str, list[NDArray[np.float32]]] = {"agreement": [], "score": []}

    def add(self, table: pa.Table) -> None:
        """Add the rows of one file."""
        hands = pc.list_flatten(table["hands"]).combine_chunks()
        persons = pc.list_flatten(table["persons"]).combine_chunks()
        votes = pc.struct_field(hands, "votes")
        per_frame = pc.list_value_length(table["hands"])
        self._persons += len(persons)
        self._count("frames_by_hands", per_frame)
        self._count("hands_by_votes", pc.list_value_length(votes))
        self._count("hands_by_side", pc.struct_field(hands, "side"))
        self._count("hand_votes", _makers(pc.list_flatten(votes)))
        self._count("person_votes", _makers(persons))
        for name, parts in self._measures.items():
            parts.append(pc.struct_field(hands, name).to_numpy(zero_copy_only=False))
        frames = pa.table(
            [table["split"], table["video_id"], table["time_s"], per_frame], ["s", "v", "t", "n"]
        )
        groups = frames.group_by(["s", "v"]).aggregate(
            [("t", "min"), ("t", "max"), ("n", "sum"), ("n", "count")]
        )
        for row in groups.to_pylist():
            split = self._splits[row["s"]]
            split.frames += row["n_count"]
            split.hands += row["n_sum"]
            first, last = split.spans.get(row["v"], (row["t_min"], row["t_max"]))
            split.spans[row["v"]] = (min(first, row["t_min"]), max(last, row["t_max"]))

    def to_json(self) -> dict[str, Any]:
        """What :func:`stats` returns, without path and files."""
        splits = {name: self._splits[name].to_json() for name in sorted(self._splits)}
        sides = self._counters["hands_by_side"]
        frames = self._counters["frames_by_hands"]
        return {
            "videos": len({video for split in self._splits.values() for video in split.spans}),
            "hours": round(sum(part["hours"] for part in splits.values()), 4),
            "frames": frames.total(),
            "frames_without_hands": frames[0],
            "persons": self._persons,
            "hands": sides.total(),
            "hands_by_side": {
                side.name.lower(): sides[side.value] for side in (Side.LEFT, Side.RIGHT, Side.UNKNOWN)
            },
            "frames_by_hands": _sorted(frames),
            "hands_by_votes": _sorted(self._counters["hands_by_votes"]),
            "hand_votes": dict(self._counters["hand_votes"].most_common()),
            "person_votes": dict(self._counters["person_votes"].most_common()),
            **{name: _quantiles(parts) for name, parts in self._measures.items()},
            "splits": splits,
        }

    def _count(self, name: str, values: pa.Array) -> None:
        for pair in pc.value_counts(values).to_pylist():
            self._counters[name][pair["values"]] += pair["counts"]


def _makers(structs: pa.Array) -> pa.Array:
    parts = [pc.struct_field(structs, name) for name in ("detector", "implementation")]
    return pc.binary_join_element_wise(*parts, "=")


def _quantiles(parts: list[NDArray[np.float32]]) -> dict[str, float]:
    """Empty when there are no values."""
    values = np.concatenate(parts) if parts else np.empty(0, np.float32)
    if not values.size:
        return {}
    return {
        f"p{100 * q:02.0f}": round(float(v), 4)
        for q, v in zip(QUANTILES, np.quantile(values, QUANTILES), strict=True)
    }


def _sorted(counter: Counter[int]) -> dict[str, int]:
    return {str(key): counter[key] for key in sorted(counter)}


def _pairs(counts: dict[str, int]) -> list[tuple[str, str]]:
    return [(name, _number(count)) for name, count in counts.items()]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
