"""Where the video of a label file lies now: videos move, and labels are published without them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

DEFAULT_FOLDER = Path("data/videos")
"""Where `whim fetch` puts videos unless told otherwise."""

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ts", ".mpg", ".mpeg", ".ogv", ".3gp", ".flv"}
)


class VideoFinder:
    """Finds videos by the key and the record that label files carry.

    ``folder`` is searched alone when given; otherwise the path on record comes first, then ``data/videos``.
    """

    def __init__(self, folder: Path | None) -> None:
        self._trust_record = folder is None
        self._by_key, self._by_name = _index(folder or DEFAULT_FOLDER)

    def find(self, video_id: str, record: dict[str, Any]) -> Path | None:
        """The file, or None. ``record`` is the lineage's ``video``, whose ``path`` was annotated."""
        recorded = Path(record["path"]) if record.get("path") else None
        if self._trust_record and recorded and recorded.is_file():
            return recorded
        if video_id in self._by_key:
            return self._by_key[video_id]
        same_name = self._by_name[recorded.name] if recorded and recorded.name in self._by_name else []
        return same_name[0] if len(same_name) == 1 else None  # two files of one name: either may be wrong


def _index(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Video files under ``folder`` by key (``subfolder__name``, as annotate has it) and by file name."""
    by_key: dict[str, Path] = {}
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if hidden or path.suffix.lower() not in VIDEO_SUFFIXES or not path.is_file():
            continue
        by_key.setdefault("__".join([*place.parent.parts, path.stem]), path)
        by_name[path.name].append(path)
    return by_key, by_name
