"""Is the fetched video the one that was annotated? Its facts against the manifest's expectations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from whim.shards.ledger import Entry, State
from whim.sources.manifest import ManifestEntry

FPS_TOLERANCE = 5e-4
"""Relative. Containers round rates by up to 2e-4 (Matroska's millisecond stamps), while 29.97 and 30 fps,
which must be told apart, differ by 1e-3."""
FRAMES_TOLERANCE = 1
"""Frames. Whether a last incomplete frame counts differs between containers and readers."""
DURATION_TOLERANCE = 2.0
"""Frames of the slower rate: as much as two readers may differ at the two ends of one and the same video."""


@dataclass(frozen=True)
class Drift:
    """One expectation that the file does not meet. Sizes are [width, height] in pixels."""

    what: str
    expected: Any
    found: Any
    difference: Any
    """``found`` minus ``expected``."""

    def to_json(self) -> dict[str, Any]:
        """JSON object of the same fields."""
        return asdict(self)


def compare(entry: ManifestEntry, facts: Mapping[str, Any]) -> list[Drift]:
    """Every expectation of ``entry`` that ``facts`` (width, height, fps, frames) miss; a blank one holds."""
    drifts = []
    if entry.fps and facts["fps"] and abs(facts["fps"] - entry.fps) > FPS_TOLERANCE * entry.fps:
        drifts.append(Drift("fps", entry.fps, facts["fps"], facts["fps"] - entry.fps))
    if entry.frames and facts["frames"] and abs(facts["frames"] - entry.frames) > FRAMES_TOLERANCE:
        drifts.append(Drift("frames", entry.frames, facts["frames"], facts["frames"] - entry.frames))
    found = [facts["width"], facts["height"]]
    expected = [entry.width or found[0], entry.height or found[1]]
    if found != expected:
        drifts.append(Drift("size", expected, found, [found[0] - expected[0], found[1] - expected[1]]))
    return drifts


def same_duration(entry: ManifestEntry, facts: Mapping[str, Any]) -> bool | None:
    """Whether file and manifest last equally long; None when one of them does not say."""
    if entry.duration_s is None or entry.fps is None or not facts["duration_s"]:
        return None
    slower = min(entry.fps, facts["fps"] or entry.fps)
    return bool(abs(facts["duration_s"] - entry.duration_s) <= DURATION_TOLERANCE / slower)


def describe(entry: ManifestEntry, facts: Mapping[str, Any], drifts: list[Drift]) -> str:
    """One line: what drifted, by how much, and what that means for labels made on the expected video."""
    parts = []
    for drift in drifts:
        if drift.what == "size":
            found, expected = ("x".join(map(str, pair)) for pair in (drift.found, drift.expected))
            scale = " and ".join(f"{f / e:.4g}" for f, e in zip(drift.found, drift.expected, strict=True))
            parts.append(f"size {found} instead of {expected} (scale {scale} in x and y)")
        else:
            parts.append(
                f"{drift.what} {drift.found:.6g} instead of {drift.expected:.6g} ({drift.difference:+.4g})"
            )
    same = same_duration(entry, facts)
    drifted = {drift.what for drift in drifts}
    if not drifted & {"fps", "frames"} or same is None:
        return "; ".join(parts)
    if same and "frames" in drifted:
        parts.append("same duration: labels fit by time, not by frame index")
    elif same:
        parts.append("same duration and number of frames")
    else:
        parts.append(f"duration {facts['duration_s']:.2f} s instead of {entry.duration_s:.2f} s")
        if "frames" in drifted:
            parts.append("labels need not fit by time either")
        else:
            parts.append("same number of frames")
    return "; ".join(parts)


def done_entry(entry: ManifestEntry, data: Mapping[str, Any], *, attempts: int) -> Entry:
    """Ledger entry of a finished video; ``data`` holds at least ``facts``."""
    drifts = compare(entry, data["facts"])
    verdict = "drifted" if drifts else "match"
    return Entry(
        key=entry.video_id,
        state=State.DONE,
        reason=verdict,
        detail=describe(entry, data["facts"], drifts),
        attempts=attempts,
        data={
            **data,
            "split": entry.split,
            "verdict": verdict,
            "drift": [drift.to_json() for drift in drifts],
            "same_duration": same_duration(entry, data["facts"]),
        },
    )


def verdict_of(entry: Entry) -> str:
    """One of match, drifted, gone, private, age, geo, malformed-id, filtered, bot-check, failed."""
    if entry.state is State.FILTERED:
        return "filtered"
    if entry.state is State.FAILED and entry.reason != "bot-check":
        return "failed"
    return entry.reason
