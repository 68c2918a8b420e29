"""``whim pack``: labels and videos -> pixel shards. Resuming is comparing what exists with the plan."""

from __future__ import annotations

import errno
import json
import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from whim.errors import BadFileError, UsageError, WhimError
from whim.files import write_text
from whim.progress import Progress
from whim.shards import reader
from whim.shards.ledger import FINISHED, Entry, Ledger, State, counts, open_ledger
from whim.shards.pixel_writer import video_labels, write_shard
from whim.shards.pixels import CHECKED_COLUMNS, PictureStore, read_pictures
from whim.shards.plan import SHARD_BYTES, LabelledVideo, ShardPlan, labels_digest, plan_shards, survey
from whim.shards.videos import VideoFinder

RECORD = "pack.json"
"""In the shard folder: which labels it was made from, and what came out."""
_SHARD_NAME = re.compile(r"[A-Za-z0-9_]+-[0-9]{5}\.parquet")


@dataclass(frozen=True, kw_only=True)
class PackSummary:
    """What a run did, and what the folder now holds."""

    out: Path
    videos: dict[str, int]
    """Videos per state."""
    shards: int
    written: int
    """Shards written by this run."""
    frames: int
    bytes: int
    seconds: float
    unfinished: list[Entry]

    @property
    def exit_code(self) -> int:
        """0 when every video is in the shards, else 1."""
        return 1 if self.unfinished else 0

    def to_json(self) -> dict[str, Any]:
        """JSON object with the same content."""
        return {
            "out": str(self.out),
            "videos": self.videos,
            "shards": self.shards,
            "written": self.written,
            "frames": self.frames,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 1),
            "unfinished": [entry.to_json() for entry in self.unfinished],
        }

    def render(self) -> str:
        """Text for the terminal; the last lines say what was left out and how to go on."""
        states = ", ".join(f"{name} {number}" for name, number in self.videos.items() if number)
        lines = [
            f"{self.out}: {self.shards} shards ({self.written} written in {self.seconds:.0f} s), "
            f"{self.frames} frames, {self.bytes / 1e6:.1f} MB",
            f"videos: {states or 'none'}",
        ]
        if self.unfinished:
            reasons = Counter(entry.reason for entry in self.unfinished)
            lines.append(
                "left out: " + ", ".join(f"{name} {number}" for name, number in reasons.most_common())
            )
        lines += [f"  {e.key}: {e.reason}: {e.detail}" for e in self.unfinished[:10]]
        if len(self.unfinished) > 10:
            lines.append(f"  ... and {len(self.unfinished) - 10} more: whim status {self.out}")
        if self.unfinished:
            lines.append("bring these videos (--videos DIR), then run the same command again")
        return "\n".join(lines)


def pack(labels: Path, *, videos: Path | None, out: Path, shard_bytes: int = SHARD_BYTES) -> PackSummary:
    """Write pixel shards of ``labels`` into ``out``; finished shards are not made again.

    Every labelled frame is decoded again and compared with its label. A video with a frame that differs, or
    that is missing, is left out whole and reported. ``videos``: where to look, when not where they were.

    Raises:
        BadFileError: no labels, or a label file that is not what it should be.
        UsageError: ``out`` holds the shards of other labels.
        WhimError: the disk is full, the folder is in use, or packed videos are gone whose shards must change.
    """
    if videos is not None and not videos.is_dir():
        raise UsageError(f"{videos}: no such folder")
    known = survey(labels)
    digest = labels_digest(labels)
    plan = plan_shards(known, shard_bytes)
    started = time.perf_counter()
    with open_ledger(out, "pack") as ledger:
        _claim(out, labels)
        run = _Run(out=out, ledger=ledger, finder=VideoFinder(videos))
        run.sweep(plan)
        run.settle_without_frames(known)
        try:
            run.execute(plan)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise WhimError(
                f"{out}: the disk is full; finished shards are kept. "
                "Free some space and run the same command again",
                code="disk-full",
            ) from error
        files = [path for shard in plan if (path := out / shard.name).is_file()]
        sizes = {path.name: path.stat().st_size for path in files}
        record = {"labels": str(labels.resolve()), "digest": digest, "shards": sizes}
        write_text(out / RECORD, json.dumps(record, indent=1) + "\n")
        entries = [entry for video in known if (entry := ledger.get(video.video_id))]
        return PackSummary(
            out=out,
            videos=counts(entries),
            shards=len(files),
            written=run.written,
            frames=sum(pq.read_metadata(path).num_rows for path in files),
            bytes=sum(sizes.values()),
            seconds=time.perf_counter() - started,
            unfinished=[entry for entry in entries if entry.state not in FINISHED],
        )


