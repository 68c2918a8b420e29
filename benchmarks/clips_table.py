"""Hands, frames, speed and states per clip of a label folder.

whim annotate DIR_OF_VIDEOS --out LABELS --workers 2
python benchmarks/clips_table.py LABELS
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from whim.shards.ledger import read_ledger


def main(labels: Path) -> None:
    _, entries = read_ledger(labels)
    clips: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    states: dict[str, set[str]] = defaultdict(set)
    for entry in entries.values():
        clip = entry.key.split("/")[0]
        states[clip].add(f"{entry.state}{f' ({entry.reason})' if entry.reason else ''}")
        for fact, value in entry.data.items():
            clips[clip][fact] += value
    print(
        f"{'clip':<34}{'decoded':>8}{'sampled':>8}{'kept':>6}{'hands':>6}{'per frame':>10}{'frames/s':>9}  states"
    )
    for clip in sorted(states):
        facts = clips[clip]
        frames, seconds = facts["frames"], facts["seconds"]
        print(
            f"{clip:<34}{facts['decoded']:>8.0f}{facts['sampled']:>8.0f}{frames:>6.0f}{facts['hands']:>6.0f}"
            f"{facts['hands'] / frames if frames else 0:>10.2f}{frames / seconds if seconds else 0:>9.2f}"
            f"  {', '.join(sorted(states[clip]))}"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
