"""``whim import``: a data set in its own layout -> pixel shards. Resuming is comparing what exists with the plan.

A shard is the unit: its lineage carries a digest of the files and labels that belong into it. A second run reads the
annotations again and writes only the shards that are missing or whose digest has changed.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from whim import __version__
from whim.config import load_config
from whim.errors import BadFileError, UsageError, WhimError
from whim.files import write_text
from whim.importers.files import SUFFIXES, load_files
from whim.importers.registry import importer
from whim.importers.summary import RECORD, ImportSummary
from whim.importers.types import ImportedPicture, Loaded, Skipped, Source
from whim.progress import Progress
from whim.shards import reader
from whim.shards.ledger import Entry, Ledger, State, open_ledger
from whim.shards.pixel_writer import write_pictures
from whim.shards.plan import BYTES_PER_PIXEL, SHARD_BYTES
from whim.shards.rows import Row
from whim.shards.schema import FORMAT_VERSION
from whim.sources.video.hashing import difference_hash


def run_import(
    name: str,
    source: Path,
    out: Path,
    *,
    split: str | None = None,
    settings: Sequence[str] = (),
    limit: int | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> ImportSummary:
    """Import the set at ``source`` by the importer ``name`` into pixel shards in ``out``.

    Args:
        name: one of :data:`whim.importers.registry.IMPORTERS`.
        source: what the importer reads: a file or a folder.
        out: folder of the shards; it belongs to this set.
        split: only this split, or the name of the split where the set has none.
        settings: ``key=value`` of the importer's options.
        limit: the first so many pictures.
        shard_bytes: size at which a shard is closed.

    Raises:
        UsageError: an unknown importer or option; ``out`` holds something else.
        BadFileError: ``source`` is not of this layout.
        WhimError: the disk is full, or the folder is in use.
    """
    kind, read = importer(name)
    if not source.exists():
        raise UsageError(f"{source}: no such file or folder")
    extra = [f"split={split}"] if split is not None else []
    options = load_config(kind, None, [*settings, *extra])
    said: list[Skipped] = []
    found = read(
        source,
        options,
        lambda key, reason, detail: said.append(Skipped(key=key, reason=reason, detail=detail)),
    )
    with open_ledger(out, "import") as ledger:
        run = _Run(
            out, ledger, found, {"name": name, "options": options.model_dump(mode="json", exclude_none=True)}
        )
        run.claim(name, source)
        try:
            run.execute(islice(found.pictures, limit), found.total, limit, shard_bytes)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise WhimError(
                f"{out}: the disk is full; finished shards are kept. Free some space and run the same command again",
                code="disk-full",
            ) from error
        run.sweep()
        summary = run.summary(name, source, said)
        write_text(out / RECORD, json.dumps(summary.to_json(), indent=1) + "\n")
        return summary


class _Run:
    def __init__(self, out: Path, ledger: Ledger, source: Source, importer: dict[str, Any]) -> None:
        self.out = out
        self._ledger = ledger
        self._source = source
        self._importer = importer
        self._names: list[str] = []
        self._written = 0
        self._seen: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def claim(self, name: str, source: Path) -> None:
        """A shard folder belongs to one set; until the run is through, the record says no more than that.

        Raises:
            UsageError: the folder holds another set, or shards that were not imported.
        """
        path = self.out / RECORD
        mine = {"importer": name, "source": str(source.resolve())}
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            if {key: record.get(key) for key in mine} != mine:
                raise UsageError(
                    f"{self.out} holds {record.get('importer')} from {record.get('source')}; choose another --out, "
                    "or remove the folder"
                )
        elif any(self.out.glob("[!.]*.parquet")):
            raise UsageError(
                f"{self.out} holds shards that `whim import` did not write; choose another --out"
            )
        write_text(path, json.dumps(mine) + "\n")

    def execute(
        self, pictures: Iterable[ImportedPicture], total: int | None, limit: int | None, shard_bytes: int
    ) -> None:
        """Write the shards that are not there yet."""
        expected = min(value for value in (total, limit, 1 << 62) if value is not None)
        with Progress(expected if expected < 1 << 62 else None, "import", "picture") as progress:
            numbers: dict[str, int] = {}
            for group in _shards(map(self._placed, pictures), shard_bytes):
                split = group[0].split
                number = numbers.get(split, 0)
                numbers[split] = number + 1
                self._shard(f"{split or 'unsplit'}-{number:05d}.parquet", group, progress)

    def _placed(self, picture: ImportedPicture) -> ImportedPicture:
        """The picture with its place in its recording; a recording is in one split."""
        recording = picture.recording
        if self._seen.setdefault(recording, picture.split) != picture.split:
            recording = f"{recording}--{picture.split}"
        index = picture.frame_index
        if index is None:
            index = self._counts.get(recording, 0)
            self._counts[recording] = index + 1
        return replace(picture, recording=recording, frame_index=index)

    def _shard(self, name: str, group: Sequence[ImportedPicture], progress: Progress) -> None:
        self._names.append(name)
        digest = self._digest(group)
        entry = self._ledger.get(name)
        if entry is not None and entry.data.get("digest") == digest and self._is_whole(name, digest, entry):
            progress.step("already there", len(group))
            return
        skipped: list[Skipped] = []
        tally = {"pictures": 0, "hands": 0}

        def rows() -> Iterator[tuple[bytes, Row]]:
            for picture, loaded in (self._source.load or load_files)(group):
                progress.step("left out" if isinstance(loaded, Skipped) else "")
                if isinstance(loaded, Skipped):
                    skipped.append(loaded)
                    continue
                row = row_of(picture, loaded)
                tally["pictures"] += 1
                tally["hands"] += len(row["hands"])
                yield loaded.data, row

        target = self.out / name
        write_pictures(target, rows(), self._lineage(digest, group))
        if not tally["pictures"]:
            target.unlink()
        self._written += bool(tally["pictures"])
        data = {"digest": digest, **tally, "skipped": [vars(one) for one in skipped]}
        state = State.DONE if tally["pictures"] else State.EMPTY
        self._ledger.record(
            Entry(key=name, state=state, reason="" if tally["pictures"] else "no-pictures", data=data)
        )

    def _is_whole(self, name: str, digest: str, entry: Entry) -> bool:
        path = self.out / name
        if entry.state is State.EMPTY:
            return not path.exists()
        try:
            return reader.lineage(path).get("digest") == digest
        except BadFileError:
            return False

    def _digest(self, group: Sequence[ImportedPicture]) -> str:
        """Changes with everything that decides what is in the shard."""
        state = hashlib.sha256(json.dumps([FORMAT_VERSION, self._importer, self._source.facts]).encode())
        for one in group:
            try:
                status = one.path.stat()
                file = [status.st_size, status.st_mtime_ns]
            except OSError:
                file = []
            labels = [hand.row() for hand in one.hands]
            parts = [
                one.key,
                str(one.path),
                file,
                one.recording,
                one.split,
                one.frame_index,
                one.time_s,
                one.size,
            ]
            state.update(json.dumps([*parts, labels, _lists(one.crowd), _lists(one.unlabelled)]).encode())
        return state.hexdigest()[:16]

    def _lineage(self, digest: str, group: Sequence[ImportedPicture]) -> dict[str, Any]:
        def regions(name: str) -> dict[str, list[list[float]]]:
            return {
                f"{p.recording}/{p.frame_index}": _lists(getattr(p, name)) for p in group if getattr(p, name)
            }

        return {
            "whim_version": __version__,
            "import": self._importer,
            "digest": digest,
            "licence": self._source.licence,
            "box_convention": self._source.box_convention,
            # By recording/frame: where predictions are not judged (see whim/benchmark/detection/truth.py).
            "crowd": regions("crowd"),
            "unlabelled": regions("unlabelled"),
            **({"set": self._source.facts} if self._source.facts else {}),
        }

    def sweep(self) -> None:
        """Remove shards that no longer belong to the plan, and half-written ones."""
        for path in self.out.glob("*.parquet"):
            if path.name.startswith(".") or path.name not in self._names:
                path.unlink()
        for entry in self._ledger.entries():
            if entry.key not in self._names and entry.state is not State.FILTERED:
                self._ledger.record(Entry(key=entry.key, state=State.FILTERED, reason="not-in-plan"))

    def summary(self, name: str, source: Path, said: list[Skipped]) -> ImportSummary:
        """What the folder holds now."""
        entries = [entry for shard in self._names if (entry := self._ledger.get(shard)) is not None]
        skipped = [Skipped(**one) for entry in entries for one in entry.data["skipped"]]
        sizes = {n: (self.out / n).stat().st_size for n in self._names if (self.out / n).is_file()}
        return ImportSummary(
            importer=name,
            source=str(source.resolve()),
            out=self.out,
            licence=self._source.licence,
            box_convention=self._source.box_convention,
            shards=sizes,
            written=self._written,
            pictures=sum(entry.data["pictures"] for entry in entries),
            hands=sum(entry.data["hands"] for entry in entries),
            skipped=[*skipped, *said],
        )


def row_of(picture: ImportedPicture, loaded: Loaded) -> Row:
    """The row of the label schema."""
    height, width = loaded.image.shape[:2]
    hands = [hand.row() for hand in picture.hands]
    if loaded.rescale != (1.0, 1.0):
        for hand in hands:
            hand["box"] = (np.array(hand["box"]) * [*loaded.rescale, *loaded.rescale]).tolist()
            if hand["keypoints_2d"] is not None:
                hand["keypoints_2d"] = (np.array(hand["keypoints_2d"]) * loaded.rescale).tolist()
            if hand["camera"] is not None:
                camera = hand["camera"]
                hand["camera"] = {
                    **camera,
                    **{k: (np.array(camera[k]) * loaded.rescale).tolist() for k in ("focal", "center")},
                }
    return {
        "video_id": picture.recording,
        "split": picture.split,
        "frame_index": picture.frame_index if loaded.frame_index is None else loaded.frame_index,
        "time_s": picture.time_s if loaded.time_s is None else loaded.time_s,
        "width": width,
        "height": height,
        "picture_hash": difference_hash(loaded.image),
        "persons": [],
        "hands": hands,
    }


def _shards(pictures: Iterable[ImportedPicture], shard_bytes: int) -> Iterator[list[ImportedPicture]]:
    """Groups of one split, closed when the estimated size passes ``shard_bytes``."""
    group: list[ImportedPicture] = []
    filled = 0.0
    for picture in pictures:
        size = _estimate(picture)
        if group and (picture.split != group[0].split or filled + size > shard_bytes):
            yield group
            group, filled = [], 0.0
        group.append(picture)
        filled += size
    if group:
        yield group


def _estimate(picture: ImportedPicture) -> float:
    if picture.path.suffix.lower() in SUFFIXES:
        try:
            return picture.path.stat().st_size
        except OSError:
            return 0.0
    width, height = picture.size or (1280, 720)
    return width * height * BYTES_PER_PIXEL


def _lists(boxes: Iterable[Iterable[float]]) -> list[list[float]]:
    return [[float(value) for value in box] for box in boxes]
