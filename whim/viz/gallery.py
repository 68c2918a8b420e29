"""``whim view``: labels -> one folder with a page and its pictures. It opens from disk, without a server."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from whim import __version__
from whim.conventions import HAND_BONES, Side
from whim.errors import UsageError
from whim.files import write_text
from whim.geometry.boxes import iou
from whim.progress import Progress
from whim.shards.ledger import LEDGER_NAME, Entry, State, counts, read_ledger
from whim.shards.reader import lineage, some_files
from whim.shards.rows import Row
from whim.shards.stats import stats
from whim.shards.videos import VideoFinder
from whim.viz.meshes import MeshLayer
from whim.viz.pictures import KINDS, write_packed_pictures, write_pictures
from whim.viz.selection import choose, read_rows, scan

PAGE = "index.html"
PICTURES = "pictures"
_PLACE = "{{DATA}}"
_MOST_ITEMS = 200
"""Items of the ledger that get a card; the page says when there are more."""
_SIDES = {Side.LEFT: "left", Side.RIGHT: "right", Side.UNKNOWN: "unknown"}


def write_gallery(labels: Path, *, out: Path | None, videos: Path | None, limit: int) -> Path:
    """Write the gallery of a label folder and return its page.

    Shows at most ``limit`` frames: the worst agreement, a random sample, and some without hands. Only these
    are decoded. ``out``: ``LABELS/gallery`` unless given. ``videos``: where to look when they have moved.

    Raises:
        BadFileError: no labels, or a label file that is not what it should be.
        UsageError: ``videos`` is not a folder.
    """
    if videos is not None and not videos.is_dir():
        raise UsageError(f"{videos}: no such folder")
    files = some_files(labels)
    out = out or (labels if labels.is_dir() else labels.parent) / "gallery"
    frames = scan(files)
    chosen = choose(frames, limit)
    entries = _ledger(labels)
    rows = dict(read_rows(files, frames, list(chosen)))
    sources = {index: files[frames.file[index]] for index in rows}
    problems = _draw(rows, sources, out / PICTURES, VideoFinder(videos))
    cards = [
        _card(
            row,
            sample=chosen[index],
            segment=sources[index].stem,
            entries=entries,
            problem=problems[index],
            out=out,
        )
        for index, row in rows.items()
    ]
    set_aside = [e for e in entries.values() if e.state in (State.FAILED, State.QUARANTINED, State.FILTERED)]
    write_text(
        out / PAGE,
        render_page(
            {
                "labels": str(labels),
                "version": __version__,
                "totals": stats(labels),
                "states": counts(entries) if entries else None,
                "frames": cards,
                "items": [_item(entry) for entry in set_aside[:_MOST_ITEMS]],
                "items_total": len(set_aside),
                "bones": HAND_BONES,
            }
        ),
    )
    _remove_old(out / PICTURES, cards)
    return out / PAGE


def render_page(data: dict[str, Any]) -> str:
    """The page with ``data`` in it; the script on the page puts text from it in as text, never as HTML."""
    template = resources.files("whim.viz").joinpath("gallery.html").read_text(encoding="utf-8")
    # Inside a script element only "<" can end it.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    head, tail = template.split(_PLACE)
    return head + text + tail


def _ledger(labels: Path) -> dict[str, Entry]:
    """Last entries of the labels' ledger; imported labels have none."""
    return read_ledger(labels)[1] if (labels / LEDGER_NAME).is_file() else {}


def _draw(
    rows: dict[int, Row], sources: dict[int, Path], folder: Path, finder: VideoFinder
) -> dict[int, str]:
    """Write the pictures, video by video; returns what is wrong with each frame, empty when nothing is."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in rows.items():
        groups[row["video_id"]].append(index)
    folder.mkdir(parents=True, exist_ok=True)
    problems: dict[int, str] = {}
    meshes = MeshLayer()

    def target(row: Row, kind: str) -> Path:
        return folder / f"{_name(row)}-{kind}.{KINDS[kind]}"

    with Progress(len(rows), "view", "frame") as progress:
        for video_id, indices in sorted(groups.items()):
            indices.sort(key=lambda index: rows[index]["frame_index"])
            group = [rows[index] for index in indices]
            if "image" in group[0]:
                found = write_packed_pictures(group, target, meshes, progress.step)
                problems |= {index: found.get(rows[index]["frame_index"], "") for index in indices}
                continue
            record = lineage(sources[indices[0]])
            path = finder.find(video_id, record.get("video") or {})
            if path is None:
                problems |= dict.fromkeys(indices, "the video is not here; say where with --videos")
                progress.step("no video", len(indices))
                continue
            meshes.learn(record)
            found = write_pictures(path, group, target, meshes, progress.step)
            problems |= {index: found.get(rows[index]["frame_index"], "") for index in indices}
    return problems


def _name(row: Row) -> str:
    """Name of a frame's pictures. Hashed, because a video id may be any text."""
    return f"{hashlib.sha256(row['video_id'].encode()).hexdigest()[:12]}-{row['frame_index']:08d}"