def is_current(labels: Path, shards: Path) -> bool:
    """Whether ``shards`` came out of a finished `whim pack` of ``labels`` as they are now.

    Compares names and sizes; reads neither labels nor shards.
    """
    try:
        record = json.loads((shards / RECORD).read_text(encoding="utf-8"))
        return record.get("digest") == labels_digest(labels) and all(
            (shards / name).stat().st_size == size for name, size in record["shards"].items()
        )
    except (OSError, ValueError, BadFileError):
        return False


def _claim(out: Path, labels: Path) -> None:
    """A shard folder belongs to one label folder; until the run is through, the record says unfinished.

    Raises:
        UsageError: the folder was made from other labels.
    """
    path = out / RECORD
    home = str(labels.resolve())
    if path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))["labels"]
        if earlier != home:
            raise UsageError(
                f"{out} holds the shards of {earlier}; choose another --out, or remove the folder"
            )
    write_text(path, json.dumps({"labels": home}) + "\n")


def _shard_record(path: Path) -> dict[str, Any]:
    """Lineage of a shard; empty when it cannot be read."""
    try:
        return reader.lineage(path)
    except BadFileError:
        return {}


class _Run:
    """One run over the plan."""

    def __init__(self, *, out: Path, ledger: Ledger, finder: VideoFinder) -> None:
        self.out = out
        self.ledger = ledger
        self.written = 0
        self._finder = finder
        self._paths: dict[str, Path | None] = {}

    def sweep(self, plan: list[ShardPlan]) -> None:
        """Remove half-written shards and those of an earlier plan: no frame is ever there twice.

        Raises:
            WhimError: a shard to remove has pictures of a labelled video that is no longer here.
        """
        wanted = {shard.name: shard.digest for shard in plan}
        labelled = {piece.video.video_id: piece.video for shard in plan for piece in shard.pieces}
        stale: list[Path] = []
        lost: set[str] = set()
        for path in sorted(self.out.glob("*.parquet")):
            if path.name.startswith("."):  # the ledger's lock says that nobody else writes here
                path.unlink()
            elif _SHARD_NAME.fullmatch(path.name):
                record = _shard_record(path)
                if record.get("plan") != wanted.get(path.name):
                    stale.append(path)
                    held = {video["video_id"] for video in record.get("videos", [])} & labelled.keys()
                    lost |= {video_id for video_id in held if not self._find(labelled[video_id])}
        if lost:
            names = ", ".join(sorted(lost)[:3])
            raise WhimError(
                f"{self.out}: the labels have changed, and of the videos packed here "
                f"{len(lost)} are gone ({names}); bring them back (--videos DIR), or choose another --out",
                code="videos-gone",
            )
        for path in stale:
            path.unlink()

    def settle_without_frames(self, known: list[LabelledVideo]) -> None:
        """Ledger lines of videos that need no shard, and of those that are no longer in the labels."""
        for video in known:
            if not video.frames:
                self._record(Entry(key=video.video_id, state=State.EMPTY, reason="no-frames"))
        gone = {entry.key for entry in self.ledger.entries()} - {video.video_id for video in known}
        for key in sorted(gone):
            self._record(Entry(key=key, state=State.FILTERED, reason="not-in-labels"))

    def execute(self, plan: list[ShardPlan]) -> None:
        """Write the shards that are missing or that can now hold more videos."""
        todo = [shard for shard in plan if not self._is_current(shard)]
        if not todo:
            return
        stores: dict[str, PictureStore] = {}
        videos = {piece.video.video_id: piece.video.frames for shard in todo for piece in shard.pieces}
        with Progress(sum(videos.values()), "pack", "frame") as progress:
            try:
                for number, shard in enumerate(todo, start=1):
                    self._make(shard, stores, progress)
                    # A video larger than a shard is decoded once for all of its shards.
                    needed = {
                        piece.video.video_id for shard in todo[number : number + 1] for piece in shard.pieces
                    }
                    for video_id in stores.keys() - needed:
                        stores.pop(video_id).close()
            finally:
                for store in stores.values():
                    store.close()

    def _is_current(self, shard: ShardPlan) -> bool:
        """True when the file holds all videos that it can; the ledger is completed from it."""
        usable = [piece.video.video_id for piece in shard.pieces if not self._known_bad(piece.video)]
        path = self.out / shard.name
        if not path.exists():
            return not usable
        if [video["video_id"] for video in reader.lineage(path)["videos"]] != usable:
            return False
        self._settle(shard, usable)
        return True

    def _make(self, shard: ShardPlan, stores: dict[str, PictureStore], progress: Progress) -> None:
        self._reuse(shard, stores, progress)
        pieces = [
            piece
            for piece in shard.pieces
            if piece.video.video_id in stores or self._open(piece.video, stores, progress)
        ]
        target = self.out / shard.name
        if pieces:
            write_shard(target, shard, pieces, stores)
            self.written += 1
        else:
            target.unlink(missing_ok=True)
        self._settle(shard, [piece.video.video_id for piece in pieces])

    def _reuse(self, shard: ShardPlan, stores: dict[str, PictureStore], progress: Progress) -> None:
        """Take the pictures of an earlier, less complete version of the shard: videos may be gone."""
        path = self.out / shard.name
        whole = {
            piece.video.video_id
            for piece in shard.pieces
            if piece.stop - piece.start == piece.video.frames and not self._known_bad(piece.video)
        }
        for row in reader.iter_rows(path, ["video_id", "image.bytes"]) if path.exists() else ():
            if row["video_id"] in whole:
                if row["video_id"] not in stores:
                    stores[row["video_id"]] = PictureStore(self.out)
                stores[row["video_id"]].append(row["image"]["bytes"])
                progress.step()

    def _open(self, video: LabelledVideo, stores: dict[str, PictureStore], progress: Progress) -> bool:
        """Decode and check a video; False when it is left out, with the reason in the ledger."""
        path = self._find(video)
        if self._known_bad(video):
            progress.step("left out", video.frames)
            return False
        if path is None:
            progress.step("left out", video.frames)
            detail = "no such video; `whim fetch` brings it, or say where it lies with --videos"
            self._leave_out(video, State.FAILED, "missing-video", detail, progress)
            return False
        with ExitStack() as stack:
            store = PictureStore(self.out)
            stack.callback(store.close)
            try:
                read_pictures(path, video_labels(video, CHECKED_COLUMNS), store, progress.step)
            except BadFileError as error:
                self._leave_out(video, State.QUARANTINED, error.code, str(error), progress)
                return False
            stack.pop_all()
        stores[video.video_id] = store
        return True

    def _find(self, video: LabelledVideo) -> Path | None:
        if video.video_id not in self._paths:
            record = video.lineage.get("video") or {}
            self._paths[video.video_id] = self._finder.find(video.video_id, record)
        return self._paths[video.video_id]

    def _seen(self, video: LabelledVideo) -> dict[str, Any]:
        """What a verdict on a video rests on: it holds as long as this stays the same."""
        path = self._find(video)
        status = path.stat() if path else None
        return {"file": [status.st_size, status.st_mtime_ns] if status else None, "labels": video.digest}

    def _known_bad(self, video: LabelledVideo) -> bool:
        entry = self.ledger.get(video.video_id)
        return (
            entry is not None and entry.state not in FINISHED and entry.data.get("seen") == self._seen(video)
        )

    def _leave_out(
        self, video: LabelledVideo, state: State, reason: str, detail: str, progress: Progress
    ) -> None:
        progress.say(f"left out {video.video_id}: {reason}: {detail}")
        data = {"frames": video.frames, "seen": self._seen(video)}
        self._record(Entry(key=video.video_id, state=state, reason=reason, detail=detail, data=data))

    def _settle(self, shard: ShardPlan, included: list[str]) -> None:
        """Record the videos whose last frames are in this shard as done."""
        for piece in shard.pieces:
            if piece.video.video_id in included and piece.stop == piece.video.frames:
                data = {"frames": piece.video.frames, "seen": self._seen(piece.video)}
                self._record(Entry(key=piece.video.video_id, state=State.DONE, data=data))

    def _record(self, entry: Entry) -> None:
        """Write a line, unless the last one says the same."""
        earlier = self.ledger.get(entry.key)
        if earlier and replace(entry, attempts=earlier.attempts, time=earlier.time) == earlier:
            return
        again = earlier is not None and earlier.state is State.FAILED
        self.ledger.record(replace(entry, attempts=earlier.attempts + 1 if earlier and again else 1))
