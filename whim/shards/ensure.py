"""Pixel shards of labels, packed when they are missing or out of date: consumers need no flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from whim.errors import BadFileError, WhimError
from whim.shards.ledger import State, read_ledger
from whim.shards.pack import RECORD, is_current, pack
from whim.shards.reader import SEGMENTS, label_files


def is_labels(folder: Path) -> bool:
    """Whether ``folder`` is what `whim annotate` writes."""
    return (folder / SEGMENTS).is_dir()


def shards_of(labels: Path) -> Path:
    """Where the shards of a label folder lie: ``data/labels`` -> ``data/shards``, ``x`` -> ``x-shards``."""
    place = labels.resolve()
    return place.with_name("shards" if place.name == "labels" else f"{place.name}-shards")


def ensure_pixels(
    labels: Path,
    *,
    videos: Path | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Folder with up-to-date pixel shards of ``labels``; packs them if need be, says so and shows progress.

    ``videos``: where to look, when not where they were. ``out``: the folder (default: :func:`shards_of`). Videos that
    were missing before are looked for again. What could not be packed is said, and does not stop the rest.

    Raises:
        BadFileError: no labels there, or a damaged label file.
        UsageError: ``out`` holds the shards of other labels.
        WhimError: nothing could be packed (code ``nothing-packed``), the disk is full, or the folder is in use.
    """
    out = out or shards_of(labels)
    if not label_files(labels):
        raise BadFileError(f"{labels}: no labels here; `whim annotate` writes them")
    current = is_current(labels, out)
    missing = _missing(out) if current else 0
    if current and not missing:
        return out
    if missing:
        say(f"{out}: looking again for {missing} videos that were missing when it was packed")
    elif (out / RECORD).exists():
        say(f"{out}: not the shards of these labels as they are now; packing what has changed")
    else:
        say(f"{labels}: no pixel shards yet; packing them into {out}")
    summary = pack(labels, videos=videos, out=out)
    say(summary.render())
    if not summary.frames:
        raise WhimError(f"{labels}: not one frame could be packed (see above)", code="nothing-packed")
    return out


def _missing(out: Path) -> int:
    """Videos that the last run left out and that may have come since."""
    try:
        entries = read_ledger(out)[1].values()
    except BadFileError:
        return 0  # shards that were copied here without their ledger
    return sum(entry.state is State.FAILED for entry in entries)