def _remove_old(folder: Path, cards: Iterable[dict[str, Any]]) -> None:
    """Pictures of an earlier page."""
    wanted = {f"{card['id']}-{kind}.{suffix}" for card in cards for kind, suffix in KINDS.items()}
    for path in folder.glob("*-*-*.*"):
        if path.suffix[1:] in KINDS.values() and path.name not in wanted:
            path.unlink()


def _card(
    row: Row, *, sample: str, segment: str, entries: dict[str, Entry], problem: str, out: Path
) -> dict[str, Any]:
    """What the page knows of a frame."""
    name = _name(row)
    entry = entries.get(f"{row['video_id']}/{segment}")
    has_picture = (out / PICTURES / f"{name}-thumb.jpg").is_file()
    return {
        "id": name,
        "video": row["video_id"],
        "split": row["split"],
        "segment": segment,
        "state": str(entry.state) if entry else "",
        "reason": entry.reason if entry else "",
        "sample": sample,
        "frame": row["frame_index"],
        "time": round(row["time_s"], 3),
        "size": [row["width"], row["height"]],
        "picture": f"{PICTURES}/{name}" if has_picture else "",
        "mesh": (out / PICTURES / f"{name}-mesh.webp").is_file(),
        "problem": problem,
        "persons": [
            {"box": _round(p["box"]), "score": round(p["score"], 3), **_maker(p)} for p in row["persons"]
        ],
        "hands": [_hand(hand) for hand in row["hands"]],
    }


def _hand(hand: Row) -> dict[str, Any]:
    boxes = [vote["box"] for vote in hand["votes"]]
    overlaps = iou(boxes, [hand["box"]])[:, 0].tolist() if boxes else []
    return {
        "box": _round(hand["box"]),
        "side": _SIDES[Side(hand["side"])],
        "side_score": round(hand["side_score"], 3),
        "score": round(hand["score"], 3),
        "agreement": round(hand["agreement"], 3),
        "person": hand["person"],
        "fit": _fit(hand),
        "keypoints": [_round(point) for point in hand["keypoints_2d"] or []],
        "detectors": len({vote["detector"] for vote in hand["votes"]}),
        "votes": [
            {
                "box": _round(vote["box"]),
                "side": _SIDES[Side(vote["side"])],
                "score": round(vote["score"], 3),
                "iou": round(overlap, 3),
                "person": vote["person"],
                **_maker(vote),
            }
            for vote, overlap in zip(hand["votes"], overlaps, strict=True)
        ],
    }


def _fit(hand: Row) -> dict[str, Any] | None:
    if hand["joints_3d"] is None or hand["camera"] is None:
        return None
    quality = hand["fit"] or {"residual": 0.0, "converged": True}  # truth has no residual
    return {
        "residual": round(quality["residual"], 4),
        "converged": quality["converged"],
        "distance": round(hand["joints_3d"][0][2], 3),
        "assumed": hand["camera"]["assumed"],
    }


def _maker(vote: Row) -> dict[str, str]:
    return {"detector": vote["detector"], "implementation": vote["implementation"]}


def _item(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "state": str(entry.state),
        "reason": entry.reason,
        "detail": entry.detail,
        "attempts": entry.attempts,
    }


def _round(values: Iterable[float]) -> list[float | None]:
    """A tenth of a pixel is enough; what is not a number (a joint not annotated) has no place in JSON."""
    return [round(value, 1) if math.isfinite(value) else None for value in values]
