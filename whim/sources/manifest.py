"""Manifest: which videos to fetch and what each should be.

A CSV file with the columns ``video_id, split, url, height, width, frames, fps, note``. ``url`` and ``note``
may be left out; everything but ``video_id`` may be blank. Lines that start with ``#`` are comments.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from whim.errors import UsageError
from whim.files import write_text

COLUMNS = ("video_id", "split", "url", "height", "width", "frames", "fps", "note")
OPTIONAL = frozenset({"url", "note"})
SPLITS = ("train", "test", "")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_CONTROL = frozenset(
    {"Cc", "Cf", "Cs", "Zl", "Zp"}
)  # Unicode categories that a line of a table has no use for
_LONGEST_ID = 200  # bytes; a file name has 255, and suffixes come after the key


class ManifestError(UsageError):
    """A manifest that cannot be read; the message names line and column."""

    code = "bad-manifest"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One video and what is expected of it; None where nothing is."""

    video_id: str
    """Key of the video everywhere in WHIM, and the name of its file."""
    split: str = ""
    url: str | None = None
    height: int | None = None
    """Pixels, upright."""
    width: int | None = None
    frames: int | None = None
    fps: float | None = None
    note: str = ""
    """For human readers."""

    @property
    def page(self) -> str | None:
        """Address to fetch from; None when there is no ``url`` and the key is no YouTube id."""
        if self.url:
            return self.url
        return (
            f"https://www.youtube.com/watch?v={self.video_id}"
            if _YOUTUBE_ID.fullmatch(self.video_id)
            else None
        )

    @property
    def duration_s(self) -> float | None:
        """Expected duration in seconds."""
        return self.frames / self.fps if self.frames and self.fps else None


def read_manifest(path: Path) -> list[ManifestEntry]:
    """Read and check a manifest.

    Raises:
        ManifestError: what is wrong, with line and column: no header, a missing or unknown column, a
            malformed number, a duplicate or unsafe id, an unknown split, a URL that is not http(s).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ManifestError(f"{path}, line {line}: not UTF-8 text; a manifest is a CSV file") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot read the manifest: {error.strerror}") from error
    rows = _rows(path, text)
    line, names = next(rows, (1, []))
    if not names:
        raise ManifestError(f"{path}, line 1: empty; a manifest starts with the line {','.join(COLUMNS)}")
    columns = _columns(path, line, names)
    entries: list[ManifestEntry] = []
    seen: dict[str, int] = {}
    for line, cells in rows:
        if len(cells) != len(columns):
            raise ManifestError(f"{path}, line {line}: {len(cells)} values for {len(columns)} columns")
        try:
            entry = parse_entry({name: cell.strip() for name, cell in zip(columns, cells, strict=True)})
        except ManifestError as error:
            raise ManifestError(f"{path}, line {line}, {error}") from error
        if entry.video_id in seen:
            first = seen[entry.video_id]
            raise ManifestError(
                f"{path}, line {line}, column video_id: {entry.video_id!r} is already on line {first}"
            )
        seen[entry.video_id] = line
        entries.append(entry)
    if not entries:
        raise ManifestError(f"{path}, line {line}: no videos after the header")
    return entries


def write_manifest(path: Path, entries: Iterable[ManifestEntry], comment: str) -> None:
    """Write a manifest that :func:`read_manifest` reads back unchanged; ``comment`` goes above the header.

    Raises:
        ManifestError: an entry that could not be read back.
    """
    out = io.StringIO()
    for line in comment.splitlines():
        out.write(f"# {line}".rstrip() + "\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry in entries:
        cells = {name: _cell(getattr(entry, name)) for name in COLUMNS}
        if parse_entry({name: cell.strip() for name, cell in cells.items()}) != entry:
            raise ManifestError(f"{entry} would not be read back as it is")
        table.writerow(cells[name] for name in COLUMNS)
    write_text(path, out.getvalue())


def parse_entry(cells: dict[str, str]) -> ManifestEntry:
    """Check the values of one line.

    Raises:
        ManifestError: which column is wrong and why; the message starts with ``column``.
    """
    if problem := _id_problem(cells["video_id"]):
        raise ManifestError(f"column video_id: {cells['video_id']!r} {problem}")
    for name, cell in cells.items():
        if any(unicodedata.category(letter) in _CONTROL for letter in cell):
            raise ManifestError(f"column {name}: has a control character")
    if cells["split"] not in SPLITS:
        raise ManifestError(f"column split: {cells['split']!r} is none of train, test, blank")
    url = cells.get("url") or None
    if url is not None and problem_of_url(url):
        raise ManifestError(f"column url: {problem_of_url(url)}")
    return ManifestEntry(
        video_id=cells["video_id"],
        split=cells["split"],
        url=url,
        height=_whole(cells, "height"),
        width=_whole(cells, "width"),
        frames=_whole(cells, "frames"),
        fps=_positive(cells, "fps"),
        note=cells.get("note", ""),
    )


def problem_of_url(url: str) -> str:
    """Why ``url`` cannot be fetched; empty when it can. Never repeats the URL, which may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both are parsed only when asked for
    except ValueError:
        return "not a URL"
    if parts.scheme not in ("http", "https"):
        return f"the scheme {parts.scheme!r} is not http or https"
    return "" if host else "no host name"


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is neither blank nor a comment."""
    # Comments become blank lines, so that the reader's line numbers stay those of the file.
    lines = ["" if line.startswith("#") else line for line in re.split(r"\r\n|\r|\n", text)]
    reader = csv.reader(lines, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ManifestError(f"{path}, line {reader.line_num}: {error}") from error


def _columns(path: Path, line: int, header: Sequence[str]) -> list[str]:
    """The header's names, checked."""
    names = [name.strip() for name in header]
    for name in names:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1, cutoff=0.0)[0]
            raise ManifestError(
                f"{path}, line {line}, column {name!r}: unknown; the nearest known column is {near!r}"
            )
        if names.count(name) > 1:
            raise ManifestError(f"{path}, line {line}, column {name!r}: there twice")
    missing = [name for name in COLUMNS if name not in names and name not in OPTIONAL]
    if missing:
        raise ManifestError(f"{path}, line {line}: missing column {', '.join(missing)}")
    return names


def _id_problem(video_id: str) -> str:
    if not video_id:
        return "is blank"
    if "/" in video_id or "\\" in video_id:
        return "has a path separator"
    if video_id[0] in ".#":
        return "starts with a dot or #"
    if video_id != video_id.strip():
        return "starts or ends with a space"
    return "is too long" if len(video_id.encode()) > _LONGEST_ID else ""


def _whole(cells: dict[str, str], column: str) -> int | None:
    text = cells[column]
    if text and (not re.fullmatch(r"[0-9]{1,12}", text) or int(text) == 0):
        raise ManifestError(f"column {column}: {text!r} is not a whole number above 0")
    return int(text) if text else None


def _positive(cells: dict[str, str], column: str) -> float | None:
    text = cells[column]
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ManifestError(f"column {column}: {text!r} is not a number above 0")
    return number


def _cell(value: object) -> str:
    return "" if value is None else str(value)
