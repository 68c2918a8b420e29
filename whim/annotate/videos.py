"""Which videos a run annotates: the output of ``whim fetch``, or any files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whim.errors import UsageError
from whim.files import sha256
from whim.shards.ledger import LEDGER_NAME, State, read_ledger
from whim.shards.videos import VIDEO_SUFFIXES


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video file with its key and what the fetch ledger knows of it."""

    video_id: str
    path: Path
    split: str = ""
    duration_s: float | None = None
    digest: str = ""
    """SHA-256 from the fetch ledger, valid for ``size``."""
    size: int = 0

    def sha256(self) -> str:
        """Digest of the file as it is now; taken from the ledger when the size still agrees."""
        if self.digest and self.path.stat().st_size == self.size:
            return self.digest
        return sha256(self.path)


def find_videos(inputs: Sequence[Path]) -> list[Video]:
    """Videos named by files and folders, sorted by key.

    A folder written by ``whim fetch`` gives its finished videos with their split; any other folder is searched
    for video files, and a file in a subfolder gets the key ``subfolder__name``.

    Raises:
        UsageError: nothing there, nothing in it, or two files with one key.
    """
    found: dict[str, Video] = {}
    for given in inputs:
        for video in _videos_in(given):
            other = found.setdefault(video.video_id, video)
            if other.path.resolve() != video.path.resolve():
                raise UsageError(
                    f"{other.path} and {video.path} would share the key {video.video_id!r}; "
                    "rename one, or annotate them into different --out folders"
                )
    if not found:
        names = ", ".join(str(given) for given in inputs)
        raise UsageError(
            f"no videos in {names}; `whim fetch MANIFEST` brings some, or name files and folders"
        )
    return [found[key] for key in sorted(found)]


def _videos_in(given: Path) -> list[Video]:
    if given.is_file():
        return [Video(video_id=given.stem, path=given)]
    if not given.is_dir():
        raise UsageError(
            f"{given}: no such file or folder; run `whim fetch manifests/videos.csv` first, or name your videos"
        )
    if (given / LEDGER_NAME).is_file():
        return _fetched(given)
    return [
        Video(video_id="__".join([*path.relative_to(given).parent.parts, path.stem]), path=path)
        for path in sorted(given.rglob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]


def _fetched(folder: Path) -> list[Video]:
    stage, entries = read_ledger(folder)
    if stage != "fetch":
        raise UsageError(f"{folder} holds the output of `whim {stage}`, not videos")
    videos = []
    for entry in entries.values():
        if entry.state is State.DONE and (folder / entry.data["file"]).is_file():
            facts = entry.data.get("facts") or {}
            videos.append(
                Video(
                    video_id=entry.key,
                    path=folder / entry.data["file"],
                    split=entry.data.get("split", ""),
                    duration_s=facts.get("duration_s"),
                    digest=entry.data.get("sha256", ""),
                    size=entry.data.get("bytes", 0),
                )
            )
    return videos
